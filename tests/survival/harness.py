"""Real daemons in a directory of their own, killed and started at will, and clients that come back by themselves."""

import base64
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ptybridge.errors import PtybridgeError
from ptybridge.keeper import protocol
from ptybridge.sdk.blocking import Connection, connect

PATIENCE_SECONDS = 60.0
HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
T = TypeVar("T")


def eventually(condition: Callable[[], T | None], what: str = "the condition", patience: float = PATIENCE_SECONDS) -> T:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + patience
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited too long for {what}")
        time.sleep(0.002)


@contextlib.contextmanager
def reserved_port() -> Iterator[str]:
    """A port for a daemon that is killed and started again: meanwhile nobody else can get it.

    It is bound here as well, and only the daemon listens on it: two sockets with SO_REUSEADDR may share a port as long
    as neither listens when the other is bound (socket(7)), and the system gives it to no third.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield str(held.getsockname()[1])


def generate(total: int = 0, *fds: int) -> list[str]:
    """A command that prints the pattern of `generator`: `total` bytes a stream, or for ever."""
    return [sys.executable, "-S", "-E", str(HERE / "generator.py"), str(total), *map(str, fds or (1,))]


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_gone(pid: int) -> None:
    """Wait until a process has ended, whoever's child it is."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], PATIENCE_SECONDS)[0], f"process {pid} does not end"
    finally:
        os.close(pidfd)


def open_files(pid: int) -> list[str]:
    """What a process's descriptors are, without the numbers of pipes, sockets and terminals."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(re.sub(r"\d+", "", os.readlink(f"/proc/{pid}/fd/{fd}")))
    return sorted(found)


class Zygote:
    """Forks daemons that have everything imported: see `zygote`."""

    def __init__(self, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            text=True,
            cwd="/",
        )
        assert self._answer() == "ready"

    @property
    def pid(self) -> int:
        """The process's own."""
        return self._process.pid

    def start(self, log: Path) -> int:
        return int(self._ask(f"start {log}"))

    def reap(self, pid: int) -> int:
        """Wait for the end of a daemon; return its exit code, or minus the signal's number."""
        return os.waitstatus_to_exitcode(int(self._ask(f"reap {pid}")))

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE_SECONDS)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PATIENCE_SECONDS)[0], "the zygote does not answer"
        return self._process.stdout.readline().strip()


