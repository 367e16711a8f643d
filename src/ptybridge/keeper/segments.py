"""Which stream each byte of a merged log came from, for children whose stdout and stderr are separate pipes.

How it works: a *run* is a stretch of the log from one stream. A record is written when a run begins and says
`start` (offset in the log), the stream, and how far *both* streams had come. Where a run ends is said by the next
record, or by `end` in the header for the newest run. So a longer run costs one store to `end`, and a record becomes
visible by one store to `count`: between any two stores the index is valid, and repeating `record` after a crash
changes nothing. When the slots run out the oldest records go, `first` moving before the slot is overwritten.
Then older bytes can no longer be told apart, though they are still in the log; a wrong answer is never given.
"""

import mmap
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ptybridge.keeper.memory import HEADER_BYTES, LayoutError, create_area, map_area, private_area, round_to_page, unmap

if TYPE_CHECKING:
    from ptybridge.keeper.ring import Ring

STDOUT: Final = 0
STDERR: Final = 1
VERSION = 1
_MAGIC = int.from_bytes(b"PTYSEGM1", "little")
_SLOTS, _FIRST, _COUNT, _END = range(2, 6)
_WORDS = 4  # of a record: start, stream, offset of stdout, offset of stderr
_RECORD_BYTES = 8 * _WORDS


class Run(NamedTuple):
    """`size` bytes at `offset` of the log are the bytes of `stream` from `stream_offset` on."""

    offset: int
    size: int
    stream: int
    stream_offset: int


class _Record(NamedTuple):
    start: int
    stream: int
    stdout: int
    stderr: int

    def offset_of(self, stream: int) -> int:
        return self.stderr if stream else self.stdout


def create_segments_memfd(records: int) -> int:
    """Return a descriptor of new shared memory for an index (close-on-exec, never resizable). The caller owns it."""
    size, words = _shape(records)
    return create_area("ptybridge-segments", size, words)


