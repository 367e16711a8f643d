"""The registry: names, limits, time limits, retention, and what is left when something fails."""

import gc
import weakref

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.fake_sessions import FakeWorld
from trio.testing import MockClock

from ptybridge import config
from ptybridge.core import housekeeping
from ptybridge.core.housekeeping import IDLE_EVENT_SECONDS
from ptybridge.core.labels import Labels
from ptybridge.core.session import Session
from ptybridge.errors import LimitReached, NameTaken, PtybridgeError, SessionNotFound, ShuttingDown, SpawnFailed
from ptybridge.model import Idle

names = st.sampled_from(["a", "b", None])
owners = st.sampled_from(["x", None])
steps = st.one_of(
    st.tuples(st.just("create"), st.tuples(owners, names)),
    st.tuples(st.just("fail"), st.tuples(owners, names)),
    st.tuples(st.just("relabel"), st.tuples(st.integers(0, 9), owners, names)),
    st.tuples(st.just("exit"), st.integers(0, 9)),
    st.tuples(st.just("close"), st.integers(0, 9)),
)


@settings(max_examples=80)
@given(plan=st.lists(steps, max_size=25))
def test_a_name_belongs_to_one_running_session_of_its_owner(plan: list[tuple[str, object]]) -> None:
    async def run() -> None:
        world = FakeWorld()
        model: list[Session] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(world.sessions.run)
            for step, argument in plan:
                if step in {"create", "fail"}:
                    assert isinstance(argument, tuple)
                    owner, name = argument
                    world.fail = SpawnFailed("no") if step == "fail" else None
                    await _expect(model, None, owner, name, step == "fail", _create(world, model, owner, name))
                elif not model:
                    continue
                elif step == "relabel":
                    assert isinstance(argument, tuple)
                    session = model[argument[0] % len(model)]
                    owner, name = argument[1:]
                    await _expect(model, session, owner, name, False, _relabel(world, session, owner, name))
                else:
                    assert isinstance(argument, int)
                    session = model[argument % len(model)]
                    if step == "exit":
                        child = session.child
                        child.exit(0)  # type: ignore[attr-defined]
                        await session.exited.wait()
                    else:
                        await world.sessions.close(session, 0.1)
                        model.remove(session)
                        with pytest.raises(SessionNotFound):
                            world.sessions.get(session.session_id)
                assert world.sessions.all() == model
                running = [(one.labels.owner, one.labels.name) for one in world.sessions.running() if one.labels.name]
                assert len(running) == len(set(running))
            nursery.cancel_scope.cancel()

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def _create(world: FakeWorld, model: list[Session], owner: str | None, name: str | None) -> None:
    session, _ = await world.create(labels=Labels(owner=owner, name=name))
    model.append(session)


async def _relabel(world: FakeWorld, session: Session, owner: str | None, name: str | None) -> None:
    world.sessions.relabel(session, Labels(owner=owner, name=name))
    await trio.lowlevel.checkpoint()


async def _expect(
    model: list[Session], session: Session | None, owner: str | None, name: str | None, fails: bool, act: object
) -> None:
    holders = [
        one
        for one in model
        if one.state == "running" and name is not None and (one.labels.owner, one.labels.name) == (owner, name)
    ]
    taken = bool(holders) and holders != [session] and (session is None or session.state == "running")
    try:
        await act  # type: ignore[misc]
        raised: type[PtybridgeError] | None = None
    except (NameTaken, SpawnFailed) as exc:
        raised = type(exc)
    assert raised is (NameTaken if taken else SpawnFailed if fails else None)


async def test_a_failed_start_leaves_nothing(autojump_clock: MockClock) -> None:
    world = FakeWorld(config.Daemon(max_sessions=1))
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        world.fail = SpawnFailed("no such program")
        for _ in range(3):
            with pytest.raises(SpawnFailed):
                await world.create(labels=Labels(name="n"))
        world.fail = None
        await world.create(labels=Labels(name="n"))
        assert world.types() == ["Created"]
        nursery.cancel_scope.cancel()


