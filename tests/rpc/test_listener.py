"""The socket's path: safe directory, hostile and stale files, two daemons at once, activation, other users."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import NeedTool

from ptybridge.errors import AlreadyRunning, PtybridgeError, UnsafePath
from ptybridge.rpc import listener
from ptybridge.sdk import blocking

NOBODY = 65534
LISTENS = 0x10000  # __SO_ACCEPTCON
PATIENCE_SECONDS = 60.0
# A daemon of the shell's own: `serve` as the command line calls it, without a keeper. Says "up" once it serves.
SERVE = """
import sys
from ptybridge import config
from ptybridge.daemon import serve
from ptybridge.errors import PtybridgeError
paths = config.Paths(socket=sys.argv[1], state_dir=sys.argv[2], runtime_dir=sys.argv[2], tmux_dir=sys.argv[2])
try:
    serve(config.Config(paths=paths, daemon=config.Daemon(keeper=False)), announce=lambda line: print("up", flush=True))
except PtybridgeError as exc:
    print(exc.code, exc.message, flush=True)
    sys.exit(3)
"""


@pytest.fixture
def path(runtime_dir: Path) -> Path:
    directory = runtime_dir / "d"
    directory.mkdir(mode=0o700)
    return directory / "daemon.sock"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes a test has started; they end with it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(PATIENCE_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def serve(started: list[subprocess.Popen[str]], path: Path, state: Path, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path), str(state)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    started.append(process)
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# -- the directory -------------------------------------------------------------------------------------------


def test_s12_directory_and_socket_are_for_their_owner_alone(runtime_dir: Path) -> None:
    path = runtime_dir / "made" / "daemon.sock"
    old = os.umask(0)
    try:
        listener.prepare_directory(path.parent)
        lock = listener.SocketLock(path)
        sock = listener.bind(path)
        assert os.umask(0) == 0  # as it was
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((path.parent / "daemon.sock.lock").stat().st_mode) == 0o600
    assert not os.get_inheritable(sock.fileno())
    sock.close()
    lock.release()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755, 0o750, 0o701])
def test_s12_a_directory_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    with pytest.raises(UnsafePath, match=f"{mode:o}"):
        listener.prepare_directory(path.parent)


def test_a_directory_that_cannot_be_made_is_named(runtime_dir: Path) -> None:
    (runtime_dir / "file").touch()
    for directory in (runtime_dir / "file" / "below", runtime_dir / "file" / "far" / "below"):
        with pytest.raises(UnsafePath, match=f"cannot make the directory {directory}: "):
            listener.prepare_directory(directory)


def test_s12_a_symlink_is_no_directory_of_ours(path: Path) -> None:
    link = path.parent.parent / "link"
    link.symlink_to(path.parent)
    with pytest.raises(UnsafePath, match="not a directory"):
        listener.prepare_directory(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_s12_anothers_directory_is_refused(path: Path) -> None:
    os.chown(path.parent, NOBODY, NOBODY)
    with pytest.raises(UnsafePath, match="another user"):
        listener.prepare_directory(path.parent)


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o770, False), (0o1777, True), (0o755, True)])
def test_s12_a_parent_others_may_write_to_must_be_sticky(runtime_dir: Path, mode: int, safe: bool) -> None:
    parent = runtime_dir / "parent"
    parent.mkdir()
    parent.chmod(mode)
    if safe:
        listener.prepare_directory(parent / "d")
    else:
        with pytest.raises(UnsafePath, match="sticky"):
            listener.prepare_directory(parent / "d")


# -- what stands at the path ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "fifo", "symlink", "dangling", "directory", "link to a socket"])
def test_s14_whatever_is_no_socket_of_ours_is_left_as_it_is(path: Path, what: str) -> None:
    other = path.with_name("other")
    match what:
        case "file":
            path.write_text("precious")
        case "fifo":
            os.mkfifo(path)
        case "symlink":
            other.write_text("precious")
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(other)
        case "directory":
            path.mkdir()
        case _:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(other))
            path.symlink_to(other)
    before = os.lstat(path)
    with pytest.raises(UnsafePath, match="left as it is"):
        listener.bind(path)
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_s14_anothers_socket_is_left_as_it_is(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        os.chown(path, NOBODY, NOBODY)
        with pytest.raises(UnsafePath):
            listener.bind(path)
    assert path.is_socket()


def test_s14_a_stale_socket_of_ours_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
    with listener.bind(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_r16_a_socket_somebody_answers_on_is_not_taken_away(path: Path) -> None:
    """The lock keeps daemons apart; a service manager's listener holds no lock, and answers all the same."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(AlreadyRunning):
            listener.bind(path)
        assert path.is_socket()