class Node:
    """A runtime directory with its daemon (if one runs) and its keeper."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "run"
        self.socket = str(self.directory / "daemon.sock")
        self.control = str(self.directory / "keeper.sock")
        self.state = directory / "state"
        self.output = directory / "output"
        self.env = {
            **os.environ,
            "PTYBRIDGE_SOCKET": self.socket,
            "PTYBRIDGE_STATE_DIR": str(self.state),
            "PYTHONPATH": str(SOURCE),
        }
        self._zygote: Zygote | None = None
        self._started: dict[int, subprocess.Popen[bytes] | None] = {}
        self.pid = 0

    # -- daemons --------------------------------------------------------------------------------------------

    def start(self, *, env: dict[str, str] | None = None, options: Sequence[str] = ()) -> int:
        """Start `python -m ptybridge serve` (with these options) and wait until it serves; return its pid."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ptybridge", "serve", "--detached", *options],
                env={**self.env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
            )
        self._started[process.pid] = process
        self.pid = process.pid
        self.wait_serving(process.pid)
        return process.pid

    def fork(self) -> int:
        """Start a daemon from a warm interpreter and do not wait; return its pid."""
        if self._zygote is None:
            self._zygote = Zygote(self.env)
        self.pid = self._zygote.start(self.output)
        self._started[self.pid] = None
        return self.pid

    def wait_serving(self, pid: int | None = None) -> None:
        """Wait until a daemon (this one) answers."""

        def answers() -> bool:
            if pid is not None:
                assert alive(pid), f"daemon {pid} has ended: {self.log()[-3000:]}"
            with contextlib.suppress(PtybridgeError, OSError), connect(self.socket, 1) as connection:
                info = connection.call_raw("node.info", {}, timeout=PATIENCE_SECONDS)
                self.pid = int(info["pid"])
                return pid is None or self.pid == pid
            return False

        eventually(answers, "a daemon that answers")

    def kill(self, pid: int | None = None) -> None:
        """`kill -9` the daemon and wait until it is gone."""
        pid = self.pid if pid is None else pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.reap(pid)

    def reap(self, pid: int) -> int | None:
        """Wait for the end of a daemon; return its exit code if it is a child of ours."""
        if pid not in self._started:
            wait_gone(pid)
            return None
        process = self._started.pop(pid)
        if process is not None:
            return process.wait(PATIENCE_SECONDS)
        assert self._zygote is not None
        return self._zygote.reap(pid)

    # -- the keeper -----------------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """Ask the keeper what it keeps, without becoming its daemon. Raises OSError without a keeper."""
        channel = protocol.connect(self.control)
        try:
            channel.socket.settimeout(PATIENCE_SECONDS)
            channel.send({"op": "hello", "id": 1, "proto": [1, 1], "epoch": 0})
            while True:
                message = channel.receive()
                if message is None:
                    raise ConnectionError("the keeper is gone")
                if message.body.get("id") == 1:
                    return message.body
        finally:
            channel.close()

    def keeper_pid(self) -> int:
        """Return the keeper's pid once there is one."""

        def pid() -> int:
            with contextlib.suppress(OSError):
                return int(self.look()["pid"])
            return 0

        return eventually(pid, "a keeper")

    def kill_keeper(self) -> int:
        """`kill -9` the keeper; return what its pid was."""
        pid = self.keeper_pid()
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        return pid

    def wait_kept(self, count: int, but: int = 0) -> int:
        """Wait until a keeper (another than `but`) has so many sessions; return its pid."""

        def pid() -> int:
            with contextlib.suppress(OSError):
                body = self.look()
                if body["pid"] != but and len(body["sessions"]) == count:
                    return int(body["pid"])
            return 0

        try:
            return eventually(pid, f"a keeper with {count} sessions")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; the logs end with\n{self.log()[-3000:]}") from exc

    # -- clients --------------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """Connect, waiting for a daemon if need be."""

        def connected() -> Connection | None:
            with contextlib.suppress(PtybridgeError, OSError):
                return connect(self.socket, PATIENCE_SECONDS)
            return None

        return eventually(connected, "a connection")

    def call(self, method: str, **params: Any) -> Any:
        """Call an operation on a connection of its own."""
        with self.connect() as connection:
            return connection.call_raw(method, params, timeout=PATIENCE_SECONDS)

    def create(self, command: list[str] | str, **params: Any) -> str:
        """Create a session; return its id."""
        return str(self.call("session.create", command=command, **params)["session_id"])

    def read_all(self, session_id: str, offset: int = 0, **params: Any) -> bytes:
        """Read a finished session's output (or stream) from an offset to its end."""
        parts = []
        with self.connect() as connection:
            while True:
                answer = connection.call_raw(
                    "session.read",
                    {
                        "session_id": session_id,
                        "offset": offset,
                        "max_bytes": 1 << 20,
                        "timeout_ms": 60_000,
                        "encoding": "base64",
                        **params,
                    },
                    timeout=PATIENCE_SECONDS,
                )
                parts.append(base64.b64decode(answer["data"]))
                assert answer["missed_bytes"] == 0
                offset = answer["next_offset"]
                if answer["eof"]:
                    return b"".join(parts)

    # -- the end --------------------------------------------------------------------------------------------

    def log(self) -> str:
        """Return what the daemons have logged and said."""
        paths = [self.state / "daemon.log", self.output, self.state / "keeper.log"]
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def _successors(self) -> list[int]:
        """Daemons of this directory that other daemons have started; each has the socket's path from its starter."""
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if f"PTYBRIDGE_SOCKET={self.socket}".encode() in environment and alive(int(pid)):
                    found.append(int(pid))
        return [pid for pid in found if self._zygote is None or pid != self._zygote.pid]

    def close(self) -> None:
        """End everything that was started here."""
        for pid in list(self._started):
            self.kill(pid)
        for pid in self._successors():
            self.kill(pid)
        with contextlib.suppress(OSError):
            body = self.look()
            sessions = [info["pid"] for info in body["sessions"] if not info["exited"]]
            for pid in (int(body["pid"]), *sessions):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_gone(int(body["pid"]))
        if self._zygote is not None:
            self._zygote.close()
