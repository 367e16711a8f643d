"""What the tests of `attach` share: a daemon that says what the test says, and a terminal with a client on it.

The client is the real one in a process of its own on a pty, so that signals, job control and termios are real too.
"""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ptybridge.wire import attach as frames

PATIENCE = 60.0
CLIENT = """
import fcntl, json, sys, termios
if sys.argv[3] == "leader":
    fcntl.ioctl(1, termios.TIOCSCTTY, 0)
from ptybridge.cli.attach import AttachOptions, attach
from ptybridge.sdk.blocking import connect
sys.exit(attach(lambda: connect(sys.argv[1]), "s1", AttachOptions(**json.loads(sys.argv[2]))))
"""

T = TypeVar("T")
F = TypeVar("F", bound=frames.Frame)


def eventually(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until `condition` is true and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)
    return value


class Served:
    """The daemon's end of one attachment."""

    def __init__(self, sock: socket.socket, params: dict[str, Any]) -> None:
        self.sock = sock
        self.params = params
        self.received: list[frames.Frame] = []
        self.closed = False

    def send(self, *several: frames.Frame) -> None:
        self.sock.sendall(b"".join(frames.encode(frame) for frame in several))

    def of(self, kind: type[F]) -> list[F]:
        return [frame for frame in self.received if isinstance(frame, kind)]

    @property
    def typed(self) -> bytes:
        return b"".join(frame.data for frame in self.of(frames.Input))

    def show(self, text: bytes = b"hello", offset: int = 100, *, rows: int = 24, cols: int = 80) -> None:
        """Send the first picture."""
        self.send(frames.Resized(rows, cols), frames.Snapshot(offset, rows, cols, text))

    def drop(self) -> None:
        """Break the connection as a killed daemon does."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def read(self, paused: threading.Event) -> None:
        buffer = frames.FrameBuffer()
        while True:
            paused.wait()
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return
            self.received += buffer.feed(data)


class Daemon:
    """Answers `session.attach` and `session.screen` on a socket; the test plays the rest."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.served: list[Served] = []
        self.refusal: dict[str, object] | None = None
        self.screen: dict[str, object] = {
            "lines": ["hello"], "scrollback": [], "cursor": {"row": 0, "col": 5, "visible": True},
            "rows": 24, "cols": 80, "title": "", "alternate": False, "offset": 100,
        }  # fmt: skip
        # What other methods are answered, and with which parameters they were called.
        self.answers: dict[str, object] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reading = threading.Event()
        self.reading.set()
        # The parameters of all attachments asked for, also of those that wait for `answering`.
        self.wanted: list[dict[str, Any]] = []
        self.answering = threading.Event()
        self.answering.set()
        self._open: list[socket.socket] = []
        self.listen()

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        # It gets its name when it is ready: a client that looks for it in between would find it open to all, or deaf.
        made = self.path.with_suffix(".new")
        self._listener.bind(str(made))
        os.chmod(made, 0o600)
        self._listener.listen(64)
        made.rename(self.path)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def die(self) -> None:
        """Go away as with SIGKILL, but for the socket's file, which goes as well."""
        self.path.unlink()
        # A thread in accept() keeps the listener alive; only a shutdown ends it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.reading.set()
        self.answering.set()
        if self.path.exists():
            self.die()
        for sock in self._open:
            sock.close()

    def attachment(self, number: int = 0) -> Served:
        """Wait for the client's attachment of this number."""
        eventually(lambda: len(self.served) > number, f"attachment {number}")
        return self.served[number]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            try:
                data = sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            line += data
        request = json.loads(line)
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": request["id"]}
        if self.refusal is not None:
            sock.sendall(json.dumps({**answer, "error": self.refusal}).encode() + b"\n")
            return
        if request["method"] != "session.attach":
            self.asked.append((request["method"], request.get("params") or {}))
            result = self.answers.get(request["method"], self.screen)
            sock.sendall(json.dumps({**answer, "result": result}).encode() + b"\n")
            # One connection may ask several things.
            self._serve(sock)
            return
        params = request["params"]
        self.wanted.append(params)
        self.answering.wait()
        opened = {
            "attachment_id": "a1", "session_id": "s1", "name": "work", "mode": params.get("mode", "writer"),
            "rows": 24, "cols": 80, "window_size_policy": "latest", "offset": params.get("offset") or 0,
        }  # fmt: skip
        sock.sendall(json.dumps({**answer, "result": opened}).encode() + b"\n")
        served = Served(sock, params)
        self.served.append(served)
        served.read(self.reading)


class Terminal:
    """A terminal with a client on it. `output` is everything the client has written so far."""

    def __init__(self, command: list[str], *, rows: int = 24, cols: int = 80, stdin: int | None = None) -> None:
        self.fd, self.child_fd = pty.openpty()
        self.resize(rows, cols)
        self.settings = termios.tcgetattr(self.child_fd)
        self.output = b""
        self.hung_up = False
        self.stopped = threading.Event()
        self._taking = threading.Event()
        self._taking.set()
        source = self.child_fd if stdin is None else stdin
        self.process = subprocess.Popen(
            command,
            stdin=source,
            stdout=self.child_fd,
            stderr=self.child_fd,
            start_new_session=True,
            # Tracebacks are coloured since Python 3.13, and tests look at every byte.
            env=os.environ | {"PYTHON_COLORS": "0"},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self.stopped.is_set():
            self._taking.wait()
            if not select.select([self.fd], [], [], 0.02)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            self.output += data

    def take(self, on: bool) -> None:
        """Take output or, as a terminal on a dead line, do not."""
        (self._taking.set if on else self._taking.clear)()

    def type(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def see(self, text: bytes, seconds: float = PATIENCE) -> None:
        """Wait until `text` has been written to the terminal."""
        try:
            eventually(lambda: text in self.output, repr(text), seconds)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; seen: {self.output[-2000:]!r}") from None

    def resize(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self.child_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    @property
    def raw(self) -> bool:
        lflag = termios.tcgetattr(self.child_fd)[3]
        return not lflag & (termios.ICANON | termios.ECHO | termios.ISIG)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """Close the terminal as when its window is closed."""
        self.stopped.set()
        self._taking.set()
        self._reader.join()
        os.close(self.child_fd)
        os.close(self.fd)
        self.hung_up = True

    def end(self, seconds: float = PATIENCE) -> int:
        """Wait for the client's exit status."""
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not self.hung_up:
            self.hang_up()


Attach = Callable[..., Terminal]


@contextlib.contextmanager
def attaching(daemon: Daemon) -> Iterator[Attach]:
    """Give a function that attaches a client with options, and clean up after it."""
    terminals: list[Terminal] = []

    def attach(*, rows: int = 24, cols: int = 80, stdin: int | None = None, **options: object) -> Terminal:
        command = [sys.executable, "-c", CLIENT, str(daemon.path), json.dumps(options), "leader"]
        terminals.append(Terminal(command, rows=rows, cols=cols, stdin=stdin))
        return terminals[-1]

    try:
        yield attach
    finally:
        for terminal in terminals:
            terminal.close()


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Daemon]:
    """Run a daemon for a test."""
    daemon = Daemon(directory / "daemon.sock")
    try:
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with serving(runtime_dir) as it:
        yield it


@pytest.fixture
def attach(daemon: Daemon) -> Iterator[Attach]:
    with attaching(daemon) as it:
        yield it


def test_the_terminal_is_raw_while_attached(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    daemon.attachment().show()
    terminal.see(b"hello")
    assert terminal.raw
