"""What a new daemon finds: sessions as they were, to the last byte, label and cell."""

import base64
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.survival.generator import pattern
from tests.survival.harness import PATIENCE_SECONDS, Node, eventually, generate

from ptybridge.api import attach as api
from ptybridge.api import lease
from ptybridge.core.screen import Screen
from ptybridge.errors import LeaseHeld
from ptybridge.model import WindowSize
from ptybridge.wire import attach as frames

KINDS = pytest.mark.parametrize("kind", ["pty", "pipes"])


def restarted(node: Node, how: str = "kill") -> None:
    """Replace the daemon by another one."""
    if how == "kill":
        node.kill()
        node.fork()
    elif how == "restart":
        old = node.pid
        node.call("node.restart")
        node.reap(old)
    else:
        before = node.kill_keeper()
        node.wait_kept(len(node.call("session.list")["sessions"]), but=before)
        node.kill()
        node.fork()
    node.wait_serving()


HOWS = pytest.mark.parametrize("how", ["kill", "restart", "keeper, then daemon"])


def facts(node: Node, session_id: str) -> dict[str, Any]:
    """What `session.get` tells and no daemon may change."""
    found: dict[str, Any] = node.call("session.get", session_id=session_id)
    for changing in ("last_active_at_ms", "waiting_for_input", "foreground", "clients"):
        del found[changing]
    return found


def attached_picture(node: Node, session_id: str, rows: int, cols: int) -> list[str]:
    """Attach anew and feed the snapshot into a screen."""
    with node.connect() as connection:
        parameters = api.Attach(session_id=session_id, mode="viewer", rows=rows, cols=cols, scrollback_lines=0)
        _, sock, data = connection.open(api.ATTACH, parameters)
        sock.settimeout(PATIENCE_SECONDS)
        buffer = frames.FrameBuffer()
        while True:
            for frame in buffer.feed(data):
                if isinstance(frame, frames.Snapshot):
                    screen = Screen(WindowSize(frame.rows, frame.cols))
                    screen.feed(frame.data)
                    return screen.lines("ansi")
            data = sock.recv(1 << 18)
            assert data


@HOWS
def test_a_lease_is_still_held_and_its_holder_still_knows_it(node: Node, how: str) -> None:
    node.start() if how == "restart" else node.fork()
    session_id = node.create(["cat"], workspace="w")
    with node.connect() as holder:
        holder.call(lease.ACQUIRE, lease.Acquire(session_id=session_id, client_id="a"))
        holder.call(
            lease.HANDOFF, lease.Handoff(session_id=session_id, client_id="a", target_client_id="b", reason="go")
        )
    before = node.call("lease.get", session_id=session_id)
    restarted(node, how)
    assert node.call("lease.get", session_id=session_id) == before
    with pytest.raises(LeaseHeld, match="'b'"):
        node.call("session.write", session_id=session_id, data="x", client_id="a")
    node.call("session.write", session_id=session_id, data="x", client_id="b")


@HOWS
def test_r26_what_a_session_is_stays(node: Node, how: str) -> None:
    node.start() if how == "restart" else node.fork()
    sessions = [
        node.create(
            ["cat"],
            name="one",
            owner="me",
            tags=["a", "b"],
            access="control",
            overflow="pause",
            idle_timeout_ms=3_600_000,
            max_runtime_ms=7_200_000,
            linger_ms=123,
            input_bytes_per_second=1 << 20,
            output_bytes_per_second=1 << 21,
            window_size_policy="largest",
            cols=91,
            rows=17,
            max_output_bytes=1 << 17,
        ),
        node.create(["sh", "-c", r"printf '\033]2;a title\007'; read x; exit 3"], name="two"),
        node.create(["cat"], backend="pipes", name="three"),
        node.create(["sh", "-c", "echo out; echo err >&2; exit 5"], backend="pipes"),
        node.create(["sh", "-c", "echo tail; kill -9 $$"]),
        node.create(["sh", "-c", "read x; exit 0"], name="timed", max_runtime_ms=60_000),
    ]
    for session in sessions[3:5]:
        node.call("session.wait", session_id=session, until=[{"exit": True}])
    node.call("session.resize", session_id=sessions[1], rows=33, cols=99)
    node.call("session.write", session_id=sessions[0], data="hello\n")
    node.call("session.update", session_id=sessions[2], name="renamed", tags=["new"])
    eventually(lambda: facts(node, sessions[1])["title"] == "a title")
    eventually(lambda: facts(node, sessions[0])["end_offset"] == 14)
    eventually(lambda: [data for sid, key, data in node_notes(node) if key == "record" and data["accepted_bytes"] == 6])
    read = node.call("session.read", session_id=sessions[0], client_id="me", max_bytes=7)
    before = [facts(node, session) for session in sessions]
    for _ in range(2):
        restarted(node, how)
        assert [facts(node, session) for session in sessions] == before
    assert [one["session_id"] for one in node.call("session.list")["sessions"]] == sessions
    rest = node.call("session.read", session_id=sessions[0], client_id="me")
    assert rest["offset"] == read["next_offset"] == 7
    assert node.read_all(sessions[4]) == b"tail\r\n"
    assert node.read_all(sessions[3], stream="stderr") == b"err\n"
    node.call("session.write", session_id=sessions[1], data="\n")
    assert node.call("session.wait", session_id=sessions[1], until=[{"exit": True}])["exit_code"] == 3
    created = node.create(["true"], name="two")  # the name is free again, the others are not
    assert created not in sessions
    node.kill()


