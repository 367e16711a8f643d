"""What is told of a session."""

import os

import trio
from tests.core.fake_sessions import FakeWorld
from trio.testing import MockClock, wait_all_tasks_blocked

from ptybridge.core.child import LineMode
from ptybridge.service import facts


async def test_r30_a_program_that_prints_is_not_told_to_be_stopped(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        child.pgid = os.getpgrp()
        # So it looks when ^S was typed, and also for moments when more is printed than is read.
        child.mode = LineMode(canonical=True, echo=True, flow_stopped=True)
        for _ in range(3):
            child.print(b"x" * 4096)
            await wait_all_tasks_blocked()
            found = facts.foreground(session)
            assert found is not None
            assert not found.flow_stopped
            await trio.sleep(facts.STOPPED_SECONDS / 2)
        await trio.sleep(facts.STOPPED_SECONDS)
        found = facts.foreground(session)
        assert found is not None
        assert found.flow_stopped
        nursery.cancel_scope.cancel()
