"""Where benches are made: compiled helpers, a daemon and its peers, each started afresh and ended by its own handle."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ptybridge.errors import DaemonUnreachable
from ptybridge.sdk.blocking import Connection, connect

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# Peers that come from Python's package index live apart, so that they never share an environment with ptybridge.
PEERS = ROOT / ".venvs" / "bench-peers"
PTYBRIDGE = [sys.executable, "-m", "ptybridge"]
PATIENCE_SECONDS = 60.0
ROWS, COLS = 24, 80

T = TypeVar("T")


class BenchError(Exception):
    """A bench could not be made; the message says why."""


class Lab:
    """A temporary directory with the C helpers in it, and how big everything is to be. A context manager."""

    def __init__(self, *, smoke: bool) -> None:
        self.smoke = smoke
        self.rounds = 1 if smoke else 7
        self._cleanup = ExitStack()

    def __enter__(self) -> "Lab":
        # Sockets lie here, and their paths must be short.
        directory = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp"))
        self.directory = Path(directory)
        self.child, self.client, self.calls = (self._compile(name) for name in ("child", "client", "calls"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._cleanup.close()

    def size(self, full: int, smoke: int) -> int:
        """Choose between the size that measures and the size that proves that measuring works."""
        return smoke if self.smoke else full

    def _compile(self, name: str) -> str:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise BenchError("the benches need a C compiler (Debian, Ubuntu: apt install gcc libc6-dev)")
        target = str(self.directory / name)
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", target, HERE / f"{name}.c", "-lutil"], check=True)
        return target

    def measure(self, *command: str) -> dict[str, float]:
        """Run a measuring program; return the JSON object it prints."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=ROOT, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

    def flood(self, size: int, *way: str) -> float:
        """Let a flooding child write `size` bytes to one viewer; return megabytes per second."""
        figures = self.measure(self.client, "flood", str(size), *way)
        return figures["bytes"] / figures["seconds"] / 1e6

    def echo(self, count: int, *way: str) -> float:
        """Type `count` keys; return the median of the microseconds until each is seen."""
        return self.measure(self.client, "echo", str(count), *way)["p50_us"]

    # -- ptybridge ------------------------------------------------------------------------------------------

    @contextmanager
    def daemon(self, *flags: str) -> Iterator["Daemon"]:
        """Run a daemon of its own, with nothing of the user's in its environment; `flags` are `serve`'s."""
        with tempfile.TemporaryDirectory(prefix="d", dir=self.directory) as home:
            env = {name: value for name, value in os.environ.items() if not name.startswith(("PTYBRIDGE_", "XDG_"))}
            env |= {"HOME": home, "XDG_RUNTIME_DIR": home, "PTYBRIDGE_SOCKET": f"{home}/daemon.sock"}
            with open(f"{home}/output", "wb") as output:
                process = subprocess.Popen(
                    [*PTYBRIDGE, "serve", *flags], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
            try:
                link = wait_for(lambda: _try_connect(env["PTYBRIDGE_SOCKET"], process, Path(output.name)), "the daemon")
                with link:
                    yield Daemon(process.pid, env, link)
            finally:
                # SIGTERM would leave the keeper there with its sessions, which is what it is for.
                subprocess.run(
                    [*PTYBRIDGE, "stop"], env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
                process.terminate()
                process.wait(timeout=PATIENCE_SECONDS)

    # -- peers ----------------------------------------------------------------------------------------------

    @contextmanager
    def dtach(self, *command: str) -> Iterator[str]:
        """Run a command under dtach; yield its socket."""
        path = tempfile.mktemp(prefix="dtach-", dir=self.directory)
        # -N stays in the foreground, so that the process is ours to end.
        process = subprocess.Popen(["dtach", "-N", path, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: Path(path).is_socket(), "dtach")
            yield path
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_SECONDS)

    @contextmanager
    def tmux(self, *command: str) -> Iterator[list[str]]:
        """Run a tmux server of its own with one session; yield the beginning of commands to it."""
        path = tempfile.mktemp(prefix="tmux-", dir=self.directory)
        tmux = ["tmux", "-S", path, "-f", "/dev/null"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
        subprocess.run([*tmux, "new-session", "-d", "-x", str(COLS), "-y", str(ROWS), *command], env=env, check=True)
        try:
            # The status line shows a clock, and its characters could be taken for the child's.
            subprocess.run([*tmux, "set-option", "-g", "status", "off"], check=True)
            yield tmux
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)

    def terminado(self) -> str | None:
        """Return a Python that has terminado, installing it at first; None when that is not possible."""
        return self.peer_program("python", "terminado>=0.18")

    def peer_program(self, program: str, package: str) -> str | None:
        """Return a program of a package from the index, installing it at first; None when that is not possible."""
        stamp = PEERS / f".{package.translate(str.maketrans('<>=', '---'))}"
        if not stamp.exists():
            done = subprocess.run([sys.executable, "-m", "venv", PEERS], capture_output=True, check=False)
            if done.returncode == 0:
                install = [str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
                done = subprocess.run(install, capture_output=True, check=False)
            if done.returncode != 0:
                return None
            stamp.touch()
        return str(PEERS / "bin" / program)


class Daemon:
    """A running daemon and a connection to it."""

    def __init__(self, pid: int, env: dict[str, str], link: Connection) -> None:
        self.pid = pid
        self.env = env
        self.socket = env["PTYBRIDGE_SOCKET"]
        self._link = link

    def call(self, method: str, **params: object) -> Any:
        """Call an operation by name."""
        return self._link.call_raw(method, params)

    @contextmanager
    def session(self, *command: str, **params: object) -> Iterator[str]:
        """Run a command as a session; yield its id."""
        created = self.call("session.create", command=list(command), rows=ROWS, cols=COLS, **params)
        try:
            yield created["session_id"]
        finally:
            self.call("session.close", session_id=created["session_id"])


def _try_connect(path: str, process: subprocess.Popen[bytes], output: Path) -> Connection | None:
    if process.poll() is not None:
        last = output.read_text().strip().splitlines()[-1:] or ["and said nothing"]
        raise BenchError(f"the daemon ended with status {process.returncode}: {last[0]}")
    try:
        return connect(path)
    except DaemonUnreachable:
        return None


def wait_for(condition: Callable[[], T | None], what: str) -> T:
    """Ask again and again until the answer is true; return it. For programs that do not say when they are ready."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.01)
    raise BenchError(f"{what} has not become ready")


def installed(program: str) -> bool:
    """Tell whether a peer is there to be measured."""
    return shutil.which(program) is not None