def test_r26_lifetimes_go_on_counting(node: Node) -> None:
    node.fork()
    session = node.create(["cat"], max_runtime_ms=6000)
    created_at = node.call("session.get", session_id=session)["created_at_ms"]
    last_at = 0.0
    for late_ms in (0, 0, 0, 5000):
        # The last comes late, so that there is time between what counts on and what would have begun anew.
        while (last_at := time.time() * 1000) < created_at + late_ms:
            time.sleep(0.01)
        restarted(node)
        eventually(lambda: node.call("session.get", session_id=session)["session_id"])
    node.call("session.wait", session_id=session, until=[{"exit": True}])
    found = node.call("session.get", session_id=session)
    assert found["exit_reason"] == "timeout"
    assert found["exited_at_ms"] < last_at + 6000


@KINDS
def test_r15_a_child_that_exits_without_a_daemon_is_told_with_its_whole_output(node: Node, kind: str) -> None:
    node.fork()
    total = 300_000
    session = node.create(
        generate(total, *((1, 2) if kind == "pipes" else (1,))), backend=kind, echo=False, name="flood"
    )
    node.call("session.write", session_id=session, data="g")
    node.kill()
    eventually(lambda: (info := node.look()["sessions"][0])["exited"] and info["eof"], "the exit")
    node.fork()
    node.wait_serving()
    assert node.call("session.wait", session_id=session, until=[{"exit": True}])["exit_code"] == 7
    found = node.call("session.get", session_id=session)
    assert (found["exit_reason"], found["output_closed"]) == ("exited", True)
    if kind == "pty":
        assert node.read_all(session) == pattern(1)[:total]
    else:
        assert node.read_all(session, stream="stdout") == pattern(1)[:total]
        assert node.read_all(session, stream="stderr") == pattern(2)[:total]


def test_r15_input_is_taken_at_most_once_and_in_order(node: Node) -> None:
    node.fork()
    session = node.create(["cat"], echo=False)
    accepted = []
    for number in range(60):
        if number % 3 == 2:
            node.call("session.write", session_id=session, data=f"last before {number}\n")
            accepted.append(f"last before {number}")
            restarted(node)
        node.call("session.write", session_id=session, data=f"line {number}\n")
        accepted.append(f"line {number}")
    node.call("session.write", session_id=session, data="end\n")
    node.call("session.wait", session_id=session, until=[{"pattern": "end"}], offset=0)
    lines = (
        base64.b64decode(node.call("session.read", session_id=session, offset=0, encoding="base64")["data"])
        .decode()
        .splitlines()
    )
    assert lines[: len(accepted)] == accepted  # an idle child takes each write at once: none lost, none twice


@HOWS
def test_r08_an_editor_looks_the_same(node: Node, how: str, need_tool: Callable[[str], str]) -> None:
    need_tool("vim")
    node.start() if how == "restart" else node.fork()
    session = node.create(["vim", "-u", "NONE", "-n"], name="ed", rows=24, cols=80)
    node.call("session.wait", session_id=session, until=[{"screen": "VIM - Vi"}], timeout_ms=60_000)
    node.call("session.write", session_id=session, data="ihello unsaved\r\tworld")
    node.call("session.wait", session_id=session, until=[{"screen": "world"}], timeout_ms=60_000)
    # On a busy machine it may be silent before it has drawn all.
    eventually(lambda: node.call("session.get", session_id=session)["waiting_for_input"])
    node.call("session.wait", session_id=session, until=[{"idle_ms": 300}], timeout_ms=60_000)
    before = node.call("session.screen", session_id=session)
    picture = attached_picture(node, session, 24, 80)
    assert before["alternate"]
    restarted(node, how)
    assert node.call("session.screen", session_id=session) == before
    assert attached_picture(node, session, 24, 80) == picture
    node.call("session.write", session_id=session, data="\x1b:q!\r")
    assert node.call("session.wait", session_id=session, until=[{"exit": True}])["exit_code"] == 0
    node.kill()


