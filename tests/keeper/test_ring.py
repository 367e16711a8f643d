"""The ring against a plain byte string, in one process and beside a writer in another."""

import fcntl
import mmap
import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.keeper.ring import HEADER_BYTES, LayoutError, Ring, create_memfd, create_segments_memfd

CAPACITY = 1 << 16


def shared(capacity: int = CAPACITY) -> Ring:
    fd = create_memfd(capacity)
    try:
        return Ring.from_fd(fd)
    finally:
        os.close(fd)


@pytest.fixture(params=["private", "shared"])
def make(request: pytest.FixtureRequest) -> Callable[[], Ring]:
    return shared if request.param == "shared" else lambda: Ring.anonymous(CAPACITY)


def numbered(start: int, size: int) -> bytes:
    """Bytes that tell where in the log they belong: a pattern whose period divides no capacity."""
    period = bytes(range(251))
    first = start % 251
    return (period * (size // 251 + 2))[first : first + size]


sizes = st.one_of(st.integers(0, 300), st.integers(0, CAPACITY + 5000), st.just(CAPACITY), st.just(2 * CAPACITY + 1))


@settings(max_examples=150)
@given(steps=st.lists(sizes, max_size=12), reads=st.lists(st.tuples(st.integers(0, 300_000), sizes), max_size=12))
def test_append_and_read_equal_a_byte_string_with_its_head_cut_off(
    steps: list[int], reads: list[tuple[int, int]]
) -> None:
    ring = Ring.anonymous(CAPACITY)
    written = b""
    for size in steps:
        data = numbered(len(written), size)
        ring.append(data)
        written += data
        assert ring.end == len(written)
        assert ring.end - CAPACITY <= ring.start <= ring.end
    assert len(written) < CAPACITY or ring.start == ring.end - CAPACITY
    for offset, size in reads:
        first = max(offset, ring.start)
        assert ring.read(offset, size) == (first, written[first : first + size])
    ring.close()


@settings(max_examples=150)
@given(steps=st.lists(st.tuples(sizes, st.integers(0, 1 << 17), st.booleans()), max_size=20))
def test_reserve_heeds_the_floor_and_moves_the_start_first(steps: list[tuple[int, int, bool]]) -> None:
    ring = Ring.anonymous(CAPACITY)
    written = b""
    floor = 0
    for want, advance, heeds in steps:
        floor = min(floor + advance, ring.end)
        before = ring.start
        room = ring.reserve(want, floor if heeds else None)
        most = min(want, CAPACITY, max(0, floor + CAPACITY - ring.end) if heeds else CAPACITY)
        assert room == most
        assert ring.start == max(before, ring.end + room - CAPACITY)
        if heeds and before <= floor:
            assert ring.start <= floor
        data = numbered(len(written), room)
        done = 0
        for view in ring.views(ring.end, room):
            view[:] = data[done : done + len(view)]
            done += len(view)
            view.release()
        ring.commit(room)
        written += data
        assert ring.read(0, CAPACITY) == (ring.start, written[ring.start :])
    ring.close()


def test_capacity_is_whole_pages_and_at_least_64_kib(make: Callable[[], Ring]) -> None:
    assert make().capacity == CAPACITY
    assert Ring.anonymous(1).capacity == 1 << 16
    assert Ring.anonymous((1 << 16) + 1).capacity == (1 << 16) + 4096


def test_header_fields_keep_what_was_set(make: Callable[[], Ring]) -> None:
    ring = make()
    assert (ring.start, ring.end, ring.floor, ring.eof, ring.stalled) == (0, 0, 0, False, False)
    ring.floor, ring.eof, ring.stalled = 1 << 40, True, True
    assert (ring.floor, ring.eof, ring.stalled) == (1 << 40, True, True)
    ring.eof = ring.stalled = False
    assert (ring.floor, ring.eof, ring.stalled) == (1 << 40, False, False)


def test_read_past_the_end_returns_the_offset_asked_for(make: Callable[[], Ring]) -> None:
    ring = make()
    ring.append(b"abc")
    assert ring.read(3, 10) == (3, b"")
    assert ring.read(50, 10) == (50, b"")


def test_two_maps_of_one_descriptor_see_the_same_bytes() -> None:
    fd = create_memfd(CAPACITY)
    writer, reader = Ring.from_fd(fd), Ring.from_fd(fd)
    os.close(fd)
    writer.append(b"hello")
    assert reader.read(0, 99) == (0, b"hello")


def test_close_is_idempotent_and_tolerates_a_view_in_use(make: Callable[[], Ring]) -> None:
    ring = make()
    view = ring.views(0, 10)[0]
    ring.close()
    ring.close()
    assert bytes(view) == bytes(10)


def test_memfd_is_close_on_exec_and_cannot_be_resized() -> None:
    fd = create_memfd(CAPACITY)
    try:
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        for size in (0, 2 * CAPACITY):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, size)
    finally:
        os.close(fd)


def test_foreign_memory_is_refused() -> None:
    other = create_segments_memfd(10)
    tiny = os.memfd_create("tiny")
    try:
        with pytest.raises(LayoutError):
            Ring.from_fd(other)
        with pytest.raises(LayoutError):
            Ring.from_fd(tiny)
    finally:
        os.close(other)
        os.close(tiny)


def test_memory_is_taken_as_it_is_written() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE

    before = resident()
    rings = [Ring.anonymous(8 << 20) for _ in range(20)]
    for ring in rings:
        ring.append(b"x")
    assert resident() - before < 4 << 20
    for ring in rings:
        ring.close()


def test_reader_beside_a_writing_process_sees_gaps_but_never_wrong_bytes() -> None:
    total = 60 << 20
    fd = create_memfd(CAPACITY)
    pid = os.fork()
    if pid == 0:
        ring = Ring.from_fd(fd)
        block = numbered(0, 251 * 40)
        while ring.end < total:
            ring.append(block)
        ring.eof = True
        os._exit(0)
    ring = Ring.from_fd(fd)
    os.close(fd)
    offset = gaps = 0
    while True:
        eof = ring.eof
        found, data = ring.read(offset, 20_000)
        assert data == numbered(found, len(data))
        gaps += found > offset
        offset = found + len(data)
        if eof and not data:
            break
    assert os.waitpid(pid, 0)[1] == 0
    assert offset == ring.end
    assert HEADER_BYTES == 4096