def test_s14_a_lock_that_is_a_symlink_is_refused(path: Path) -> None:
    path.with_name("daemon.sock.lock").symlink_to("/tmp/ptybridge-precious")
    with pytest.raises(UnsafePath, match="symbolic link"):
        listener.SocketLock(path)
    assert not os.path.exists("/tmp/ptybridge-precious")


def test_s14_the_client_checks_whom_it_talks_to(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        path.parent.chmod(0o755)
        with pytest.raises(UnsafePath):
            blocking.connect(str(path))
        path.parent.chmod(0o700)
        real = path.with_name("real")
        path.rename(real)
        path.symlink_to(real)
        with pytest.raises(UnsafePath):
            blocking.connect(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_s14_a_server_of_another_user_is_not_talked_to(path: Path, need_tool: NeedTool) -> None:
    """Even when the path looks right, the kernel tells who listens."""
    path.parent.parent.chmod(0o755)
    path.parent.chmod(0o777)
    become = [need_tool("setpriv"), f"--reuid={NOBODY}", "--clear-groups"]
    process = subprocess.Popen([*become, need_tool("socat"), f"UNIX-LISTEN:{path}", "PIPE"])
    try:
        _wait_for_socket(path)
        path.parent.chmod(0o700)
        os.chown(path, 0, 0)
        with pytest.raises(UnsafePath, match=f"uid {NOBODY}"):
            blocking.connect(str(path))
    finally:
        process.kill()
        process.wait()


# -- whole daemons -------------------------------------------------------------------------------------------


def test_r16_of_two_daemons_racing_for_a_path_one_serves(
    path: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    racers = [serve(started, path, tmp_path / "state") for _ in range(4)]
    answers = [said(one) for one in racers]
    assert sorted(re.sub(" .*", "", one) for one in answers) == ["already_running"] * 3 + ["up"]
    with blocking.connect(str(path)) as connection:
        assert connection.call_raw("node.info", {})["pid"] == racers[answers.index("up")].pid


def test_r16_a_killed_daemon_leaves_nothing_in_the_way(
    path: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    first = serve(started, path, tmp_path / "state")
    assert said(first) == "up"
    first.kill()
    first.wait()
    assert path.is_socket()  # stale
    second = serve(started, path, tmp_path / "state")
    assert said(second) == "up"
    with blocking.connect(str(path)) as connection:
        assert connection.call_raw("node.info", {})["pid"] == second.pid
        connection.call_raw("node.shutdown", {})
    assert second.wait(PATIENCE_SECONDS) == 0
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("uid", [NOBODY, 1234])
def test_s13_another_user_is_refused(
    path: Path, tmp_path: Path, started: list[subprocess.Popen[str]], need_tool: NeedTool, uid: int
) -> None:
    """Even one who gets past the modes of directory and socket."""
    assert said(serve(started, path, tmp_path / "state")) == "up"
    path.parent.parent.chmod(0o755)
    path.parent.chmod(0o755)
    path.chmod(0o666)
    done = subprocess.run(
        [
            need_tool("setpriv"),
            f"--reuid={uid}",
            "--clear-groups",
            need_tool("socat"),
            "-t50",
            "-",
            f"UNIX-CONNECT:{path}",
        ],
        input='{"jsonrpc":"2.0","id":1,"method":"session.create","params":{"command":["cat"]}}\n',
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    answer = json.loads(done.stdout)
    assert (answer["id"], answer["error"]["data"]["code"]) == (None, "denied")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"session.list"}\n')
        assert json.loads(sock.makefile().readline())["result"]["sessions"] == []


def test_s15_log_and_state_are_for_their_owner_alone(
    path: Path, tmp_path: Path, started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # /tmp itself is everybody's, other tests' too.
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    state = tmp_path / "state"
    assert said(serve(started, path, state)) == "up"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = [one for one in state.rglob("*") if one.is_file()]
    assert files
    for one in files:
        assert stat.S_IMODE(one.stat().st_mode) & 0o077 == 0, one
    assert os.listdir(tmp_path / "temporary") == []


def test_s15_a_log_that_is_a_symlink_is_not_followed(
    path: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (tmp_path / "victim").write_text("precious\n")
    (state / "daemon.log").symlink_to(tmp_path / "victim")
    process = serve(started, path, state)
    assert said(process) != "up"
    assert (tmp_path / "victim").read_text() == "precious\n"


# -- activation ----------------------------------------------------------------------------------------------

# What a service manager does: it listens, passes the socket as descriptor 3, and says so.
ACTIVATE = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX); os.umask(0o177); sock.bind(sys.argv[2]); sock.listen()
os.dup2(sock.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="ptybridge")
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""


def test_activation_serves_on_the_socket_that_was_passed(
    path: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, SERVE, str(path), str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
    )
    started.append(process)
    assert said(process) == "up"
    with blocking.connect(str(path)) as connection:
        info = connection.call_raw("node.info", {})
        assert info["pid"] == process.pid
        created = connection.call_raw("session.create", {"command": "env; ls /proc/$$/fd | wc -l", "backend": "pipes"})
        text = connection.call_raw(
            "session.read_until", {"session_id": created["session_id"], "pattern": "no such", "timeout_ms": 20_000}
        )["data"]
        assert "LISTEN_" not in text
        connection.call_raw("node.shutdown", {})
    assert process.wait(PATIENCE_SECONDS) == 0
    # It belongs to the service manager, which goes on listening on it.
    assert path.is_socket()


def test_activation_for_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert listener.passed(own=True) == listener.Passed()
    assert "LISTEN_FDS" not in os.environ


def test_activation_by_systemd(path: Path, tmp_path: Path, need_tool: NeedTool) -> None:
    """systemd's own tool starts the daemon at the first connection."""
    tool = need_tool("systemd-socket-activate")
    process = subprocess.Popen(
        [tool, f"--listen={path}", "-E", "PYTHONPATH", sys.executable, "-c", SERVE, str(path), str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        umask=0o177,
    )
    try:
        _wait_for_socket(path)
        with blocking.connect(str(path)) as connection:
            assert connection.call_raw("node.info", {}, PATIENCE_SECONDS)["pid"] == process.pid
            connection.call_raw("node.shutdown", {})
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _wait_for_socket(path: Path) -> None:
    """Another program binds it, which announces nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _listens(path):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _listens(path: Path) -> bool:
    """Tell whether somebody listens, which is later than that the socket is there: "Num RefCount Protocol Flags …"."""
    fields = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(f" {path}")]
    return any(int(one[3], 16) & LISTENS for one in fields)


def test_a_restart_passes_the_socket_on(path: Path, tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, SERVE, str(path), str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PTYBRIDGE_STATE_DIR": str(tmp_path / "state")},
    )
    started.append(process)
    assert said(process) == "up"
    inode = path.stat().st_ino
    for _ in range(2):
        created = ask(path, "session.create", command=["cat"])["session_id"]
        ask(path, "node.restart")
        deadline = time.monotonic() + PATIENCE_SECONDS
        # The daemon from before may answer until it is gone; then whoever connects waits in the same socket's queue.
        while created in [one["session_id"] for one in ask(path, "session.list")["sessions"]]:
            assert time.monotonic() < deadline
        assert ask(path, "node.info")["pid"] == process.pid
    assert path.stat().st_ino == inode
    ask(path, "node.shutdown")
    assert process.wait(PATIENCE_SECONDS) == 0
    assert path.is_socket()


def ask(path: Path, method: str, **params: object) -> dict[str, Any]:
    """Ask whichever daemon serves the path, again when the one that was asked has ended meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with blocking.connect(str(path), PATIENCE_SECONDS) as connection:
                answer: dict[str, Any] = connection.call_raw(method, params, timeout=PATIENCE_SECONDS)
                return answer
        except (PtybridgeError, OSError):
            if time.monotonic() > deadline:
                raise
