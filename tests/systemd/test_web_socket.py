"""The web front on sockets of the service manager: from the first connection on, and across daemons."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptybridge import config
from ptybridge.errors import ConfigInvalid
from ptybridge.web import listening

PATIENCE = 60
COMMAND = [sys.executable, "-m", "ptybridge"]
# What a service manager does: the sockets are 3 and 4, and the variables name them and this process.
ACTIVATE = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[2].split(",")]
for place, fd in enumerate(fds, 3):
    os.dup2(fd, place, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[1])
for fd in fds:
    os.close(fd)
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


def ptybridge(*arguments: str) -> str:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
    ).stdout


def ask(operation: str) -> Any:
    return json.loads(ptybridge("--no-autostart", "call", operation))


def healthy(sock: socket.socket) -> bool:
    """Ask over a connected socket."""
    sock.settimeout(PATIENCE)
    with sock:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = sock
        connection.putrequest("GET", "/health", skip_host=True)
        name = sock.getpeername()
        connection.putheader("Host", "localhost" if isinstance(name, str) else f"{name[0]}:{name[1]}")
        connection.endheaders()
        return connection.getresponse().status == 200


def over_unix(path: Path) -> bool:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return healthy(sock)


def listens(path: Path) -> bool:
    """Tell whether somebody listens; a socket is there a moment before. To connect would start the daemon."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    # __SO_ACCEPTCON among the flags: proc_net_unix(5).
    return any(line[-1] == str(path) and int(line[3], 16) & 0x10000 for line in lines if len(line) > 7)


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start a program and see to its end, with everything it started."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **more: Any) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, **more))
        return started[-1]

    yield start
    ptybridge("stop", "--no-autostart")
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


Start = Callable[..., "subprocess.Popen[bytes]"]


def test_the_first_who_connects_starts_the_daemon(
    runtime_dir: Path, start: Start, need_tool: Callable[[str], str]
) -> None:
    path = runtime_dir / "web.sock"
    daemon = start(
        need_tool("systemd-socket-activate"), "--fdname=web", "--listen", str(path), "-E", "PYTHONPATH",
        *("-E", "XDG_RUNTIME_DIR", "-E", "XDG_STATE_HOME", "-E", "HOME"), *COMMAND, "serve", "--detached",
    )  # fmt: skip
    eventually(lambda: listens(path))
    assert over_unix(path)
    # Nothing had to be configured, and no port of its own is open.
    assert ask("web.status")["addresses"] == [f"unix:{path}"]
    assert ask("node.info")["pid"] == daemon.pid
    # Another daemon goes on with it, and with the next one it is still where it was.
    for _ in range(2):
        before = ask("node.info")["pid"]
        ptybridge("restart")
        assert ask("node.info")["pid"] != before
        eventually(lambda: ask("web.status")["addresses"] == [f"unix:{path}"])
        assert over_unix(path)
    ptybridge("stop")
    # It is the service manager's.
    assert path.exists()


def test_a_port_beside_the_daemons_socket_and_across_a_restart_in_place(runtime_dir: Path, start: Start) -> None:
    directory = runtime_dir / "ptybridge"
    directory.mkdir(mode=0o700)
    own, web = socket.socket(socket.AF_UNIX), socket.socket()
    with own, web:
        before = os.umask(0o177)
        own.bind(str(directory / "daemon.sock"))
        os.umask(before)
        web.bind(("127.0.0.1", 0))
        for sock in (own, web):
            sock.listen()
        fds = [own.fileno(), web.fileno()]
        daemon = start(
            *(sys.executable, "-c", ACTIVATE, "own:web", ",".join(map(str, fds))),
            *("-m", "ptybridge", "serve", "--no-keeper", "--detached"),
            pass_fds=fds,
        )
        at = web.getsockname()
        assert healthy(socket.create_connection(at))
        started = ask("node.info")["started_at_ms"]
        assert ask("web.status")["addresses"] == [f"127.0.0.1:{at[1]}"]
        ptybridge("restart")
        eventually(lambda: ask("node.info")["started_at_ms"] != started)
        assert ask("node.info")["pid"] == daemon.pid
        assert healthy(socket.create_connection(at))
        assert ask("web.status")["addresses"] == [f"127.0.0.1:{at[1]}"]


def test_a_port_that_others_can_reach_needs_a_certificate() -> None:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        with pytest.raises(ConfigInvalid, match="no certificate"):
            listening.check_given(sock, config.Web())
        listening.check_given(sock, config.Web(tls_cert="/somewhere.pem"))