TUI = r"""
import random, sys
chance = random.Random(5)
sys.stdout.write("\033[?1049h\033[2J\033[3;20r\033[?2004h\033[?1000h")
for n in range(60000):
    sys.stdout.write("\033[%d;%dH\033[%dm%s" % (chance.randrange(1, 25), chance.randrange(1, 60),
                     chance.choice([0, 1, 4, 7, 31, 42]), "cell %d" % n))
    if n % 97 == 0: sys.stdout.write("\033[S\033[2;5H\033[K")
sys.stdout.write("\033[m\033[5;5Hdone.")
sys.stdout.flush()
input()
"""


@HOWS
def test_r08_a_picture_survives_a_ring_that_wrapped_many_times(node: Node, how: str) -> None:

    node.start() if how == "restart" else node.fork()
    session = node.create([sys.executable, "-c", TUI], rows=24, cols=80, max_output_bytes=1 << 16)
    node.call("session.wait", session_id=session, until=[{"screen": "done."}], timeout_ms=90_000)
    before = node.call("session.screen", session_id=session, format="ansi")
    found = node.call("session.get", session_id=session)
    assert found["start_offset"] > 10 * (1 << 16)
    picture = attached_picture(node, session, 24, 80)
    for _ in range(2):
        restarted(node, how)
        assert node.call("session.screen", session_id=session, format="ansi") == before
        assert attached_picture(node, session, 24, 80) == picture
    node.kill()


@pytest.mark.parametrize("width", [9, 150], ids=["short lines", "wrapped lines"])
def test_many_changes_of_size_are_made_again_in_their_places(node: Node, width: int) -> None:
    node.fork()
    session = node.create(["cat"], rows=24, cols=80, echo=True)
    chance = random.Random(8)
    for number in range(400):
        if number % 40 == 0:
            node.call(
                "session.prompt",
                session_id=session,
                data="x" * width,
                # The echo and what the program prints: the last of it must be there before the screen is looked at.
                until=[{"pattern": f"x{{{width}}}\r\nx{{{width}}}\r\n", "regex": True}],
            )
        node.call("session.resize", session_id=session, rows=chance.randrange(3, 50), cols=chance.randrange(10, 150))
    node.call("session.resize", session_id=session, rows=24, cols=80)
    before = node.call("session.screen", session_id=session)
    restarted(node)
    assert node.call("session.screen", session_id=session) == before


def test_positions_of_readers_that_never_come_back_do_not_pile_up(node: Node) -> None:
    node.fork()
    session = node.create(["cat"])
    with node.connect() as connection:
        for number in range(1100):
            connection.call_raw(
                "session.read", {"session_id": session, "client_id": f"c{number}"}, timeout=PATIENCE_SECONDS
            )

    def written() -> set[str]:
        return {key for _, key, _ in node_notes(node) if key.startswith("position")}

    # Notes are on their way to the keeper when the daemon answers.
    eventually(lambda: any("c1099" in key for key in written()), "the last position to be written")
    assert len(written()) == 1024


def node_notes(node: Node) -> list[list[Any]]:
    from ptybridge.keeper import protocol

    channel = protocol.connect(node.control)
    try:
        channel.send({"op": "hello", "id": 1, "proto": [1, 1], "epoch": 0})
        channel.send({"op": "notes", "id": 2})
        while (message := channel.receive()) is not None:
            if message.body.get("id") == 2:
                found: list[list[Any]] = message.body["notes"]
                return found
    finally:
        channel.close()
    raise AssertionError("no notes")


def test_r23_a_session_is_never_ended_for_its_volume(node: Node) -> None:
    node.fork()
    total = 60 << 20
    session = node.create(generate(total), echo=False, max_output_bytes=1 << 16)
    node.call("session.write", session_id=session, data="g")
    node.kill()
    # Without a daemon the ring fills; after the grace time the child goes on, and so it does with a new one.
    node.fork()
    wait = {"session_id": session, "until": [{"exit": True}], "timeout_ms": 50_000}
    while (ended := node.call("session.wait", **wait))["reason"] == "timeout":
        pass
    assert (ended["reason"], ended["exit_code"]) == ("exited", 7)
    found = node.call("session.get", session_id=session)
    assert found["end_offset"] == total
    answer = node.call("session.read", session_id=session, offset=0, encoding="base64", max_bytes=1 << 17)
    start = answer["offset"]
    assert answer["missed_bytes"] == start == found["start_offset"]
    assert (pattern(1) * 2)[start % 1048573 :][: total - start] == base64.b64decode(answer["data"])
