"""Waits on a clock of their own: each ends at the right moment with the right reason."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.fake_sessions import RING_BYTES, FakeWorld
from trio.testing import MockClock

from ptybridge.core import waiting
from ptybridge.core.session import Session
from ptybridge.core.waiting import Outcome, Wanted
from ptybridge.testing.fake_child import FakeChild


async def started(world: FakeWorld, nursery: trio.Nursery) -> tuple[Session, FakeChild]:
    await nursery.start(world.sessions.run)
    return await world.create()


async def test_r21_idle_is_exact(autojump_clock: MockClock) -> None:
    """From the later of the last output and the call, and each output begins the count anew."""
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, child = await started(world, nursery)
        await trio.sleep(10)
        begun = trio.current_time()

        async def talk() -> None:
            for _ in range(3):
                await trio.sleep(0.9)
                child.print(b".")

        nursery.start_soon(talk)
        outcome = await waiting.wait_any(session, [Wanted(idle=1.0)], 0, None)
        assert outcome == Outcome(reason="idle", index=0, offset=3)
        assert trio.current_time() - begun == pytest.approx(2.7 + 1.0, abs=0.01)
        nursery.cancel_scope.cancel()


async def test_a_time_out_is_exact(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, _ = await started(world, nursery)
        begun = trio.current_time()
        outcome = await waiting.wait_any(session, [Wanted(exit=True)], 0, 7.0)
        assert outcome.reason == "timeout"
        assert trio.current_time() - begun == pytest.approx(7.0, abs=0.01)
        nursery.cancel_scope.cancel()


@settings(max_examples=60)
@given(
    text=st.text("ab", min_size=1, max_size=60),
    pattern=st.text("ab", min_size=1, max_size=4),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=60),
    offset=st.integers(0, 10),
)
def test_a_text_is_found_however_the_output_is_cut(text: str, pattern: str, cuts: list[int], offset: int) -> None:
    async def run() -> None:
        world = FakeWorld()
        async with trio.open_nursery() as nursery:
            session, child = await started(world, nursery)

            async def talk() -> None:
                at = 0
                for turn in range(len(text)):
                    size = cuts[turn % len(cuts)]
                    child.print(text[at : at + size].encode())
                    at += size
                    await trio.sleep(0.01)
                child.exit(0)

            nursery.start_soon(talk)
            outcome = await waiting.wait_any(session, [waiting.patterns(pattern, regex=False)], offset, None)
            at = text.find(pattern, offset)
            if at < 0:
                assert (outcome.reason, outcome.offset) == ("exited", len(text))
            else:
                assert (outcome.reason, outcome.offset) == ("matched", at + len(pattern))
            nursery.cancel_scope.cancel()

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def test_a_match_in_the_last_output_wins_over_the_exit(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, child = await started(world, nursery)
        found: list[Outcome] = []

        async def wait() -> None:
            wanted = [Wanted(exit=True), waiting.patterns("bye", regex=False), Wanted(screen="never")]
            found.append(await waiting.wait_any(session, wanted, 0, None))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        child.print(b"bye")
        child.exit(0)
        await session.exited.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert [(one.reason, one.index) for one in found] == [("matched", 1)]
        nursery.cancel_scope.cancel()


async def test_a_gap_matters_only_to_patterns(autojump_clock: MockClock) -> None:
    """A writer that is not held back overtakes the waiters within one step."""
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, child = await started(world, nursery)
        reasons: dict[str, str] = {}

        async def wait(name: str, wanted: list[Wanted]) -> None:
            reasons[name] = (await waiting.wait_any(session, wanted, 0, None)).reason

        nursery.start_soon(wait, "exit", [Wanted(exit=True)])
        nursery.start_soon(wait, "idle", [Wanted(idle=50.0)])
        nursery.start_soon(wait, "pattern", [waiting.patterns("never", regex=False), Wanted(exit=True)])
        await trio.testing.wait_all_tasks_blocked()
        session.log.append(b"x" * (RING_BYTES + 1000))
        await trio.testing.wait_all_tasks_blocked()
        assert reasons == {"pattern": "gap"}
        await trio.sleep(60)
        assert reasons == {"pattern": "gap", "idle": "idle"}
        child.exit(0)
        await session.exited.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert reasons["exit"] == "exited"
        nursery.cancel_scope.cancel()


async def test_a_gap_that_is_there_at_the_call_is_skipped(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, _ = await started(world, nursery)
        session.log.append(b"x" * (RING_BYTES + 1000) + b"found")
        outcome = await waiting.wait_any(session, [waiting.patterns("found", regex=False)], 0, None)
        assert (outcome.reason, outcome.offset) == ("matched", session.log.end)
        nursery.cancel_scope.cancel()


async def test_a_screen_is_looked_at_again_for_what_came_while_it_was_caught_up(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, child = await started(world, nursery)
        real = session.follower.catch_up
        turns = 0

        async def catch_up() -> None:
            nonlocal turns
            turns += 1
            await real()
            if turns == 1:
                session.log.append(b"needle")  # not yet on the screen that is about to be looked at

        session.follower.catch_up = catch_up  # type: ignore[method-assign]
        outcome = await waiting.wait_any(session, [Wanted(screen="needle")], 0, 60.0)
        assert outcome.reason == "screen"
        assert child.received == b""
        nursery.cancel_scope.cancel()


async def test_a_cancelled_wait_leaves_no_reader_behind(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        session, _ = await started(world, nursery)
        await trio.testing.wait_all_tasks_blocked()
        before = len(session.log._waiting)
        with trio.move_on_after(1):
            await waiting.wait_any(session, [Wanted(exit=True)], 0, None)
        assert len(session.log._waiting) == before
        nursery.cancel_scope.cancel()
