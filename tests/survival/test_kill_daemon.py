"""`kill -9` of the daemon at random moments, under full-speed output."""

import os
import random
import signal
import socket
import time

import msgspec
import pytest
from tests.survival.follower import Follower
from tests.survival.harness import PATIENCE_SECONDS, Node, generate

from ptybridge.api import attach as api

CYCLES = int(os.environ.get("PTYBRIDGE_TEST_KILLS", "300"))
# Every so many kills the next daemon gets the time to serve.
RESTED = 8


def killed_many_times(node: Node, kind: str, cycles: int, seed: int) -> Follower:
    chance = random.Random(seed)
    node.fork()
    command = generate(0, 1) if kind == "pty" else generate(0, 1, 2)
    session = node.create(command, backend=kind, overflow="pause", echo=False, max_output_bytes=1 << 20)
    follower = Follower(node.socket, session)
    follower.start()
    follower.attached.wait(PATIENCE_SECONDS)
    node.call("session.write", session_id=session, data="g")
    follower.wait_past(0)
    for cycle in range(cycles):
        if cycle % RESTED == 0:
            # Now and then a daemon lives to move some of the flood, however slow the machine is today.
            follower.wait_past(follower.offset + (RESTED << 14))
        # Short delays hit the start and the restoring of sessions.
        time.sleep(chance.uniform(0, 0.15))
        node.kill()
        follower.check()
        node.fork()
    before = follower.offset
    follower.wait_past(before)
    follower.stop()
    return follower


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["pty", "pipes"])
def test_r15_soak_ten_thousand_kills(node: Node, kind: str) -> None:
    killed_many_times(node, kind, 5000, seed=2)


@pytest.mark.parametrize("kind", ["pty", "pipes"])
@pytest.mark.timeout(600)
def test_r15_a_killed_daemon_loses_and_doubles_nothing(node: Node, kind: str) -> None:
    cycles = CYCLES if kind == "pty" else CYCLES * 2 // 3
    follower = killed_many_times(node, kind, cycles, seed=CYCLES)
    resumed = sorted(follower.resumed)
    print(
        f"{kind}: {cycles} kills, {follower.connections} connections, {follower.offset >> 20} MiB, resumed "
        f"p50 {resumed[len(resumed) // 2] * 1000:.0f} p99 {resumed[len(resumed) * 99 // 100] * 1000:.0f} ms"
    )
    assert follower.connections >= cycles // RESTED
    assert follower.offset > cycles << 14  # it is a flood, and most daemons lived to move some of it


def test_r15_viewers_are_waited_for_until_they_are_back_however_many_daemons_die_before(node: Node) -> None:
    first = node.fork()
    session = node.create(generate(0, 1), overflow="pause", echo=False, max_output_bytes=1 << 20)
    follower = Follower(node.socket, session)
    follower.start()
    follower.attached.wait(PATIENCE_SECONDS)
    node.call("session.write", session_id=session, data="g")
    follower.wait_past(1 << 20)
    # The daemon does not see the viewer go.
    os.kill(first, signal.SIGSTOP)
    follower.stop()
    node.kill()
    for number in range(2):
        # Somebody gave up waiting: what they have asked for is carried out by the next daemon, for nobody.
        asked = {"session_id": session, "mode": "viewer", "offset": follower.offset, "rows": 30, "cols": 120}
        with socket.socket(socket.AF_UNIX) as ghost:
            ghost.connect(node.socket)
            ghost.sendall(msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": api.ATTACH.name, "params": asked}))
            ghost.sendall(b"\n")
        node.fork()
        # The daemon writes down what the session is, while nobody is back yet.
        node.call("session.update", session_id=session, name=f"number-{number}")
        node.kill()
    node.fork()
    for _ in range(20):
        assert node.call("session.get", session_id=session)["start_offset"] <= follower.offset
        time.sleep(0.02)
