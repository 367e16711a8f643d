"""What a service manager hears of a daemon, and what a daemon takes from it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 60
COMMAND = [sys.executable, "-m", "ptybridge"]
Start = Callable[..., "subprocess.Popen[bytes]"]


class Manager:
    """The end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)

    def hears(self, wanted: str) -> str:
        """Return the next message that begins like this, and close what came with messages until then."""
        while True:
            data, fds, _, _ = socket.recv_fds(self._socket, 4096, 4)
            for fd in fds:
                os.close(fd)
            if data.decode().startswith(wanted):
                return data.decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(runtime_dir: Path) -> Iterator[Manager]:
    manager = Manager(runtime_dir / "notify")
    yield manager
    manager.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program and see to its end, with everything it started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **env: str) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(command, env={**os.environ, **env}, stdin=subprocess.DEVNULL))
        return started[-1]

    yield start
    ptybridge("stop", "--no-autostart")
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


def ptybridge(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
    )


def status() -> dict[str, object]:
    found: dict[str, object] = json.loads(ptybridge("status", "--json").stdout)
    return found


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ready_alive_and_stopping(manager: Manager, start: Start) -> None:
    daemon = start(*COMMAND, "serve", "--detached", NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="200000")
    assert "STATUS=Serving on" in manager.hears("READY=1")
    manager.hears("WATCHDOG=1")
    manager.hears("WATCHDOG=1")
    daemon.send_signal(signal.SIGTERM)
    manager.hears("STOPPING=1")
    assert daemon.wait(PATIENCE) == 0
    # Its keeper is still there, and so that nothing stays behind, the next daemon ends with it.
    assert ptybridge("ls").returncode == 0


def test_a_hand_over_names_the_new_process_before_the_old_one_ends(manager: Manager, start: Start) -> None:
    daemon = start(*COMMAND, "serve", "--detached", NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="200000")
    manager.hears("READY=1")
    restarting = subprocess.Popen([*COMMAND, "restart"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    fresh = int(manager.hears("MAINPID=").partition("=")[2])
    assert daemon.poll() is None
    manager.hears("BARRIER=1")
    assert daemon.wait(PATIENCE) == 0
    assert restarting.wait(PATIENCE) == 0
    assert status()["pid"] == fresh
    # The new one gives the signs of life now.
    manager.hears("WATCHDOG=1")


def test_programs_of_sessions_do_not_know_the_manager(manager: Manager, start: Start) -> None:
    start(*COMMAND, "serve", "--detached", NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="60000000")
    manager.hears("READY=1")
    assert ptybridge("run", "-c", "echo $NOTIFY_SOCKET$WATCHDOG_USEC.").stdout == ".\n"


def test_a_service_waits_for_its_keeper_and_starts_none(
    runtime_dir: Path, manager: Manager, start: Start, need_tool: Callable[[str], str]
) -> None:
    directory = runtime_dir / "ptybridge"
    directory.mkdir(mode=0o700)
    keeper = start(
        need_tool("systemd-socket-activate"), "--seqpacket", "--listen", str(directory / "keeper.sock"),
        *("-E", "PYTHONPATH"), sys.executable, "-m", "ptybridge.keeper", "--listen", str(directory / "daemon.sock"),
    )  # fmt: skip
    eventually((directory / "keeper.sock").exists)
    start(*COMMAND, "serve", "--service", NOTIFY_SOCKET=str(manager.path))
    manager.hears("READY=1")
    assert status()["keeper_pid"] == keeper.pid
    assert ptybridge("run", "-c", "echo here").stdout == "here\n"
    ptybridge("stop")
    assert keeper.wait(PATIENCE) == -signal.SIGTERM
    # The manager's sockets are not removed: the next client finds them.
    assert (directory / "keeper.sock").exists()
    assert (directory / "daemon.sock").exists()


def test_a_daemon_without_a_keeper_takes_its_socket(
    runtime_dir: Path, start: Start, need_tool: Callable[[str], str]
) -> None:
    directory = runtime_dir / "ptybridge"
    directory.mkdir(mode=0o700)
    path = directory / "daemon.sock"
    daemon = start(
        need_tool("systemd-socket-activate"), "--listen", str(path), "-E", "PYTHONPATH", "-E", "XDG_RUNTIME_DIR",
        *("-E", "HOME"), *COMMAND, "serve", "--no-keeper", "--detached",
    )  # fmt: skip
    eventually(path.exists)
    assert status()["pid"] == daemon.pid
    assert ptybridge("run", "-c", "echo here").stdout == "here\n"
    ptybridge("stop")
    assert daemon.wait(PATIENCE) == 0
    assert path.exists()
