"""The transcript and its readers against a plain byte string."""

import math

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core.transcript import INLINE_BYTES, Reader, Transcript
from ptybridge.keeper.ring import Ring

CAPACITY = 1 << 16


def new_log() -> Transcript:
    return Transcript(Ring.anonymous(CAPACITY))


def numbered(start: int, size: int) -> bytes:
    """Bytes that tell where in the log they belong: a pattern whose period divides no capacity."""
    period = bytes(range(251))
    first = start % 251
    return (period * (size // 251 + 2))[first : first + size]


sizes = st.integers(0, 300) | st.integers(0, CAPACITY + 5000)
steps = st.one_of(
    st.tuples(st.just("append"), sizes),
    st.tuples(st.just("reader"), st.floats(0, 1.1)),
    st.tuples(st.just("take"), st.tuples(st.integers(0, 9), sizes)),
    st.tuples(st.just("drain"), st.integers(0, 9)),
)


@settings(max_examples=150)
@given(plan=st.lists(steps, max_size=30))
async def test_every_reader_gets_each_byte_or_is_told_how_many_are_gone(plan: list[tuple[str, object]]) -> None:  # noqa: ASYNC124 - it needs trio's clock
    log = new_log()
    model = b""
    readers: list[tuple[Reader, int]] = [(log.reader(0), 0)]
    for name, argument in plan:
        if name == "append":
            assert isinstance(argument, int)
            data = numbered(len(model), argument)
            log.append(data)
            model += data
            assert (log.start, log.end) == (max(log.start, len(model) - CAPACITY), len(model))
        elif name == "reader":
            assert isinstance(argument, float)
            readers.append((log.reader(int(len(model) * argument)), 0))
        elif name == "take":
            assert isinstance(argument, tuple)
            reader, _ = readers[argument[0] % len(readers)]
            _take(reader, argument[1], model)
        else:
            assert isinstance(argument, int)
            reader, _ = readers[argument % len(readers)]
            while reader.behind > 0:
                _take(reader, 10_000, model)
            assert reader.offset >= len(model)


def _take(reader: Reader, limit: int, model: bytes) -> None:
    before = reader.offset
    offset, data = reader.take(limit)
    assert offset == max(before, reader.log.start)
    assert data == model[offset : offset + limit]
    assert reader.offset == offset + len(data)


async def test_a_reader_waits_for_growth_and_for_as_much_as_it_wants() -> None:
    log = new_log()
    woken: list[str] = []

    async def wait(name: str, at_least: int) -> None:
        await log.reader(0).wait(at_least)
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "one", 1)
        nursery.start_soon(wait, "five", 5)
        nursery.start_soon(wait, "never", 10**9)
        await trio.testing.wait_all_tasks_blocked()
        log.append(b"abc")
        await trio.testing.wait_all_tasks_blocked()
        assert woken == ["one"]
        log.append(b"de")
        await trio.testing.wait_all_tasks_blocked()
        assert woken == ["one", "five"]
        log.close()
    assert woken == ["one", "five", "never"]
    assert log.closed


async def test_waiting_is_always_a_checkpoint() -> None:
    log = new_log()
    log.append(b"x")
    with trio.testing.assert_checkpoints():
        await log.reader(0).wait()
    log.close()
    with trio.testing.assert_checkpoints():
        await log.reader(1).wait()


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    log = new_log()
    reader = log.reader(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    reader.wake()
    log.append(b"x")
    with trio.fail_after(60):
        await reader.wait()


class _Sink:
    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.offered: list[tuple[int, bytes]] = []

    def offer_nowait(self, offset: int, chunk: bytes) -> bool:
        self.offered.append((offset, chunk))
        return self.takes


async def test_the_inline_lane_offers_to_those_who_are_level_and_wakes_the_others() -> None:
    log = new_log()
    level, refusing, behind = _Sink(True), _Sink(False), _Sink(True)
    readers = [log.reader(0, level), log.reader(0, refusing)]
    log.append(b"first")
    for reader in readers:
        reader.take(100)
    lagging = log.reader(0, behind)
    woken: list[Reader] = []

    async def wait(reader: Reader) -> None:
        await reader.wait(1 if reader is not lagging else 6)
        woken.append(reader)

    async with trio.open_nursery() as nursery:
        for reader in (*readers, lagging):
            nursery.start_soon(wait, reader)
        await trio.testing.wait_all_tasks_blocked()
        log.append(b"!")
        await trio.testing.wait_all_tasks_blocked()
        assert (level.offered, refusing.offered, behind.offered) == ([(5, b"!")], [(5, b"!")], [])
        assert woken[0] in (readers[1], lagging)
        assert set(woken) == {readers[1], lagging}
        assert readers[0].offset == 6
        log.append(b"x" * (INLINE_BYTES + 1))  # too large for the lane
        await trio.testing.wait_all_tasks_blocked()
        assert len(level.offered) == 1
    assert set(woken) == {*readers, lagging}


async def test_the_lowest_floor_counts() -> None:  # noqa: ASYNC124 - it needs trio's clock
    log = new_log()
    assert log.floor() is None
    wishes: list[int | None] = [None, 7, 3]
    floors = [lambda at=at: wishes[at] for at in range(3)]
    for floor in floors:
        log.add_floor(floor)
    assert log.floor() == 3
    wishes[2] = None
    assert log.floor() == 7
    log.remove_floor(floors[1])
    assert log.floor() is None


async def test_a_writer_waits_for_room_until_a_floor_moves() -> None:
    log = new_log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.wait_room)
        await trio.testing.wait_all_tasks_blocked()
        log.floor_moved()
        with trio.fail_after(60):
            while nursery.child_tasks:
                await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("limit", [0, 1, 10])
async def test_reading_past_the_end_gives_nothing(limit: int) -> None:  # noqa: ASYNC124 - it needs trio's clock
    log = new_log()
    log.append(b"abc")
    assert log.read(50, limit) == (50, b"")
    assert log.reader(50).behind == -47
    assert not math.isinf(log.grew_at)
