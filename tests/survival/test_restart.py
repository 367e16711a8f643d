"""Hand-over to a new daemon, upgrade of the keeper, new daemons that fail, and daemons that get in each other's way."""

import contextlib
import fcntl
import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.survival.harness import PATIENCE_SECONDS, SOURCE, Node, alive, eventually, open_files, wait_gone
from tests.survival.test_kill_both import flood

from ptybridge.errors import DaemonUnreachable, PtybridgeError, Unavailable
from ptybridge.keeper import protocol
from ptybridge.sdk.blocking import connect


def restart(node: Node) -> int:
    """Hand over; return the new daemon's pid."""
    old = node.pid
    assert node.call("node.restart") == {"sessions_kept": True, "sessions_ended": 0}
    node.reap(old)
    node.wait_serving()
    assert node.pid != old
    return node.pid


def children_of(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def arguments(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def new_daemon(node: Node, old: int) -> int:
    """Return the pid of the daemon that `old` is starting, as soon as it is one."""

    return eventually(lambda: next(iter(successors(old)), 0), "a new daemon")


def successors(old: int) -> list[int]:
    """The daemons that `old` has started and that live."""
    return [pid for pid in children_of(old) if "--takeover-fds" in arguments(pid)]


def restart_in_thread(node: Node) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(node.call("node.restart"))
        except PtybridgeError as exc:
            outcome.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_r15_hand_over_under_flood_loses_nothing(node: Node) -> None:
    node.start()
    follower = flood(node, "pty")
    pids = {node.pid}
    for _ in range(8):
        pids.add(restart(node))
        follower.wait_past(follower.offset)
    follower.stop()
    assert len(pids) == 9
    assert "Traceback" not in node.log()
    assert follower.connections <= 9
    node.kill()


def test_r15_descriptors_stay_constant(node: Node) -> None:
    node.start()
    keeper = node.keeper_pid()
    kept = [node.create(["cat"]), node.create(["cat"], backend="pipes")]
    daemons: dict[str, list[str]] = {}
    keepers: dict[str, list[str]] = {}
    for _ in range(5):
        restart(node)
        for backend in ("pty", "pipes"):
            session = node.create(["sh", "-c", "exit 3"], backend=backend)
            node.call("session.wait", session_id=session, until=[{"exit": True}])
            node.call("session.close", session_id=session)
        look_aside(node)
        for pid, counted in ((node.pid, daemons), (keeper, keepers)):
            wait_files(pid, counted)
    assert [one["session_id"] for one in node.call("session.list")["sessions"]] == kept
    node.kill()


def settled(pid: int) -> list[str] | None:
    """A process's descriptors if they have been the same for a while."""
    found = open_files(pid)
    for _ in range(20):
        time.sleep(0.01)
        if open_files(pid) != found:
            return None
    return found


def wait_files(pid: int, counted: dict[str, list[str]]) -> None:
    """Wait until a process has no descriptor that it had not the first time.

    It may have fewer: the first time one was perhaps about to be closed. Rings are left out: those of closed sessions
    are unmapped when the collector gets to it.
    """
    first = Counter(counted.setdefault("files", eventually(lambda: settled(pid), "constant descriptors")))

    def no_more() -> bool:
        return all("-ring" in name for name in Counter(open_files(pid)) - first)

    eventually(no_more, "no more descriptors than before")
    assert sum("-ring" in name for name in open_files(pid)) <= 4 + 4


def look_aside(node: Node) -> None:
    """Look at the keeper while it works, as `doctor` does."""
    assert node.look()["pid"]


def broken_copy(directory: Path, module: str, text: str) -> Path:
    """A copy of the package with something added to the end of a module."""
    shutil.copytree(SOURCE / "ptybridge", directory / "ptybridge", ignore=shutil.ignore_patterns("__pycache__"))
    with (directory / "ptybridge" / module).open("a") as file:
        file.write(text)
    return directory


@contextlib.contextmanager
def as_installed(node: Node, copy: Path):  # type: ignore[no-untyped-def]
    """Let daemons started from now on be of `copy`: the node's path is a link."""
    link = node.directory.parent / "installed"
    before = os.readlink(link)
    link.unlink()
    link.symlink_to(copy)
    try:
        yield
    finally:
        link.unlink()
        link.symlink_to(before)


@pytest.mark.parametrize("stopped", [False, True], ids=["died", "hung"])
def test_r15_a_new_daemon_that_dies_before_it_is_verified_changes_nothing(linked: Node, stopped: bool) -> None:
    node = linked
    old = node.start()
    follower = flood(node, "pty")
    # However late it is killed, it has not come so far as to be verified.
    slow = broken_copy(node.directory.parent / "slow", "daemon/__init__.py", "\nimport time\ntime.sleep(1000)\n")
    with as_installed(node, slow):
        thread, outcome = restart_in_thread(node)
        pid = new_daemon(node, old)
        if stopped:
            os.kill(pid, signal.SIGSTOP)  # the old one serves on beside it
            assert node.call("node.info")["pid"] == old
        os.kill(pid, signal.SIGKILL)
        thread.join(PATIENCE_SECONDS)
    assert isinstance(outcome[0], Unavailable)
    assert node.call("node.info")["pid"] == old
    follower.wait_past(follower.offset)
    follower.stop()
    assert follower.connections == 1
    node.pid = old
    restart(node)
    node.kill()


BROKEN = {
    "cannot be imported": ("daemon/__init__.py", "\nraise RuntimeError('broken on purpose')\n"),
    "does not speak with the keeper": ("daemon/process.py", "\nkeeper_protocol.PROTOCOL = (98, 99)\n"),
    "ends after being verified": (
        "daemon/handover.py",
        "\ndef _end(self):\n    os.write(self._report_fd, VERIFIED)\n    os._exit(3)\nTakeover.verified = _end\n",
    ),
    "ends at the word": (
        "daemon/handover.py",
        "\n_v = Takeover.verified\ndef _end(self):\n    _v(self)\n    os._exit(3)\nTakeover.verified = _end\n",
    ),
    "ends once it has claimed the keeper": (
        "backends/keeper_link.py",
        "\n_c = _claim\ndef _claim(*a):\n    _c(*a)\n    os._exit(3)\n",
    ),
    "ends while it restores": (
        "core/sessions.py",
        "\nimport os\nasync def _end(*a):\n    os._exit(3)\nSessions.restore = _end\n",
    ),
    "raises while it takes up": (
        "daemon/composition.py",
        "\nasync def _fail(*a):\n    raise RuntimeError('broken on purpose')\nDaemon._take_up = _fail\n",
    ),
    "ends before it is ready": ("daemon/handover.py", "\ndef _end(self):\n    os._exit(3)\nTakeover.ready = _end\n"),
}


CLAIMING = [
    "ends once it has claimed the keeper",
    "ends while it restores",
    "ends before it is ready",
]


@pytest.mark.parametrize("how", BROKEN)
def test_r15_a_new_daemon_that_fails_is_rolled_back(linked: Node, how: str) -> None:
    node = linked
    old = node.start()
    follower = flood(node, "pty")
    shell = node.create(["cat"], name="shell", tags=["kept"])
    copy = broken_copy(node.directory.parent / "broken", *BROKEN[how])
    with as_installed(node, copy):
        # It may be noticed only after the answer; then there is a pause, and the old daemon again.
        try:
            node.call("node.restart")
        except Unavailable:
            pass
        else:
            words = "takes the sessions back" if how in CLAIMING else "this one goes on"
            eventually(lambda: words in node.log(), words)
        node.wait_serving()
        eventually(lambda: not successors(old), "the end of the new daemon")
        answer = node.call("session.prompt", session_id=shell, data="here", until=[{"pattern": "here\r\nhere"}])
        assert answer["reason"] == "matched"
    assert node.call("node.info")["pid"] == old
    follower.wait_past(follower.offset)
    restart(node)  # the good one comes up after all
    follower.wait_past(follower.offset)
    follower.stop()
    assert [one["name"] for one in node.call("session.list")["sessions"]] == [None, "shell"]
    node.kill()


@pytest.mark.parametrize("victim", ["old", "new"])
def test_r15_kills_during_hand_over(node: Node, victim: str) -> None:
    node.start()
    follower = flood(node, "pty")
    for number in range(8):
        old = node.pid
        thread, _ = restart_in_thread(node)
        new = new_daemon(node, old)
        time.sleep(number * 0.06)
        with contextlib.suppress(ProcessLookupError):
            os.kill(old if victim == "old" else new, signal.SIGKILL)
        if victim == "old":
            node.reap(old)
            # Before the word to go the new one ends, too; otherwise it serves.
            wait_gone_or_serves(node, new)
            if not alive(new):
                node.start()
        else:
            # Killed before it was ready, the old one takes the sessions back; after that, there is none left.
            wait_gone_or_serves(node, old)
            if not alive(old):
                node.start()
        follower.check()
        node.wait_serving()
        thread.join(PATIENCE_SECONDS)
        follower.wait_past(follower.offset)
    follower.stop()
    node.kill()


def wait_gone_or_serves(node: Node, pid: int) -> None:
    def settled() -> bool:
        if not alive(pid):
            return True
        with contextlib.suppress(PtybridgeError, OSError), connect(node.socket, 1) as connection:
            return bool(connection.call_raw("node.info", {}, timeout=1)["pid"] == pid)
        return False

    eventually(settled, "the new daemon")


def test_r16_two_daemons_do_not_serve_one_path(node: Node) -> None:
    first = node.start()
    session = node.create(["cat"])
    second = node.fork()
    assert node.reap(second) == 5
    node.pid = first
    assert node.call("session.list")["sessions"][0]["session_id"] == session


def test_r16_the_superseded_daemon_lets_go(node: Node) -> None:
    old = node.start()
    follower = flood(node, "pty")
    (node.directory / "daemon.sock.lock").unlink()  # a tidy-up tool has done so
    new = node.fork()
    assert node.reap(old) == 0
    node.wait_serving(new)
    follower.wait_past(follower.offset)
    follower.stop()
    assert "Traceback" not in node.log()


def test_r16_a_daemon_whose_connection_was_lost_finds_its_keeper_again(node: Node) -> None:
    node.start()
    follower = flood(node, "pty")
    quick = node.create(["sh", "-c", "read x; exit 9"])
    keeper = node.keeper_pid()
    # A message that is none makes the keeper drop the connection; only its own can send one, so close it by force.
    break_connection(node)
    node.call("session.write", session_id=quick, data="\n")
    assert node.call("session.wait", session_id=quick, until=[{"exit": True}])["exit_code"] == 9
    follower.wait_past(follower.offset)
    follower.stop()
    assert node.keeper_pid() == keeper
    node.create(["true"])


def break_connection(node: Node) -> None:
    """Shut down the daemon's connection to its keeper, from outside."""
    daemon = os.pidfd_open(node.pid)
    try:
        for fd in map(int, os.listdir(f"/proc/{node.pid}/fd")):
            copy = _take_descriptor(daemon, fd)
            if copy is None:
                continue
            with copy:
                if copy.type == 5 and copy.getpeername() == node.control:  # SOCK_SEQPACKET
                    copy.shutdown(2)
                    return
    finally:
        os.close(daemon)
    raise AssertionError("no connection to the keeper")


def _take_descriptor(pidfd: int, fd: int):  # type: ignore[no-untyped-def]
    import ctypes
    import socket

    number = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, fd, 0)  # pidfd_getfd
    if number < 0:
        return None
    try:
        return socket.socket(fileno=number)
    except OSError:
        os.close(number)
        return None


def test_r15_keeper_upgrades_under_flood(node: Node) -> None:
    node.fork()
    follower = flood(node, "pty")
    keeper = node.keeper_pid()
    for number in range(10):
        upgrade(node)
        node.reap(node.pid)  # as the keeper has another daemon now
        assert node.look()["generation"] == number + 1
        node.fork()
        node.wait_serving(node.pid)
        follower.wait_past(follower.offset)
    follower.stop()
    assert node.keeper_pid() == keeper


def upgrade(node: Node) -> None:
    """Make the keeper turn into itself, as a daemon between two daemons of ours."""
    channel = protocol.connect(node.control)
    try:
        channel.socket.settimeout(PATIENCE_SECONDS)
        channel.send({"op": "hello", "id": 1, "proto": [1, 1], "epoch": None})
        channel.send({"op": "upgrade", "id": 2})
        while (message := channel.receive()) is not None:
            message.close()
            if message.body.get("id") == 2:
                assert "error" not in message.body, message.body
                return
    finally:
        channel.close()
    raise AssertionError("the keeper ended the connection")


def test_r15_daemons_killed_during_an_upgrade_of_the_keeper(node: Node) -> None:
    node.fork()
    follower = flood(node, "pty")
    for number in range(10):
        # The daemon ends as it is superseded; the upgrade goes on without any.
        channel = protocol.connect(node.control)
        channel.send({"op": "hello", "id": 1, "proto": [1, 1], "epoch": None})
        channel.send({"op": "upgrade", "id": 2})
        time.sleep(number * 0.02)
        channel.close()
        node.kill()
        node.fork()
        node.wait_serving(node.pid)
        follower.wait_past(follower.offset)
    follower.stop()


def test_clients_that_connect_while_no_daemon_runs_are_answered(node: Node) -> None:
    node.fork()
    node.create(["cat"], name="kept")
    node.kill()
    import socket

    request = b'{"jsonrpc":"2.0","id":1,"method":"session.list"}\n'
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for client in clients:
        client.settimeout(PATIENCE_SECONDS)
        client.connect(node.socket)
        client.sendall(request)
    node.fork()
    for client in clients:
        with client:
            assert b'"kept"' in client.recv(65536)


def test_those_who_look_for_a_daemon_do_not_hide_from_each_other_that_there_is_none(node: Node) -> None:
    node.fork()
    node.create(["cat"], name="kept")
    node.kill()
    with open(f"{node.socket}.lock") as lock:
        # What each of them does for a moment.
        fcntl.flock(lock, fcntl.LOCK_SH)
        # More than the queue of the keeper's socket takes.
        for _ in range(600):
            with pytest.raises(DaemonUnreachable) as caught:
                connect(node.socket, PATIENCE_SECONDS)
            assert caught.value.data["kept"]
    node.fork()
    assert node.call("session.list", name="kept")["sessions"]


def test_wait_gone_is_true() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    wait_gone(pid)
    os.waitpid(pid, 0)
