"""A session's output as an append-only log with absolute offsets: one writer, any number of waiting readers.

How it works: bytes live in a bounded `Ring`; when it is full the oldest are overwritten and `start` moves on.
There are no per-reader queues. A `Reader` is an offset; it asks for bytes past it, or waits for growth. A reader
the ring has overtaken is told the first offset that is still there, so nothing is lost silently.

The inline lane: a reader with a `sink` that has nothing pending is offered small chunks by the writer itself,
without a task switch (halves echo latency). What the sink refuses is picked up by offset as usual.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from ptybridge.keeper.ring import Ring, Segments

# Larger chunks gain nothing from skipping a task switch, and copying them would delay the writer.
INLINE_BYTES = 4096


class Sink(Protocol):
    """The receiving end of the inline lane; the owner of a non-blocking socket implements it."""

    def offer_nowait(self, offset: int, chunk: bytes) -> bool:
        """Take `chunk` (which starts at `offset`) at once and return True, or take nothing and return False."""
        ...


class Reader:
    """A position in a transcript that can wait for growth. Create with `Transcript.reader`; not shared by tasks."""

    def __init__(self, log: "Transcript", offset: int, sink: Sink | None) -> None:
        self.log = log
        self.offset = offset
        self.sink = sink
        self.wanted = 1
        self._wake: trio.Event | None = None

    async def wait(self, at_least: int = 1) -> None:
        """Wait until there are `at_least` bytes past `offset`, or the log is closed. Always a checkpoint.

        May return early (see `wake`); callers look at what there is.
        """
        log = self.log
        if log.end - self.offset >= at_least or log.closed:
            await trio.lowlevel.checkpoint()
            return
        self.wanted = at_least
        self._wake = wake = trio.Event()
        log._waiting.add(self)  # same module: Reader is half of Transcript
        try:
            await wake.wait()
        finally:
            log._waiting.discard(self)
            self._wake = None

    def wake(self) -> None:
        """End a `wait` in progress without growth (a deadline, a change of mode)."""
        if self._wake is not None:
            self._wake.set()

    def take(self, limit: int) -> tuple[int, bytes]:
        """Return up to `limit` bytes and the offset they begin at, and move past them.

        The offset is larger than where the reader stood when the ring has overtaken it.
        """
        offset, data = self.log.read(self.offset, limit)
        self.offset = offset + len(data)
        return offset, data

    @property
    def behind(self) -> int:
        """How many bytes lie past the reader."""
        return self.log.end - self.offset


class Transcript:
    """The log. The writer calls `append`, or `ring.reserve`/`views`/`commit` and then `grew`; `close` ends it."""

    def __init__(self, ring: Ring, segments: Segments | None = None) -> None:
        self.ring = ring
        self.segments = segments
        self.closed = False
        self.grew_at = trio.current_time()
        self._waiting: set[Reader] = set()
        self._floors: list[Callable[[], int | None]] = []
        self._room = trio.Event()

    @property
    def start(self) -> int:
        """The oldest offset still kept."""
        return self.ring.start

    @property
    def end(self) -> int:
        """The offset after the newest byte."""
        return self.ring.end

    def reader(self, offset: int, sink: Sink | None = None) -> Reader:
        """Return a reader standing at `offset`."""
        return Reader(self, offset, sink)

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """Return up to `limit` bytes at `offset`, or at the first offset still kept, and where they begin."""
        return self.ring.read(offset, limit)

    def append(self, data: bytes, stream: int = 0) -> None:
        """Add bytes, overwriting the oldest ones if need be, and wake readers. Used where output comes as bytes."""
        before = self.ring.end
        if self.segments is not None:
            self.segments.record(stream, before, len(data))
        self.ring.append(data)
        self.grew(before, data if len(data) <= INLINE_BYTES else None)

    def grew(self, before: int, chunk: bytes | None = None) -> None:
        """Tell readers that the log grew from `before`; `chunk` is the growth itself when it is small."""
        self.grew_at = trio.current_time()
        if not self._waiting:
            return
        end = self.ring.end
        for reader in tuple(self._waiting):
            sink = reader.sink
            if sink is not None and chunk is not None and reader.offset == before and sink.offer_nowait(before, chunk):
                # Not `end`: another process may have written more since `chunk` was read.
                reader.offset = before + len(chunk)
            elif end - reader.offset >= reader.wanted:
                reader.wake()

    def close(self) -> None:
        """Mark the end of output; idempotent."""
        self.closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Let every waiting reader look again; something beside the bytes has changed (an exit, a size)."""
        for reader in tuple(self._waiting):
            reader.wake()

    # -- back-pressure --------------------------------------------------------------------------------------

    def add_floor(self, floor: Callable[[], int | None]) -> None:
        """Let `floor` name an offset the writer must not overwrite yet (None: no wish at the moment)."""
        self._floors.append(floor)

    def remove_floor(self, floor: Callable[[], int | None]) -> None:
        """Undo `add_floor`."""
        self._floors.remove(floor)
        self.floor_moved()

    def floor(self) -> int | None:
        """Return the lowest offset that somebody still needs, None when the writer is free to overwrite."""
        wishes = [wish for floor in self._floors if (wish := floor()) is not None]
        return min(wishes, default=None)

    def floor_moved(self) -> None:
        """Tell a writer that waits in `wait_room` to look again."""
        self._room.set()

    async def wait_room(self) -> None:
        """Wait until the floor has moved. Checkpoint."""
        if self._room.is_set():
            self._room = trio.Event()
        await self._room.wait()
