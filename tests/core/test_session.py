"""A session's facts in order: output, exit, end of output, sizes; and that its failure is its own."""

import signal
from typing import Any

import pytest
import trio
import trio.testing
from tests.core.fake_sessions import FakeWorld, printed
from trio.testing import MockClock

from ptybridge.core.labels import Labels
from ptybridge.core.session import KEPT_POSITIONS
from ptybridge.core.transcript import Transcript
from ptybridge.model import Exited, ExitStatus, OutputClosed, WindowSize
from ptybridge.testing.fake_child import FakeChild


async def test_r01_the_exit_is_told_after_all_output(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        # The exit is known before the output has been read.
        child.exit(3, close_output=False)
        child.print(b"x" * 30_000)
        child.print(b"last")
        child.close_output()
        await session.exited.wait()
        assert printed(session).endswith(b"last")
        (told,) = [one for one in world.told(session) if isinstance(one, Exited)]
        assert (told.exit_code, told.output_closed, told.end_offset) == (3, True, 30_004)
        assert session.log.closed
        assert session.follower.screen.offset == 30_004
        nursery.cancel_scope.cancel()


async def test_r01_output_after_the_exit_but_within_the_linger_time_counts(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create(linger=5.0)
        child.exit(0, close_output=False)
        await trio.sleep(4)
        assert session.state == "running"
        child.print(b"late")
        child.close_output()
        await session.exited.wait()
        assert printed(session) == b"late"
        assert world.types(session) == ["Created", "Exited"]
        nursery.cancel_scope.cancel()


async def test_r02_exit_and_end_of_output_are_two_events(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create(linger=1.0)
        start = trio.current_time()
        child.exit(0, close_output=False)
        await session.exited.wait()
        assert trio.current_time() - start == pytest.approx(1.0, abs=0.1)
        child.print(b"late")
        await trio.sleep(100)
        assert world.types(session) == ["Created", "Exited"]
        child.close_output()
        await trio.testing.wait_all_tasks_blocked()
        first, second = world.told(session)[1:]
        assert isinstance(first, Exited)
        assert isinstance(second, OutputClosed)
        assert (first.output_closed, first.end_offset, second.end_offset) == (False, 0, 4)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("how", "sent", "reason"),
    [
        ({"code": 0}, None, "exited"),
        ({"signal": "SIGTERM"}, None, "signaled"),
        ({"signal": "SIGTERM"}, signal.SIGTERM, "killed"),
        ({"signal": "SIGKILL"}, signal.SIGTERM, "signaled"),
        ({"signal": "SIGRTMIN+3"}, None, "signaled"),
        ({"signal": "SIGRTMIN+3"}, signal.SIGRTMIN + 3, "killed"),
    ],
)
async def test_how_it_ended(autojump_clock: MockClock, how: dict[str, Any], sent: int | None, reason: str) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        session.signalled = sent
        child.exit(**how)
        await session.exited.wait()
        assert session.exit_reason == reason
        nursery.cancel_scope.cancel()


async def test_r29_one_sessions_failure_is_its_own(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeChild):
        async def pump(self, log: Transcript) -> None:
            log.append(b"before")
            await trio.sleep(1)
            raise RuntimeError("a defect")

    makers = [FakeChild, Broken, FakeChild]
    world = FakeWorld(child=lambda: makers[len(world.children)]())
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        made = [await world.create() for _ in range(3)]
        await made[1][0].exited.wait()
        assert (made[1][0].state, made[1][0].exit_reason) == ("exited", "lost")
        assert printed(made[1][0]) == b"before"
        assert made[1][1].closed
        for session, child in (made[0], made[2]):
            child.print(b"alive")
            await session.log.reader(0).wait(5)
            assert session.state == "running"
        nursery.cancel_scope.cancel()
    assert "a defect" in caplog.text


@pytest.mark.parametrize("steps", range(1, 40))
async def test_r29_a_start_cancelled_at_any_checkpoint_leaves_nothing_half_done(steps: int) -> None:
    """Either there is no session, or there is a whole one with its supervisor and its name."""
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:

                async def cancel() -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                inner.start_soon(cancel)
                await world.create(labels=Labels(name="n"))
                inner.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        for session in world.sessions.all():
            assert session.state == "running"
            world.children[-1].exit(0)
            await session.exited.wait()
        assert len(world.children) - len(world.sessions.all()) in {0, 1}
        # The name is free whatever happened.
        again, _ = await world.create(labels=Labels(name="n"))
        assert again.labels.name == "n"
        nursery.cancel_scope.cancel()


async def test_r11_sizes_are_in_order_with_the_output(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        for text, size in [(b"one", WindowSize(10, 40)), (b"two", WindowSize(20, 50)), (b"", WindowSize(20, 50))]:
            child.print(text)
            await trio.testing.wait_all_tasks_blocked()
            session.set_size(size)
        assert child.sizes == [WindowSize(10, 40), WindowSize(20, 50)]
        assert session.sizes.next(0) == (3, WindowSize(10, 40))
        assert session.sizes.next(1) == (6, WindowSize(20, 50))
        assert session.sizes.count == 2
        assert world.types(session) == ["Created", "Resized", "Resized"]
        await session.follower.catch_up()
        assert session.follower.screen.size == WindowSize(20, 50)
        nursery.cancel_scope.cancel()


async def test_r11_a_size_after_the_end_is_harmless(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        child.exit(0)
        await session.exited.wait()
        session.set_size(WindowSize(5, 5))
        assert session.size == WindowSize(5, 5)
        nursery.cancel_scope.cancel()


async def test_positions_of_readers_that_never_come_back_do_not_pile_up(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, _ = await world.create()
        for number in range(KEPT_POSITIONS + 10):
            session.move(("p", str(number)), number)
            session.move(("p", "active"), number)
        assert len(session.positions) == KEPT_POSITIONS
        assert session.position(("p", "active")) == KEPT_POSITIONS + 9
        assert session.position(("p", "0")) == session.log.start
        nursery.cancel_scope.cancel()


async def test_queries_are_answered_when_nobody_else_can(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        child.print(b"\x1b[5n")
        await trio.sleep(1)  # of a clock that jumps: until the screen has followed
        assert child.received == b"\x1b[0n"
        nursery.cancel_scope.cancel()
    assert session.status is None or session.status == ExitStatus()


async def test_an_output_rate_can_come_later_and_go_again(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        child.print(b"x" * 5000)
        for rate, limited in ((None, False), (1000, True), (2000, True), (None, False), (1000, True)):
            session.set_output_rate(rate)
            await trio.sleep(0.1)
            room = (session.log.floor() or 0) + session.log.ring.capacity - session.log.end
            assert (room <= 2000) is limited
        nursery.cancel_scope.cancel()
    session.set_output_rate(None)
    session.set_output_rate(500)  # too late, and harmless
