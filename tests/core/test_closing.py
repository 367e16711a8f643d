"""R12: the ladder goes as far as it must, waits as long as it was told, and says what it took."""

import signal

import pytest
import trio
from tests.core.fake_sessions import FakeWorld
from trio.testing import MockClock

from ptybridge.core import closing
from ptybridge.testing.fake_child import FakeChild

HUP, TERM, KILL, CONT = signal.SIGHUP, signal.SIGTERM, signal.SIGKILL, signal.SIGCONT


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [((), ["SIGHUP"]), ((HUP,), ["SIGHUP", "SIGTERM"]), ((HUP, TERM), ["SIGHUP", "SIGTERM", "SIGKILL"])],
)
async def test_r12_each_step_only_when_the_one_before_was_not_enough(
    autojump_clock: MockClock, ignored: tuple[int, ...], expected: list[str]
) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        child.ignores |= set(ignored)
        start = trio.current_time()
        ended = await closing.end(session, "closed", 1.5)
        assert ended == closing.Ended(signals=expected, survivors=[])
        assert trio.current_time() - start == pytest.approx(1.5 * len(ignored), abs=0.2)
        # Each step continues what is stopped, and all go to the whole session.
        numbers = [number for number, whole in child.signals if whole]
        assert len(numbers) == len(child.signals)
        assert numbers == [
            n for step in expected for n in (signal.Signals[step], CONT) if (step, n) != ("SIGKILL", CONT)
        ]
        assert session.exit_reason == "closed"
        nursery.cancel_scope.cancel()


async def test_r12_what_survives_even_a_kill_is_reported(autojump_clock: MockClock) -> None:
    class Undead(FakeChild):
        def signal(self, number: int, *, whole_session: bool) -> None:
            self.signals.append((number, whole_session))

    world = FakeWorld(child=Undead)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        ended = await world.sessions.close(session, 0.1)
        assert ended.survivors == [child.pid]
        assert ended.signals == ["SIGHUP", "SIGTERM", "SIGKILL"]
        # It is forgotten all the same.
        assert world.sessions.all() == []
        assert world.types(session)[-1] == "Closed"
        nursery.cancel_scope.cancel()


async def test_closing_twice_at_once_is_told_once(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        child.ignores.add(HUP)
        async with trio.open_nursery() as closers:
            for _ in range(3):
                closers.start_soon(world.sessions.close, session, 0.5)
        assert world.types(session).count("Closed") == 1
        assert world.types(session).count("Exited") == 1
        nursery.cancel_scope.cancel()


async def test_a_close_does_not_wait_for_a_long_linger_and_tells_the_reason(autojump_clock: MockClock) -> None:
    class Held(FakeChild):
        def exit(self, code: int = 0, *, signal: str | None = None, close_output: bool = True) -> None:
            super().exit(code, signal=signal, close_output=False)

    world = FakeWorld(child=Held)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, _ = await world.create(linger=3600.0)
        start = trio.current_time()
        await world.sessions.close(session, 0.5)
        assert trio.current_time() - start < 10
        assert (session.exit_reason, session.status and session.status.signal) == ("closed", "SIGHUP")
        nursery.cancel_scope.cancel()
