"""The bytes of a transcript: a bounded ring with absolute offsets, in shared or in private memory.

How it works: one header page, then `capacity` bytes; the byte at offset `o` lies at `o % capacity`. There is one
writer and any number of readers, perhaps in other processes. The writer moves `start` *before* it overwrites the
oldest bytes and `end` *after* it has written the newest, so everything in start … end is valid at every moment,
also when the writer is killed. A reader copies and then looks at `start` again: what has been overtaken
meanwhile is cut off. The layout of an existing ring never changes; a new version is for new rings.
"""

import mmap

from ptybridge.keeper.memory import (
    HEADER_BYTES,
    LayoutError,
    create_area,
    map_area,
    private_area,
    round_to_page,
    unmap,
)
from ptybridge.keeper.segments import Segments, create_segments_memfd

__all__ = ["HEADER_BYTES", "LayoutError", "Ring", "Segments", "create_memfd", "create_segments_memfd"]

MIN_CAPACITY = 1 << 16
VERSION = 1
_MAGIC = int.from_bytes(b"PTYRING1", "little")
_CAPACITY, _START, _END, _FLOOR, _FLAGS, _STALLED = range(2, 8)
_EOF = 1


def create_memfd(capacity: int) -> int:
    """Return a descriptor of new shared memory for a ring (close-on-exec, never resizable). The caller owns it.

    `capacity` is rounded up to whole pages and is at least 64 KiB.
    """
    capacity = _round(capacity)
    return create_area("ptybridge-ring", HEADER_BYTES + capacity, (_MAGIC, VERSION, capacity))


class Ring:
    """A ring of bytes. One writer only; `read` may be used beside it, also from another process."""

    def __init__(self, area: mmap.mmap) -> None:
        """Take over `area`. Use `from_fd` or `anonymous`."""
        view = memoryview(area)
        self._area = area
        self._header = view[:HEADER_BYTES].cast("Q")
        self._data = view[HEADER_BYTES:]
        self.capacity = self._header[_CAPACITY]
        if len(self._data) != self.capacity:
            raise LayoutError(f"a ring of {self.capacity} bytes in {len(self._data)} bytes of memory")

    @classmethod
    def from_fd(cls, fd: int) -> "Ring":
        """Map the ring of `create_memfd`. The caller keeps `fd` and may close it. Raises LayoutError."""
        return cls(map_area(fd, _MAGIC, VERSION))

    @classmethod
    def anonymous(cls, capacity: int, start: int = 0) -> "Ring":
        """Make a ring in private memory; pages are taken from the system as they are first written.

        Its first byte has the offset `start`, and the rest of the past counts as overwritten.
        """
        capacity = _round(capacity)
        return cls(private_area(HEADER_BYTES + capacity, (_MAGIC, VERSION, capacity, start, start)))

    # -- the header -----------------------------------------------------------------------------------------

    @property
    def start(self) -> int:
        """The oldest offset still kept."""
        return self._header[_START]

    @property
    def end(self) -> int:
        """The offset after the newest byte. Never falls."""
        return self._header[_END]

    @property
    def floor(self) -> int:
        """The least offset somebody still needs; written by the daemon, heeded by a writer that was told to."""
        floor = self._header[_FLOOR]
        return floor - (1 << 64) if floor >> 63 else floor

    @floor.setter
    def floor(self, offset: int) -> None:
        # Below zero while a limit leaves less room than the ring has: two's complement, as in a C int64.
        self._header[_FLOOR] = offset & 0xFFFF_FFFF_FFFF_FFFF

    @property
    def eof(self) -> bool:
        """Whether the child's output has ended; nothing follows `end` then."""
        return bool(self._header[_FLAGS] & _EOF)

    @eof.setter
    def eof(self, ended: bool) -> None:
        flags = self._header[_FLAGS]
        self._header[_FLAGS] = flags | _EOF if ended else flags & ~_EOF

    @property
    def stalled(self) -> bool:
        """Whether the writer waits for `floor` to move. Set by the writer, cleared by who moved the floor."""
        return bool(self._header[_STALLED])

    @stalled.setter
    def stalled(self, waits: bool) -> None:
        self._header[_STALLED] = int(waits)

    # -- writing --------------------------------------------------------------------------------------------

    def reserve(self, want: int, floor: int | None = None) -> int:
        """Make room after `end` for up to `want` bytes and return for how many; 0 when full.

        The oldest bytes are given up as needed, but none at or above `floor` (None: all may go).
        """
        header = self._header
        end = header[_END]
        size = min(want, self.capacity)
        if floor is not None:
            size = min(size, floor + self.capacity - end)
        if size <= 0:
            return 0
        # Before any of these bytes is overwritten: a reader that still finds the old start may trust what it copied.
        header[_START] = max(header[_START], end + size - self.capacity)
        return size

    def views(self, offset: int, size: int) -> list[memoryview]:
        """Return the memory of `size` bytes at `offset`, in one or two pieces. Release them before `close`."""
        first = offset % self.capacity
        if first + size <= self.capacity:
            return [self._data[first : first + size]]
        return [self._data[first:], self._data[: first + size - self.capacity]]

    def commit(self, size: int) -> None:
        """Publish `size` bytes written after `end`."""
        self._header[_END] += size

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` over the oldest bytes. Of more than `capacity` bytes only the tail remains."""
        rest = memoryview(data)
        while rest:
            piece = rest[: self.reserve(len(rest))]
            done = 0
            for view in self.views(self.end, len(piece)):
                view[:] = piece[done : done + len(view)]
                done += len(view)
            self.commit(done)
            rest = rest[done:]

    # -- reading --------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return up to `size` bytes at `offset` and the offset they begin at.

        That offset is larger than the one asked for when the ring has given up bytes. Past `end` it is the one
        asked for, without bytes.
        """
        header = self._header
        while True:
            offset = max(offset, header[_START])
            size_here = min(size, header[_END] - offset)
            if size_here <= 0:
                return offset, b""
            data = b"".join(self.views(offset, size_here))
            lost = header[_START] - offset
            if lost <= 0:
                return offset, data
            # The writer has overtaken us while we copied; what it may have touched is the beginning.
            offset += lost
            if lost < size_here:
                return offset, data[lost:]

    def close(self) -> None:
        """Unmap. The ring is unusable afterwards; idempotent."""
        self._header.release()
        self._data.release()
        unmap(self._area)


def _round(capacity: int) -> int:
    return round_to_page(max(capacity, MIN_CAPACITY))