async def test_the_limit_counts_what_runs_or_is_starting(autojump_clock: MockClock) -> None:
    world = FakeWorld(config.Daemon(max_sessions=3))
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        refused = 0

        async def create() -> None:
            nonlocal refused
            try:
                await world.create()
            except LimitReached:
                refused += 1

        async with trio.open_nursery() as many:
            for _ in range(10):
                many.start_soon(create)
        assert (len(world.sessions), refused) == (3, 7)
        world.children[0].exit(0)
        await world.sessions.all()[0].exited.wait()
        await world.create()
        nursery.cancel_scope.cancel()


async def test_r22_exited_sessions_are_kept_for_a_time_and_up_to_a_number(autojump_clock: MockClock) -> None:
    world = FakeWorld(config.Daemon(max_exited_sessions=2))
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        made = [await world.create() for _ in range(4)]
        for session, child in made:
            child.exit(0)
            await session.exited.wait()
        await trio.sleep(5)
        assert len(world.sessions) == 2
        # Wall-clock time does not jump with the test's; so their age is set instead.
        for session in world.sessions.all():
            assert session.exited_at_ms is not None
            session.exited_at_ms -= world.sessions.limits.exited_retention_ms + 1
        await trio.sleep(5)
        assert len(world.sessions) == 0
        assert world.types().count("Closed") == 4
        nursery.cancel_scope.cancel()


async def test_time_limits_end_a_session_once(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        limited, _ = await world.create(max_runtime=100.0)
        idle, talker = await world.create(idle_timeout=50.0)
        free, _ = await world.create()
        start = trio.current_time()
        await trio.sleep(40)
        talker.print(b".")
        await idle.exited.wait()
        assert trio.current_time() - start == pytest.approx(90, abs=3)
        await limited.exited.wait()
        assert trio.current_time() - start == pytest.approx(100, abs=3)
        assert (limited.exit_reason, idle.exit_reason, free.state) == ("timeout", "idle", "running")
        nursery.cancel_scope.cancel()


async def test_silence_is_told_once(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        await trio.sleep(100)
        child.print(b".")
        await trio.sleep(100)
        told = [one for one in world.told(session) if isinstance(one, Idle)]
        assert len(told) == 2
        assert all(one.idle_ms >= IDLE_EVENT_SECONDS * 1000 for one in told)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("printed", [2000, 1], ids=["much", "little, after a while"])
async def test_what_closed_sessions_leave_is_freed_though_nothing_else_happens(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, printed: int
) -> None:
    monkeypatch.setattr(housekeeping, "LEFT_BYTES", 1000)
    world = FakeWorld()
    gc.disable()  # as good as what a daemon without anything to do does
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(world.sessions.run)
            session, child = await world.create()
            child.print(b"x" * printed)
            await trio.sleep(1)
            gone = weakref.ref(session)
            await world.sessions.close(session, 0.1)
            del session, child
            world.children.clear()
            with trio.fail_after(60):
                while True:
                    if gone() is None:
                        break
                    await trio.sleep(1)
            nursery.cancel_scope.cancel()
    finally:
        gc.enable()


async def test_stopping_ends_all_within_its_time_and_starts_no_more(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        made = [await world.create() for _ in range(5)]
        for _, child in made[:2]:
            child.ignores |= {1, 15}
        start = trio.current_time()
        await world.sessions.stop(6.0)
        assert trio.current_time() - start < 6.5
        assert all(session.state == "exited" for session, _ in made)
        with pytest.raises(ShuttingDown):
            await world.create()
        nursery.cancel_scope.cancel()


async def test_ids_do_not_spell_numbers_and_do_not_repeat(autojump_clock: MockClock) -> None:
    world = FakeWorld()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        made = [(await world.create())[0].session_id for _ in range(50)]
        assert len(set(made)) == 50
        assert not any(one.isdigit() for one in made)
        nursery.cancel_scope.cancel()
