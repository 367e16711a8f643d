"""The segment index against a list of (stream, byte) pairs."""

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.keeper.ring import Ring, Segments, create_memfd, create_segments_memfd

CAPACITY = 1 << 16

chunks = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40)), max_size=60)
many = st.integers(0, 2**32).map(lambda seed: [(bit, size % 700) for bit, size in _noise(seed)])


def _noise(seed: int) -> list[tuple[int, int]]:
    return [((seed >> (i % 31)) & 1 ^ (i % 3 == 0), (seed * (i + 7919)) >> 5) for i in range(500)]


class Model:
    """Both streams and the log as plain values."""

    def __init__(self) -> None:
        self.log = b""
        self.owner: list[int] = []
        self.streams = [b"", b""]

    def append(self, stream: int, size: int) -> bytes:
        data = bytes((len(self.streams[stream]) + i) * 7 + stream & 255 for i in range(size))
        self.log += data
        self.owner += [stream] * size
        self.streams[stream] += data
        return data

    def before(self, stream: int, offset: int) -> int:
        return self.owner[:offset].count(stream)


def fill(steps: list[tuple[int, int]], records: int) -> tuple[Ring, Segments, Model]:
    ring, segments, model = Ring.anonymous(CAPACITY), Segments.anonymous(records), Model()
    for stream, size in steps:
        data = model.append(stream, size)
        segments.record(stream, ring.end, size)
        ring.append(data)
    return ring, segments, model


@settings(max_examples=100)
@given(steps=st.one_of(chunks, many), start=st.integers(0, 100_000), size=st.integers(0, 100_000))
def test_runs_name_the_stream_of_every_byte_still_known(steps: list[tuple[int, int]], start: int, size: int) -> None:
    _ring, segments, model = fill(steps, 128)
    end = min(start + size, len(model.log))
    runs = segments.runs(start, start + size)
    for run, following in itertools.pairwise(runs):
        assert run.offset + run.size == following.offset
        assert run.stream != following.stream
    if runs:
        assert runs[-1].offset + runs[-1].size == end
    for run in runs:
        assert set(model.owner[run.offset : run.offset + run.size]) == {run.stream}
        assert run.stream_offset == model.before(run.stream, run.offset)
    everything = segments.runs(0, len(model.log))
    switches = sum(a != b for a, b in zip(model.owner, model.owner[1:], strict=False))
    if switches < 128:
        assert sum(run.size for run in everything) == len(model.log)
    else:
        assert len(everything) == 128


@settings(max_examples=100)
@given(
    steps=st.one_of(chunks, many),
    stream=st.integers(0, 1),
    offset=st.integers(0, 60_000),
    size=st.integers(0, 3000),
)
def test_read_stream_returns_that_streams_bytes_and_the_place_to_wait(
    steps: list[tuple[int, int]], stream: int, offset: int, size: int
) -> None:
    ring, segments, model = fill(steps, 128)
    mine = model.streams[stream]
    known = segments.runs(ring.start, ring.end)
    first_known = known[0].offset if known else 0
    start = segments.stream_start(stream, ring.start)
    assert start == model.before(stream, first_known)
    assert segments.stream_end(stream) == len(mine)
    found, data, after = segments.read_stream(ring, stream, offset, size)
    assert found == max(offset, start)
    assert data == mine[found : found + size]
    if found <= len(mine):
        assert model.before(stream, after) == found + len(data)
    if found + len(data) >= len(mine):
        assert after == ring.end


@settings(max_examples=30)
@given(steps=many, size=st.integers(300, 5000))
def test_reading_on_from_where_one_read_ended_gives_the_whole_stream(steps: list[tuple[int, int]], size: int) -> None:
    ring, segments, model = fill(steps, 600)
    for stream in (0, 1):
        offset = first = segments.stream_start(stream, ring.start)
        whole = b""
        while True:
            found, data, _after = segments.read_stream(ring, stream, offset, size)
            assert found == offset
            if not data:
                break
            whole += data
            offset += len(data)
        assert whole == model.streams[stream][first:]


def test_a_long_run_takes_one_record() -> None:
    segments = Segments.anonymous(1)
    for offset in range(10_000):
        segments.record(0, offset, 1)
    assert segments.runs(0, 10_000) == [(0, 10_000, 0, 0)]


def test_repeating_the_last_record_changes_nothing() -> None:
    segments = Segments.anonymous(128)
    segments.record(0, 0, 10)
    segments.record(1, 10, 5)
    before = segments.runs(0, 99)
    segments.record(1, 10, 5)
    assert segments.runs(0, 99) == before
    assert (segments.stream_end(0), segments.stream_end(1)) == (10, 5)


def test_a_run_that_was_begun_but_got_no_bytes_is_invisible() -> None:
    ring, segments = Ring.anonymous(CAPACITY), Segments.anonymous(128)
    segments.record(0, 0, 3)
    ring.append(b"abc")
    # What a writer killed between the two stores of `record` leaves behind.
    segments._begin_run(1, type(segments._record(0))(3, 1, 3, 0))
    assert segments.runs(0, 99) == [(0, 3, 0, 0)]
    assert (segments.stream_end(0), segments.stream_end(1)) == (3, 0)
    segments.record(0, 3, 2)
    ring.append(b"de")
    segments.record(1, 5, 1)
    ring.append(b"!")
    assert [run.size for run in segments.runs(0, 99) if run.stream == 0] == [3, 2]
    assert segments.read_stream(ring, 0, 1, 9) == (1, b"bcde", 6)
    assert segments.read_stream(ring, 1, 0, 9) == (0, b"!", 6)


def test_bytes_that_do_not_follow_are_refused() -> None:
    segments = Segments.anonymous(128)
    with pytest.raises(ValueError, match="ends at 0"):
        segments.record(0, 5, 1)
    segments.record(0, 0, 5)
    for stream, offset in ((0, 6), (1, 4)):
        with pytest.raises(ValueError, match="ends at 5"):
            segments.record(stream, offset, 1)


def test_reader_beside_a_writing_process_never_mixes_the_streams() -> None:
    ring_fd, segments_fd = create_memfd(CAPACITY), create_segments_memfd(128)
    pid = os.fork()
    if pid == 0:
        ring, segments = Ring.from_fd(ring_fd), Segments.from_fd(segments_fd)
        for i in range(60_000):
            stream, size = i & 1, 1 + i % 97
            # stdout has only lower, stderr only upper values; each counts its own bytes.
            first = segments.stream_end(stream)
            data = bytes((first + j) % 101 + 128 * stream for j in range(size))
            segments.record(stream, ring.end, size)
            ring.append(data)
        ring.eof = True
        os._exit(0)
    ring, segments = Ring.from_fd(ring_fd), Segments.from_fd(segments_fd)
    os.close(ring_fd)
    os.close(segments_fd)
    offsets = [0, 0]
    stream = 0
    done = False
    while not done:
        done = ring.eof
        for stream in (0, 1):
            found, data, after = segments.read_stream(ring, stream, offsets[stream], 5000)
            assert data == bytes((found + j) % 101 + 128 * stream for j in range(len(data)))
            assert after <= ring.end
            offsets[stream] = found + len(data)
            done = done and not data
    assert os.waitpid(pid, 0)[1] == 0
    assert offsets == [segments.stream_end(0), segments.stream_end(1)]
