"""A keeper in a process of its own, and a daemon's side of it in plain blocking calls."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptybridge.keeper.protocol import Channel, Message, SessionInfo, connect, raise_error
from ptybridge.keeper.pump import Flow, Pump
from ptybridge.keeper.ring import Ring, Segments

PATIENCE_SECONDS = 60.0
SOURCE = str(Path(__file__).parents[2] / "src")
# The o-th byte of a generator's output is PATTERN[o % len(PATTERN)]; the length divides no ring's capacity.
PATTERN = bytes((i * i * 31 + i) >> 3 & 255 for i in range(65521))
_GENERATOR = """
import os, sys
pattern = bytes((i * i * 31 + i) >> 3 & 255 for i in range(65521)) * 2
total, done, fd = int(sys.argv[1]), 0, int(sys.argv[2])
while done < total:
    first = done % 65521
    done += os.write(fd, pattern[first : first + min(65521, total - done)])
"""


def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError(f"waited too long for {what}")


def expected(offset: int, size: int) -> bytes:
    """The bytes a generator writes at `offset`."""
    first = offset % len(PATTERN)
    return (PATTERN * (size // len(PATTERN) + 2))[first : first + size]


def generator(total: int, fd: int = 1) -> str:
    """A shell command that writes `total` bytes of the pattern."""
    return f"exec {sys.executable} -S -E -c '{_GENERATOR}' {total} {fd}"


def raw(command: str) -> list[str]:
    """A command line that runs a shell command on a terminal that changes no byte."""
    return ["sh", "-c", f"stty raw -echo; {command}"]


class Kept:
    """A session as a daemon holds it."""

    def __init__(self, info: SessionInfo, names: Sequence[str], fds: Sequence[int]) -> None:
        self.info = info
        self.fds = dict(zip(names, fds, strict=True))
        self.ring = Ring.from_fd(self.fds["ring"])
        self.segments = Segments.from_fd(self.fds["segments"]) if "segments" in self.fds else None
        self.sid, self.pid = info.sid, info.pid

    def flow(self) -> Flow:
        outputs = [self.fds[name] for name in ("pty", "stdout", "stderr") if name in self.fds]
        return Flow(self.sid, outputs, self.ring, self.segments)

    def output(self) -> bytes:
        return self.ring.read(0, self.ring.capacity)[1]

    def wait_eof(self) -> bytes:
        eventually(lambda: self.ring.eof, "the end of output")
        return self.output()

    def close(self) -> None:
        self.ring.close()
        if self.segments is not None:
            self.segments.close()
        for fd in self.fds.values():
            os.close(fd)


class Daemon:
    """A connection to a keeper and what came over it."""

    def __init__(self, path: str, epoch: int | None = None) -> None:
        self.channel: Channel = eventually(lambda: _try_connect(path), "the keeper's socket")
        self.channel.socket.settimeout(PATIENCE_SECONDS)
        self.events: list[dict[str, Any]] = []
        self.kept: dict[int, Kept] = {}
        self._number = 0
        try:
            hello = self.call("hello", proto=[1, 1], epoch=epoch)
        except BaseException:
            self.channel.close()
            raise
        self.hello = hello.body
        self.fds = hello.fds

    def call(self, op: str, fds: Sequence[int] = (), **params: object) -> Message:
        self._number += 1
        self.channel.send({"op": op, "id": self._number, **params}, fds)
        while True:
            message = self.channel.receive()
            if message is None:
                raise EOFError("the keeper closed the connection")
            if "event" in message.body:
                self.events.append(message.body)
                continue
            assert message.body["id"] == self._number
            raise_error(message.body)
            return message

    def spawn(self, argv: Sequence[str], kind: str = "pty", **params: object) -> Kept:
        asked: dict[str, Any] = {"cwd": "/", "env": environment(), "rows": 24, "cols": 80, **params}
        return self._keep(self.call("spawn", kind=kind, argv=list(argv), **asked))

    def attach(self, sid: int) -> Kept:
        return self._keep(self.call("attach", sid=sid))

    def info(self, sid: int) -> SessionInfo:
        for body in self.call("list").body["sessions"]:
            if body["sid"] == sid:
                return SessionInfo.from_body(body)
        raise AssertionError(f"no session {sid}")

    def wait_exit(self, sid: int) -> SessionInfo:
        info: SessionInfo = eventually(lambda: (found := self.info(sid)).exited and found, "the exit")
        return info

    def event(self, name: str) -> dict[str, Any]:
        """Return the next event of this kind, waiting for it."""
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            message = self.channel.receive()
            if message is None:
                raise EOFError("the keeper closed the connection")
            self.events.append(message.body)

    def pump(self) -> Pump:
        """The keeper's scratch pipe and journal, for use when it has gone."""
        return Pump(*[os.dup(fd) for fd in self.fds[1:]])

    def _keep(self, message: Message) -> Kept:
        kept = Kept(SessionInfo.from_body(message.body["info"]), message.body["names"], message.fds)
        if (former := self.kept.pop(kept.sid, None)) is not None:
            former.close()
        self.kept[kept.sid] = kept
        return kept

    def close(self) -> None:
        for kept in self.kept.values():
            kept.close()
        self.kept = {}
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.channel.close()


def _try_connect(path: str) -> Channel | None:
    try:
        return connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def environment() -> dict[str, str]:
    """A complete environment for a child."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TERM": "xterm"}


class KeeperProcess:
    """A running keeper in `directory`."""

    def __init__(self, directory: Path, *, prelude: str = "", **popen: Any) -> None:
        """`prelude` is Python code to run before the keeper's main, to change a constant."""
        self.directory = directory
        self.path = str(directory / "keeper.sock")
        self.listen_path = str(directory / "daemon.sock")
        start = ["-c", f"{prelude}\nimport sys; from ptybridge.keeper.__main__ import main; sys.exit(main())"]
        arguments = ["--control", self.path, "--listen", self.listen_path]
        env: Mapping[str, str] = {**os.environ, "PYTHONPATH": SOURCE, **popen.pop("env", {})}
        self.process = subprocess.Popen(
            [sys.executable, *(start if prelude else ["-m", "ptybridge.keeper"]), *arguments], env=env, **popen
        )
        self.pid = self.process.pid

    def fds(self) -> list[str]:
        """What its descriptors are once it sleeps, without the numbers of pipes, sockets and terminals.

        An answer may come before what was needed for it is closed.
        """

        def settled() -> list[str] | None:
            found = self._fds()
            return found if self._sleeps() and self._fds() == found else None

        found: list[str] = eventually(settled, "a sleeping keeper")
        return found

    def _sleeps(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"

    def _fds(self) -> list[str]:
        directory = f"/proc/{self.pid}/fd"
        found = []
        for fd in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # closed just now
                found.append(re.sub(r"\d+", "", os.readlink(f"{directory}/{fd}")))
        return sorted(found)

    def cpu_ticks(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def comes_to_rest(self) -> bool:
        """Wait for a second in which it does nothing; one that spins has none.

        Not the next second: on a busy machine what was asked of it may still be under way.
        """
        with contextlib.suppress(AssertionError):
            eventually(self._rests)
            return True
        return False

    def _rests(self) -> bool:
        before = self.cpu_ticks()
        time.sleep(1)
        return self.cpu_ticks() - before <= 1

    def kill(self) -> None:
        """End it as the out-of-memory killer would, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
