"""Kills of daemon and keeper in turn: one of the two always lives and holds the session."""

import contextlib
import os
import random
import signal
import time

import pytest
from tests.survival.follower import Follower
from tests.survival.harness import PATIENCE_SECONDS, Node, eventually, generate, wait_gone

KEEPER_KILLS = 100


def flood(node: Node, kind: str, capacity: int = 1 << 20) -> Follower:
    """Start a child that prints without end, and a follower that checks it."""
    command = generate(0, 1) if kind == "pty" else generate(0, 1, 2)
    session = node.create(command, backend=kind, overflow="pause", echo=False, max_output_bytes=capacity)
    follower = Follower(node.socket, session)
    follower.start()
    follower.attached.wait(PATIENCE_SECONDS)
    node.call("session.write", session_id=session, data="g")
    follower.wait_past(0)
    return follower


@pytest.mark.parametrize("kind", ["pty", "pipes"])
def test_r15_killed_keepers_are_replaced_without_loss(node: Node, kind: str) -> None:
    chance = random.Random(kind)
    node.fork()
    follower = flood(node, kind)
    keeper = node.keeper_pid()
    for _ in range(KEEPER_KILLS // 2):
        time.sleep(chance.uniform(0, 0.1))
        os.kill(keeper, signal.SIGKILL)
        wait_gone(keeper)
        keeper = node.wait_kept(1, but=keeper)
        follower.check()
    follower.wait_past(follower.offset)
    follower.stop()
    assert follower.connections == 1  # the daemon served on all the time


def test_r15_daemon_and_keeper_are_killed_in_turn(node: Node) -> None:
    chance = random.Random(15)
    node.fork()
    follower = flood(node, "pty")
    keeper = node.keeper_pid()
    for _ in range(40):
        os.kill(keeper, signal.SIGKILL)
        # The new keeper has the session from some moment on; from there on the daemon may die, its notes or not.
        keeper = node.wait_kept(1, but=keeper)
        time.sleep(chance.choice([0, 0.001, 0.02]))
        node.kill()
        follower.check()
        node.fork()
        node.wait_serving(node.pid)
    assert len(node.call("session.list")["sessions"]) == 1
    follower.wait_past(follower.offset)
    follower.stop()


def test_r15_a_keeper_killed_while_it_adopts_is_replaced_again(node: Node) -> None:
    chance = random.Random(3)
    node.fork()
    quiet = [node.create(["cat"], name=f"q{n}") for n in range(20)]
    follower = flood(node, "pty")
    for _ in range(20):
        keeper = node.kill_keeper()

        def another(before: int = keeper) -> int:
            with contextlib.suppress(OSError):
                pid = int(node.look()["pid"])
                return pid if pid != before else 0
            return 0

        keeper = eventually(another, "the next keeper")
        time.sleep(chance.uniform(0, 0.02))
        os.kill(keeper, signal.SIGKILL)
        wait_gone(keeper)
        node.wait_kept(21, but=keeper)
        follower.check()
    follower.wait_past(follower.offset)
    follower.stop()
    for session in quiet:
        answer = node.call("session.prompt", session_id=session, data="there", until=[{"pattern": "there\r\nthere"}])
        assert answer["reason"] == "matched"
    node.kill()
    node.fork()
    found = node.call("session.list")["sessions"]
    assert [one["name"] for one in found][:20] == [f"q{n}" for n in range(20)]
    assert {one["state"] for one in found} == {"running"}


def test_sessions_begun_while_a_keeper_is_replaced_do_not_take_a_place(node: Node) -> None:
    node.fork()
    sessions = [node.create(["cat"]) for _ in range(10)]
    with node.connect() as connection:
        for _ in range(5):
            keeper = node.kill_keeper()
            while True:
                with contextlib.suppress(Exception):
                    created = connection.call_raw("session.create", {"command": ["cat"]}, timeout=PATIENCE_SECONDS)
                    sessions.append(created["session_id"])
                    break
            node.wait_kept(len(sessions), but=keeper)
    for session in sessions:
        answer = node.call("session.prompt", session_id=session, data="x", until=[{"pattern": "x\r\nx"}])
        assert answer["reason"] == "matched"
    assert "could not be handed" not in node.log()  # its number was taken, for example
