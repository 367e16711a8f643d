"""Handlers of the two streams: one session's output and changes in order, and the events of all sessions."""

import trio

from ptybridge.api import attach as api
from ptybridge.api import event as event_api
from ptybridge.api.endpoint import EventSink
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import InvalidParams
from ptybridge.model import AnyEvent, Caller, Encoding, ExitStatus, Gap, Stream
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.terminal import HELD_SECONDS, encode

CHUNK_BYTES = 128 * 1024
STREAM_NAMES: tuple[Stream, Stream] = ("stdout", "stderr")
EVENT_TYPES = {kind.__struct_config__.tag for kind in AnyEvent.__args__}


class FollowService:
    """Streams."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @handles(api.FOLLOW)
    async def follow(self, caller: Caller, params: api.Follow, sink: EventSink) -> str:
        """Follow one session; ends with `exited` when nothing more can come."""
        session = self._sessions.get(params.session_id)
        authority.require_room(caller, session)
        offset = params.offset if params.offset is not None else session.log.start
        size = session.size_after(session.sizes.seen_at(offset))
        with session.followed():
            await sink.opened(api.Following(offset=offset, rows=size.rows, cols=size.cols))
            return await Following(session, offset, params.encoding, sink).run()

    @handles(event_api.FOLLOW)
    async def events(self, caller: Caller, params: event_api.FollowEvents, sink: EventSink) -> str:
        """Follow the events of all sessions; ends with `stopped` when the daemon is stopped."""
        unknown = set(params.types or ()) - EVENT_TYPES
        if unknown:
            raise InvalidParams(
                f"there is no event type {sorted(unknown)[0]!r}", hint=f"types are {', '.join(sorted(EVENT_TYPES))}"
            )
        events = self._sessions.events
        number = events.newest if params.after is None else params.after
        await sink.opened(event_api.FollowingEvents(number=events.newest))
        while True:
            await events.wait_past(number)
            if events.closed and events.newest <= number:
                return "stopped"
            for event in events.after(number):
                number = event.number
                if params.session_id is not None and event.session_id not in {params.session_id, None}:
                    continue
                if not isinstance(event, Gap) and not authority.sees(caller, event.session_id):
                    continue
                if params.types is not None and event.__struct_config__.tag not in {*params.types, "gap"}:
                    continue
                await sink.send(event)


class Following:
    """One follower: output, gaps, sizes and the exit, each at its place."""

    def __init__(self, session: Session, offset: int, encoding: Encoding, sink: EventSink) -> None:
        self.session = session
        self.encoding = encoding
        self.sink = sink
        self.reader = session.log.reader(offset)
        self.exit_sent = False
        self.closing_later = False
        self.sizes_seen = session.sizes.seen_at(offset)

    async def run(self, *, until_exit: bool = False) -> str:
        """Send until nothing more can come, or (`until_exit`) until the exit was sent. May be called again to go on."""
        log = self.session.log
        log.add_floor(self._floor)
        try:
            return await self._follow(until_exit)
        finally:
            log.remove_floor(self._floor)

    def _floor(self) -> int | None:
        return self.reader.offset if self.session.limits.overflow == "pause" else None

    def _move(self, offset: int) -> None:
        self.reader.offset = offset
        if self.session.limits.overflow == "pause":
            self.session.log.floor_moved()

    async def _follow(self, until_exit: bool) -> str:
        log = self.session.log
        while True:
            await self._send_resizes()
            if self.reader.behind > 0:
                await self._send_output()
                continue
            if self.session.exited.is_set() and not self.exit_sent:
                await self._send_exit()
                continue
            if until_exit and self.exit_sent:
                return "exited"
            if log.closed and self.exit_sent:
                if self.closing_later:
                    await self.sink.send(api.OutputClosedEvent(end_offset=log.end))
                return "exited"
            await self.reader.wait()

    async def _send_resizes(self) -> None:
        while (change := self.session.sizes.next(self.sizes_seen)) and change[0] <= self.reader.offset:
            self.sizes_seen += 1
            at, size = change
            await self.sink.send(api.ResizedEvent(rows=size.rows, cols=size.cols, offset=at))

    async def _send_output(self) -> None:
        log = self.session.log
        expected = self.reader.offset
        change = self.session.sizes.next(self.sizes_seen)
        until = change[0] if change else None
        limit = CHUNK_BYTES if until is None else min(CHUNK_BYTES, max(1, until - expected))
        offset, data = log.read(expected, limit)
        if offset > expected:
            self._move(offset)
            await self.sink.send(api.GapEvent(from_offset=expected, to_offset=offset))
            return
        available = offset + len(data)
        stream, data = self._first_run(offset, data)
        # What the other stream or a new size follows is not continued there.
        final = log.closed or offset + len(data) < available or until == available
        text, held, lossy = encode(data, self.encoding, final=final)
        if held and not text:
            # An unfinished character alone: wait for the rest of it, but not long.
            with trio.move_on_after(HELD_SECONDS) as waiting:
                await self.reader.wait(len(data) + 1)
            if not waiting.cancelled_caught:
                return
            text, held, lossy = encode(data, self.encoding, final=True)
        next_offset = offset + len(data) - held
        await self.sink.send(
            api.OutputEvent(
                data=text,
                encoding=self.encoding,
                stream=stream,
                offset=offset,
                next_offset=next_offset,
                lossy=lossy,
            )
        )
        self._move(next_offset)

    def _first_run(self, offset: int, data: bytes) -> tuple[Stream | None, bytes]:
        """Return the stream that printed the first bytes, and those; None and all where streams are not told apart."""
        segments = self.session.log.segments
        runs = segments.runs(offset, offset + len(data)) if segments is not None else []
        if not runs:
            return None, data
        return STREAM_NAMES[runs[0].stream], data[: runs[0].size]

    async def _send_exit(self) -> None:
        session = self.session
        status = session.status or ExitStatus()
        self.exit_sent = True
        self.closing_later = not session.output_closed
        await self.sink.send(
            api.ExitedEvent(
                exit_code=status.code,
                exit_signal=status.signal,
                exit_reason=session.exit_reason or "lost",
                end_offset=session.log.end,
                output_closed=session.output_closed,
            )
        )