class Segments:
    """The index. One writer only; the reading methods may be used beside it, also from another process."""

    def __init__(self, area: mmap.mmap) -> None:
        """Take over `area`. Use `from_fd` or `anonymous`."""
        view = memoryview(area)
        self._area = area
        self._header = view[:HEADER_BYTES].cast("Q")
        self._words = view[HEADER_BYTES:].cast("Q")
        self.slots = self._header[_SLOTS]
        if len(self._words) != self.slots * _WORDS:
            raise LayoutError(f"an index of {self.slots} records in {len(self._words)} words")

    @classmethod
    def from_fd(cls, fd: int) -> "Segments":
        """Map the index of `create_segments_memfd`. The caller keeps `fd` and may close it. Raises LayoutError."""
        return cls(map_area(fd, _MAGIC, VERSION))

    @classmethod
    def anonymous(cls, records: int) -> "Segments":
        """Make an index for about `records` runs in private memory."""
        return cls(private_area(*_shape(records)))

    @property
    def end(self) -> int:
        """The offset of the log up to which the index goes; ahead of the ring's `end` while bytes are on their way."""
        return self._header[_END]

    def record(self, stream: int, offset: int, size: int) -> None:
        """Note that the `size` bytes at `offset` of the log, the newest ones, are of `stream`.

        Call it before the ring's `commit`. Repeating a call (recovery does) is harmless. Raises ValueError when
        the bytes do not follow what was recorded before.
        """
        if size <= 0:
            return
        header = self._header
        count, end = header[_COUNT], header[_END]
        last = self._record(count - 1) if count else None
        if last is None or last.stream != stream:
            if offset != (end if last else 0):
                raise ValueError(f"the index ends at {end}, not at {offset}")
            self._begin_run(count, _Record(offset, stream, self.stream_end(STDOUT), self.stream_end(STDERR)))
        elif not last.start <= offset <= end <= offset + size:
            raise ValueError(f"the index ends at {end}; {size} bytes at {offset} do not continue it")
        header[_END] = offset + size

    def _begin_run(self, count: int, record: _Record) -> None:
        header = self._header
        if count - header[_FIRST] >= self.slots:
            header[_FIRST] = count - self.slots + 1
        at = count % self.slots * _WORDS
        for word, value in enumerate(record):
            self._words[at + word] = value
        header[_COUNT] = count + 1

    def _record(self, index: int) -> _Record:
        at = index % self.slots * _WORDS
        return _Record(*self._words[at : at + _WORDS])

    # -- reading --------------------------------------------------------------------------------------------

    def stream_end(self, stream: int) -> int:
        """How many bytes of `stream` are recorded."""
        # `end` first: a run that begins between the two reads then counts as empty.
        end, count = self._header[_END], self._header[_COUNT]
        return _past(self._record(count - 1), stream, end) if count else 0

    def stream_start(self, stream: int, ring_start: int) -> int:
        """Return the oldest offset of `stream` that can be read, `ring_start` being the oldest of the log's."""
        end = self._header[_END]
        index = self._find(ring_start, lambda record: record.start)
        if index is None:
            return 0
        return _past(self._record(index), stream, min(ring_start, end))

    def runs(self, start: int, end: int) -> list[Run]:
        """Return the runs within start … end of the log, cut to it, without what is no longer known."""
        first = self._find(start, lambda record: record.start)
        if first is None:
            return []
        known, count = self._header[_END], self._header[_COUNT]
        found = []
        for index in range(first, count):
            record = self._record(index)
            begin, stop = max(start, record.start), min(end, self._stop(index, count, known))
            if self._header[_FIRST] <= index and begin < stop:
                offset = record.offset_of(record.stream) + begin - record.start
                found.append(Run(begin, stop - begin, record.stream, offset))
            if stop >= end:
                break
        return found

    def read_stream(self, ring: "Ring", stream: int, stream_offset: int, size: int) -> tuple[int, bytes, int]:
        """Return up to `size` bytes of one stream, the stream's offset they begin at, and an offset of the log.

        The first is larger than the one asked for when bytes were given up. Before the second nothing of this
        stream is left unread, so it is the place to wait for more from.
        """
        while True:
            limit, ring_start = ring.end, ring.start
            stream_offset = max(stream_offset, self.stream_start(stream, ring_start))
            first = self._find(stream_offset, lambda record: record.offset_of(stream))
            if first is None:
                return stream_offset, b"", limit
            pieces, after = self._collect(ring, stream, stream_offset, size, first, limit)
            # Every record used lies after `first` and every byte after `ring_start`; one look at each proves the copy.
            if self._header[_FIRST] <= first and self.stream_start(stream, ring.start) <= stream_offset:
                return stream_offset, b"".join(pieces), after

    def close(self) -> None:
        """Unmap. The index is unusable afterwards; idempotent."""
        self._header.release()
        self._words.release()
        unmap(self._area)

    def _collect(
        self, ring: "Ring", stream: int, stream_offset: int, size: int, first: int, limit: int
    ) -> tuple[list[bytes], int]:
        """Copy bytes of one stream from the record `first` on; also return where in the log to go on."""
        known, count = self._header[_END], self._header[_COUNT]
        pieces = []
        for index in range(first, count):
            record = self._record(index)
            if record.start >= limit:
                break
            if record.stream != stream:
                continue
            stop = min(limit, self._stop(index, count, known))
            at = record.start + max(0, stream_offset - record.offset_of(stream))
            wanted = min(size, stop - at)
            if wanted > 0:
                pieces.append(ring.read(at, wanted)[1])
                stream_offset += wanted
                size -= wanted
                at += wanted
            if at < stop:
                return pieces, at
        return pieces, limit

    def _stop(self, index: int, count: int, end: int) -> int:
        return self._record(index + 1).start if index + 1 < count else end

    def _find(self, offset: int, key: Callable[[_Record], int]) -> int | None:
        """Return the last record whose `key` is at most `offset`, or the oldest; None when there is no record."""
        header = self._header
        while True:
            first, count = header[_FIRST], header[_COUNT]
            if not count:
                return None
            low, high = first, count
            while high - low > 1:
                middle = (low + high) // 2
                if key(self._record(middle)) <= offset:
                    low = middle
                else:
                    high = middle
            if header[_FIRST] == first:  # else a record may have been overwritten while it was looked at
                return low


def _past(record: _Record, stream: int, offset: int) -> int:
    """How far `stream` had come at `offset` of the log, which lies in the run of `record` (or before it)."""
    return record.offset_of(stream) + (max(0, offset - record.start) if record.stream == stream else 0)


def _shape(records: int) -> tuple[int, tuple[int, ...]]:
    size = round_to_page(max(records, 1) * _RECORD_BYTES)
    return HEADER_BYTES + size, (_MAGIC, VERSION, size // _RECORD_BYTES)
