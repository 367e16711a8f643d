"""Handlers that write to, read from, wait on and look at one session."""

import base64
import binascii
import math
from typing import Literal

import trio

from ptybridge.api import terminal as api
from ptybridge.core import waiting
from ptybridge.core.housekeeping import waits_for_input
from ptybridge.core.matching import strip_escapes
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.core.text import Utf8Cutter
from ptybridge.errors import Conflict, InvalidParams
from ptybridge.model import Caller, Encoding, ExitStatus
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.facts import STREAMS, position_key, seconds
from ptybridge.service.guard import Guard
from ptybridge.wire import keys

# An unfinished character is held back this long before its bytes are given out as they are.
HELD_SECONDS = 0.1
# RFC 3629.
MAX_CHARACTER_BYTES = 4
_READ_REASONS: dict[str, Literal["matched", "exited", "timeout", "gap"]] = {
    "matched": "matched",
    "exited": "exited",
    "timeout": "timeout",
    "gap": "gap",
}
DEFAULT_UNTIL = [api.Condition(idle_ms=300), api.Condition(exit=True)]


def decode(data: str, encoding: Encoding) -> bytes:
    """Return the bytes a `data` field stands for. Raises `InvalidParams`."""
    if encoding == "text":
        return data.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as exc:
        raise InvalidParams(f"data is not valid base64: {exc}") from exc


def encode(data: bytes, encoding: Encoding, *, final: bool) -> tuple[str, int, bool]:
    """Return (data, bytes held back, lossy) for the wire."""
    if encoding == "base64":
        return base64.b64encode(data).decode("ascii"), 0, False
    return Utf8Cutter.split(data, final)


def first_character(data: bytes) -> bytes:
    """Return the beginning of `data` that makes one character, or all of it when none is complete."""
    return next((data[:size] for size in range(1, len(data)) if not Utf8Cutter.split(data[:size], False)[1]), data)


def first_characters(data: bytes, count: int) -> bytes:
    """Return the beginning of `data` whose text has `count` characters; `data` holds more than that."""
    low, high = count, min(len(data), count * MAX_CHARACTER_BYTES)
    while low < high:
        middle = (low + high) // 2
        if len(Utf8Cutter.split(data[:middle], False)[0]) < count:
            low = middle + 1
        else:
            high = middle
    return data[:low]


def without_torn_head(data: bytes) -> bytes:
    """Return `data` without the end of a character whose beginning was cut off before it."""
    torn = 0
    while torn < min(len(data), MAX_CHARACTER_BYTES - 1) and data[torn] & 0xC0 == 0x80:
        torn += 1
    return data[torn:]


