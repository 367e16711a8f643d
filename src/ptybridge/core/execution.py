"""Running a program to its end: a session of its own whose output is collected as it comes, streams apart.

How it works: a `Collector` reads the transcript from its first byte and holds the writer back until it has read, so
that counts are exact and the beginning is never overwritten; of each stream it keeps the first and the last bytes.
The program is an ordinary session meanwhile, which is why it can be handed over to its caller when time is up.
"""

import math
from contextlib import suppress
from typing import Final

import msgspec
import trio

from ptybridge.core import closing
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import InputClosed, SessionExited

READ_BYTES: Final = 256 * 1024
# Between hang-up, terminate and kill, when time is up.
GRACE_SECONDS: Final = 1.0
# More than the whole ladder takes.
CLEANING_SECONDS: Final = 3 * GRACE_SECONDS + 2 * closing.KILL_SECONDS


class HeadTail:
    """The first and the last bytes of a stream of any length; never more than `limit` of them and a read."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        self._head_limit = (limit + 1) // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Take more of the stream."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        # Cut now and then only, or every chunk would move the whole tail.
        if len(self._tail) > 2 * self._tail_limit + READ_BYTES:
            self._cut()

    def _cut(self) -> None:
        del self._tail[: len(self._tail) - self._tail_limit]

    def parts(self) -> tuple[bytes, bytes]:
        """Return the head and the tail; together they are everything unless `omitted`."""
        if len(self._tail) > self._tail_limit:
            self._cut()
        return bytes(self._head), bytes(self._tail)

    @property
    def omitted(self) -> int:
        """How many bytes lie between head and tail and are not kept."""
        return max(0, self.total - len(self._head) - self._tail_limit)


class Ran(msgspec.Struct, frozen=True):
    """How it went. `kept`: the session is still there and the caller's now."""

    stdout: HeadTail
    stderr: HeadTail
    unattributed: int
    next_offset: int
    seconds: float
    timed_out: bool
    kept: bool
    ended: closing.Ended | None


class Collector:
    """Reads a session's transcript as it grows."""

    def __init__(self, session: Session, limit: int) -> None:
        self.streams = (HeadTail(limit), HeadTail(limit))
        self.unattributed = 0
        self._log = session.log
        self._reader = session.log.reader(session.log.start)

    @property
    def offset(self) -> int:
        """Everything before it has been collected."""
        return self._reader.offset

    async def run(self) -> None:
        """Collect until the output is closed and read, or until cancelled."""
        self._log.add_floor(self._floor)
        try:
            while not self._log.closed or self._reader.behind > 0:
                await self._reader.wait()
                self._take()
                self._log.floor_moved()
        finally:
            self._log.remove_floor(self._floor)

    def catch_up(self, offset: int) -> None:
        """Collect what lies before `offset` at once."""
        while self.offset < offset:
            self._take()

    def _floor(self) -> int:
        return self._reader.offset

    def _take(self) -> None:
        segments = self._log.segments
        offset, data = self._reader.take(READ_BYTES)
        if segments is None:
            self.streams[0].add(data)
            return
        at = offset
        for run in segments.runs(offset, offset + len(data)):
            self.unattributed += run.offset - at
            begin = run.offset - offset
            self.streams[run.stream].add(data[begin : begin + run.size])
            at = run.offset + run.size
        self.unattributed += offset + len(data) - at


async def finish(sessions: Sessions, session: Session) -> None:
    """Clean up behind a program that is done, or whose caller is gone.

    What has exited is forgotten, unless something in the background still holds its output: that shall not fail on
    writing. What runs is ended, except when the daemon leaves and its sessions live on.
    """
    if session.leaving:
        return
    if not session.exited.is_set():
        await sessions.close(session, GRACE_SECONDS)
    elif session.output_closed:
        await sessions.forget(session)


async def run(
    sessions: Sessions, session: Session, *, stdin: bytes | None, max_bytes: int, within: float | None, keep: bool
) -> Ran:
    """Feed the session's program and collect what it prints until it is done, or `within` seconds have passed.

    Then, with `keep`, it stays as a session; otherwise it is ended, as it is when the caller is cancelled.
    """
    collector = Collector(session, max_bytes)
    kept, ended = False, None
    try:
        await feed(session, stdin)
        with trio.move_on_after(math.inf if within is None else within) as limit:
            await _collect(session, collector)
        timed_out = limit.cancelled_caught and session.status is None
        kept = timed_out and keep
        if limit.cancelled_caught and not timed_out:
            await session.exited.wait()  # in a moment
            collector.catch_up(session.log.end)
        elif timed_out and not keep:
            ended = await closing.end(session, "timeout", GRACE_SECONDS)
            collector.catch_up(session.log.end)
        return Ran(
            *collector.streams,
            unattributed=collector.unattributed,
            next_offset=collector.offset,
            seconds=trio.current_time() - session.started_at,
            timed_out=timed_out,
            kept=kept or (session.exited.is_set() and not session.output_closed),
            ended=ended,
        )
    finally:
        if not kept:
            with trio.move_on_after(CLEANING_SECONDS, shield=True):
                await finish(sessions, session)


async def feed(session: Session, stdin: bytes | None) -> None:
    """Give the program its input and end it; a terminal's is only ended when there was some."""
    if stdin is not None or session.child.backend == "pipes":
        with suppress(SessionExited, InputClosed):  # it does not care for it
            await session.input.write(stdin or b"", eof=True)


async def _collect(session: Session, collector: Collector) -> None:
    """Collect until the exit and what was printed before it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        await session.exited.wait()
        nursery.cancel_scope.cancel()
    collector.catch_up(session.log.end)
