"""`restart`, `upgrade` and `serve --no-keeper` on real daemons."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ptybridge.backends import keeper_start
from ptybridge.keeper.protocol import KeeperError, connect

PATIENCE = 60
COMMAND = [sys.executable, "-m", "ptybridge"]


def ptybridge(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.strip() or done.stderr.strip()


def info() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ptybridge("call", "node.info"))
    return found


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    yield
    ptybridge("stop")


@pytest.fixture
def session() -> str:
    return ptybridge("new", "-d", "--", "cat")


def test_restart_keeps_sessions_and_does_not_ask(session: str) -> None:
    before = info()
    answer = json.loads(ptybridge("restart", "--json"))
    assert (answer["sessions_kept"], answer["sessions_ended"]) == (True, 0)
    assert answer["pid"] == info()["pid"] != before["pid"]
    assert info()["keeper_pid"] == before["keeper_pid"]
    ptybridge("send", session, "still here\n")
    ptybridge("wait", session, "--text", "still here", "--timeout", "50")


def test_without_a_keeper_restart_asks_and_ends_sessions() -> None:
    daemon = subprocess.Popen([*COMMAND, "serve", "--no-keeper", "--detached"], stdin=subprocess.DEVNULL)
    try:
        while ptybridge_status() != 0:
            pass
        ptybridge("new", "-d", "--", "cat")
        assert "This ends 1 running session. Restart the daemon?" in ptybridge("restart", code=2)
        before = info()
        assert ptybridge("restart", "--yes").endswith("; 1 running session ended")
        after = info()
        assert after["pid"] == before["pid"]  # it replaces itself
        assert (after["started_at_ms"] > before["started_at_ms"], after["keeper"]) == (True, False)
        assert "works without a keeper" in ptybridge("upgrade", code=4)
    finally:
        ptybridge("stop")
        daemon.wait(PATIENCE)


def ptybridge_status() -> int:
    return subprocess.run([*COMMAND, "status"], capture_output=True, stdin=subprocess.DEVNULL).returncode


def test_stop_after_a_crash_leaves_nothing_of_ours(session: str) -> None:
    before = info()
    child = json.loads(ptybridge("info", session, "--json"))["pid"]
    os.kill(before["pid"], signal.SIGKILL)
    answer = json.loads(ptybridge("stop", "--json"))
    assert (answer["stopped"], answer["sessions_ended"]) == (True, 1)
    for pid in (before["pid"], before["keeper_pid"], answer["pid"], child):
        deadline = time.monotonic() + PATIENCE
        while _lives(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert json.loads(ptybridge("stop", "--json")) == {"stopped": False}


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_restart_after_a_crash_brings_the_daemon_back(session: str) -> None:
    os.kill(info()["pid"], signal.SIGKILL)
    ptybridge("restart")
    assert info()["sessions_running"] == 1


def test_upgrade_of_what_is_up_to_date_changes_nothing(session: str) -> None:
    before = info()
    answer = json.loads(ptybridge("upgrade", "--json"))
    assert (answer["daemon_upgraded"], answer["keeper_upgraded"], answer["sessions_kept"]) == (False, False, 1)
    assert (info()["pid"], info()["keeper_pid"]) == (before["pid"], before["keeper_pid"])
    assert "already" in ptybridge("upgrade")


def test_upgrade_replaces_both_and_keeps_the_session(session: str) -> None:
    before = info()
    answer = json.loads(ptybridge("upgrade", "--force", "--json"))
    assert (answer["daemon_upgraded"], answer["keeper_upgraded"]) == (True, True)
    assert answer["daemon_version"] == answer["keeper_version"] == answer["installed_version"]
    after = info()
    assert after["pid"] != before["pid"]
    assert after["keeper_pid"] == before["keeper_pid"]  # an exec
    assert after["keeper_exact"] == before["keeper_exact"]
    ptybridge("send", session, "still here\n")
    ptybridge("wait", session, "--text", "still here", "--timeout", "50")


def test_without_a_daemon_there_is_nothing_to_upgrade() -> None:
    assert "no daemon listens" in ptybridge("upgrade", code=4)


def test_a_keeper_without_a_protocol_in_common_is_asked_to_become_this_version(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = os.path.join(os.path.dirname(info()["socket"]), "keeper.sock")

    def hello(**parameters: object) -> dict[str, Any]:
        channel = connect(control)
        channel.send({"op": "hello", "id": 1, "proto": [1, 1], "epoch": 0, **parameters})
        message = channel.receive()
        channel.close()
        assert message is not None
        return message.body

    assert hello()["generation"] == 0
    monkeypatch.setattr(keeper_start, "PROTOCOL", (99, 99))
    stranger = connect(control)
    with pytest.raises(KeeperError, match="only the active daemon may do this"):
        keeper_start.claim(stranger, 0)
    stranger.close()
    assert hello()["generation"] == 0  # not while a daemon works with it
    os.kill(info()["pid"], signal.SIGKILL)
    # It does become the program that is installed; as that is what it was, it still does not understand. It may take
    # it a moment to notice that its daemon is gone.
    said = "only the active daemon may do this"
    deadline = time.monotonic() + 60
    while said == "only the active daemon may do this" and time.monotonic() < deadline:
        stranger = connect(control)
        with pytest.raises(KeeperError) as caught:
            keeper_start.claim(stranger, 0)
        stranger.close()
        said = caught.value.text
    assert said == "the keeper speaks (1, 1), not [99, 99]"
    assert hello()["generation"] == 1
    assert info()["sessions_running"] == 1