class TerminalService:
    """Input and output of single sessions."""

    def __init__(self, sessions: Sessions, guard: Guard) -> None:
        self._sessions = sessions
        self._guard = guard

    # -- writing --------------------------------------------------------------------------------------------

    @handles(api.WRITE)
    async def write(self, caller: Caller, params: api.Write) -> api.Written:
        """Send input."""
        session = self._writable(caller, params.session_id, params.client_id)
        data = decode(params.data, params.encoding)
        accepted = await self._write(caller, session, "session.write", data, params.confirm_token, eof=params.eof)
        return api.Written(accepted_bytes=accepted, queue_position=session.input.position)

    @handles(api.SEND_KEYS)
    async def send_keys(self, caller: Caller, params: api.SendKeys) -> api.Written:
        """Press keys."""
        session = self._writable(caller, params.session_id, params.client_id)

        async def make() -> bytes:
            modes = await self._key_modes(session)
            return b"".join(keys.encode_key(key, modes) for key in params.keys)

        accepted = await self._guard.write(caller, session, "session.send_keys", make, token=params.confirm_token)
        return api.Written(accepted_bytes=accepted, queue_position=session.input.position)

    @handles(api.PASTE)
    async def paste(self, caller: Caller, params: api.Paste) -> api.Written:
        """Paste text."""
        session = self._writable(caller, params.session_id, params.client_id)
        text = params.text.encode("utf-8", "surrogatepass")

        async def make() -> bytes:
            return keys.encode_paste(text, await self._key_modes(session))

        accepted = await self._guard.write(caller, session, "session.paste", make, token=params.confirm_token)
        return api.Written(accepted_bytes=accepted, queue_position=session.input.position)

    async def _write(
        self, caller: Caller, session: Session, operation: str, data: bytes, token: str | None, *, eof: bool = False
    ) -> int:
        if caller.profile is None:
            return await session.input.write(data, eof=eof)

        async def make() -> bytes:
            await trio.lowlevel.checkpoint()
            return data

        return await self._guard.write(caller, session, operation, make, token=token, eof=eof)

    def _writable(self, caller: Caller, session_id: str, client_id: str | None) -> Session:
        session = self._sessions.get(session_id)
        authority.require(caller, session, "read-write", client_id=client_id, writing=True)
        session.require_running()
        return session

    async def _key_modes(self, session: Session) -> keys.KeyModes:
        await session.follower.catch_up()
        modes = session.follower.screen.modes
        return keys.KeyModes(
            application_cursor=modes.application_cursor,
            application_keypad=modes.application_keypad,
            bracketed_paste=modes.bracketed_paste,
            kitty_flags=modes.kitty_flags,
            newline_mode=modes.newline_mode,
        )

    # -- reading --------------------------------------------------------------------------------------------

    @handles(api.READ)
    async def read(self, caller: Caller, params: api.Read) -> api.Output:
        """Read output."""
        session = self._sessions.get(params.session_id)
        key = position_key(caller, params.client_id, params.stream)
        source = _Source(session, params.stream)
        wanted = params.offset if params.offset is not None else session.positions.get(key, source.start())
        deadline = trio.current_time() + params.timeout_ms / 1000
        held_until = math.inf
        while True:
            offset, data, at_end = source.read(wanted, params.max_bytes)
            text, held, lossy = encode(data, params.encoding, final=at_end)
            now = trio.current_time()
            if held and not text:
                if len(data) == params.max_bytes:
                    # Not unfinished, but cut by the limit, which is below the size of a character.
                    offset, data, at_end = source.read(wanted, MAX_CHARACTER_BYTES)
                    data = first_character(data)
                    at_end = at_end and offset + len(data) >= source.end()
                    text, held, lossy = encode(data, params.encoding, final=at_end)
                held_until = min(held_until, now + HELD_SECONDS, session.log.grew_at + HELD_SECONDS)
            if held and not text and now >= held_until:
                text, held, lossy = encode(data, params.encoding, final=True)
            if text or at_end or now >= deadline:
                break
            with trio.move_on_at(min(deadline, held_until)):
                await session.log.reader(session.log.end).wait()
        if params.max_chars is not None and params.encoding == "text" and len(text) > params.max_chars:
            data, held, at_end = first_characters(data, params.max_chars), 0, False
            text, _, lossy = encode(data, "text", final=True)
        next_offset = offset + len(data) - held
        if params.offset is None:
            session.move(key, next_offset)
        return api.Output(
            data=text,
            encoding=params.encoding,
            offset=offset,
            next_offset=next_offset,
            missed_bytes=max(0, offset - wanted),
            eof=at_end and not held,
            lossy=lossy,
        )

    @handles(api.READ_UNTIL)
    async def read_until(self, caller: Caller, params: api.ReadUntil) -> api.ReadUntilResult:
        """Read until a pattern."""
        session = self._sessions.get(params.session_id)
        condition = waiting.patterns(params.pattern, regex=params.regex, plain=params.plain)
        key = position_key(caller, params.client_id)
        wanted = params.offset if params.offset is not None else session.position(key)
        begin = max(wanted, session.log.start)
        session.polling.leave(key)  # the wait itself holds what it has not seen yet
        outcome = await waiting.wait_any(session, [condition], begin, seconds(params.timeout_ms))
        if outcome.reason == "gap":
            offset, data = outcome.offset, b""
        else:
            offset, data = session.log.read(begin, max(0, outcome.offset - begin))
            data = data[: max(0, outcome.offset - offset)]
        # After a time-out the position stays, so that a pattern cut by the deadline is found by the next call.
        if params.offset is None and outcome.reason != "timeout":
            session.move(key, outcome.offset)
        raw = strip_escapes(data) if params.plain else data
        # At a time-out a character may be half printed; the next call begins with it.
        text, held, lossy = encode(raw, params.encoding, final=outcome.reason != "timeout")
        match = outcome.match
        return api.ReadUntilResult(
            reason=_READ_REASONS[outcome.reason],
            pattern=match.pattern if match else None,
            match=match.text.decode("utf-8", "replace") if match else None,
            data=text,
            encoding=params.encoding,
            offset=offset,
            next_offset=max(offset, outcome.offset - held),
            missed_bytes=max(0, offset - wanted),
            lossy=lossy,
        )

    # -- waiting --------------------------------------------------------------------------------------------

    @handles(api.WAIT)
    async def wait(self, caller: Caller, params: api.Wait) -> api.Waited:
        """Wait for conditions."""
        session = self._sessions.get(params.session_id)
        conditions = [self._condition(session, one, 0) for one in params.until]
        key = position_key(caller, params.client_id)
        begin = params.offset if params.offset is not None else session.position(key)
        if not any(one.idle is not None for one in conditions):
            session.polling.leave(key)
        outcome = await waiting.wait_any(session, conditions, begin, seconds(params.timeout_ms))
        if outcome.match is not None and params.offset is None:
            session.move(key, outcome.offset)
        status = session.status if session.exited.is_set() else None
        return api.Waited(
            reason=outcome.reason,
            condition=params.until[outcome.index] if outcome.index is not None else None,
            offset=outcome.offset,
            match=outcome.match.text.decode("utf-8", "replace") if outcome.match else None,
            exit_code=(status or ExitStatus()).code,
            exit_signal=(status or ExitStatus()).signal,
        )

    @handles(api.PROMPT)
    async def prompt(self, caller: Caller, params: api.Prompt) -> api.Prompted:
        """Write, then wait."""
        session = self._writable(caller, params.session_id, params.client_id)
        until = params.until if params.until is not None else DEFAULT_UNTIL
        data = decode(params.data, params.encoding)
        if params.enter:
            # Over a pipe nothing turns a carriage return into a newline.
            data += b"\r" if session.child.backend != "pipes" else b"\n"
        key = position_key(caller, params.client_id)
        begin = session.log.end
        conditions = [self._condition(session, one, begin) for one in until]
        await self._write(caller, session, "session.prompt", data, params.confirm_token)
        unread = session.position(key)
        session.polling.leave(key)
        outcome = await waiting.wait_any(session, conditions, begin, seconds(params.timeout_ms))
        session.move(key, outcome.offset)
        first = max(begin, outcome.offset - params.max_bytes)
        offset, printed = session.log.read(first, max(0, outcome.offset - first))
        if outcome.offset < offset:  # all of it has been discarded
            offset, printed = outcome.offset, b""
        elif offset > begin:  # cut, so perhaps within a character
            cut = len(printed) - len(without_torn_head(printed))
            offset, printed = offset + cut, printed[cut:]
        text, _, _ = encode(printed[: outcome.offset - offset], "text", final=True)
        status = (session.status if session.exited.is_set() else None) or ExitStatus()
        return api.Prompted(
            reason=outcome.reason,
            condition=until[outcome.index] if outcome.index is not None else None,
            data=text,
            start_offset=offset,
            offset=outcome.offset,
            match=outcome.match.text.decode("utf-8", "replace") if outcome.match else None,
            exit_code=status.code,
            exit_signal=status.signal,
            unread_offset=unread,
        )

    def _condition(self, session: Session, one: api.Condition, begin: int) -> waiting.Wanted:
        """Return the condition for the core; a command counts as done at a prompt behind `begin`."""
        chosen = {"exit": one.exit, "pattern": one.pattern is not None, "idle_ms": one.idle_ms is not None}
        chosen |= {"screen": one.screen is not None, "command_done": one.command_done, "needs_input": one.needs_input}
        if sum(chosen.values()) != 1:
            raise InvalidParams(f"a condition needs exactly one of {', '.join(chosen)}")
        if one.pattern is not None:
            return waiting.patterns(one.pattern, regex=one.regex)
        if one.regex:
            raise InvalidParams("`regex` qualifies `pattern` and means nothing without it")
        if one.command_done and not session.commands.active:
            raise Conflict(
                f"session {session.session_id} has no shell integration, so nothing tells when a command is done",
                hint="wait for a pattern or for silence; `command.run` can do without it",
            )
        return waiting.Wanted(
            exit=one.exit,
            idle=seconds(one.idle_ms),
            screen=one.screen,
            command_done=begin if one.command_done else None,
            needs_input=(lambda: waits_for_input(session)) if one.needs_input else None,
        )

    # -- looking --------------------------------------------------------------------------------------------

    @handles(api.SCREEN)
    async def screen(self, caller: Caller, params: api.GetScreen) -> api.ScreenPicture:
        """Show the screen."""
        session = self._sessions.get(params.session_id)
        await session.follower.catch_up()
        screen = session.follower.screen
        row, col, visible = screen.cursor
        return api.ScreenPicture(
            lines=screen.lines(params.format),
            scrollback=screen.scrollback(params.scrollback_lines, params.format) if params.scrollback_lines else [],
            cursor=api.Cursor(row=row, col=col, visible=visible),
            rows=screen.size.rows,
            cols=screen.size.cols,
            title=screen.title,
            alternate=screen.alternate,
            offset=screen.offset,
        )


class _Source:
    """The merged log, or one stream of it, read by offset."""

    def __init__(self, session: Session, stream: str | None) -> None:
        self.log = session.log
        if stream is not None and self.log.segments is None:
            raise InvalidParams("only a pipes session has separate streams", hint="leave out `stream`")
        self.number = STREAMS[stream] if stream is not None else None

    def start(self) -> int:
        """The oldest offset still kept."""
        if self.number is None or self.log.segments is None:
            return self.log.start
        return self.log.segments.stream_start(self.number, self.log.start)

    def end(self) -> int:
        """The offset after the newest byte."""
        if self.number is None or self.log.segments is None:
            return self.log.end
        return self.log.segments.stream_end(self.number)

    def read(self, offset: int, limit: int) -> tuple[int, bytes, bool]:
        """Return (where the data begins, data, whether it reaches the end of a closed log)."""
        closed, end = self.log.closed, self.end()
        if self.number is None or self.log.segments is None:
            at, data = self.log.read(offset, limit)
            return at, data, closed and at + len(data) >= end
        segments = self.log.segments
        at, data, _ = segments.read_stream(self.log.ring, self.number, offset, limit)
        return at, data, closed and at + len(data) >= end
