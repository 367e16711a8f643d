"""pty-mcp's tools that wait for a pattern: pty_read_until, pty_read_until_any, pty_prompt."""

from collections.abc import Awaitable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
import trio

from ptybridge.api import session, terminal
from ptybridge.mcp.compat_common import PTY, Answered, ConfirmToken, Milliseconds, as_json, connection, exit_code
from ptybridge.mcp.compat_lease import held_session
from ptybridge.mcp.compat_pages import MOST_BYTES, Page, checked_patterns, chunk_id, notice_of, page_size
from ptybridge.mcp.compat_write import refusing
from ptybridge.mcp.tools_common import reporting
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool

Regex = Annotated[bool, msgspec.Meta(description="take patterns for RE2 regular expressions, not plain text")]
Patterns = Annotated[list[str], msgspec.Meta(min_length=1, max_length=64, description="any of these ends the wait")]
Timeout = Annotated[
    Milliseconds, msgspec.Meta(description="wait at most so long (the configuration may set a maximum)")
]
R = TypeVar("R")
Reason = Literal["matched", "exited", "timeout", "gap"]


class Until(Page, kw_only=True):
    """Parameters of pty_read_until."""

    pattern: Annotated[str, msgspec.Meta(min_length=1)]
    regex: Regex = False
    timeout_ms: Timeout = 10_000


class UntilAny(Page, kw_only=True):
    """Parameters of pty_read_until_any."""

    patterns: Patterns
    regex: Regex = False
    timeout_ms: Timeout = 10_000


class Prompt(UntilAny, kw_only=True):
    """Parameters of pty_prompt."""

    data: Annotated[str, msgspec.Meta(description=r"what to type; end it with \n to press Enter")]
    confirm_token: ConfirmToken | None = None


class Found(Answered, kw_only=True):
    """What was printed up to the match, and why the wait ended. `omitted_bytes` at its beginning did not fit."""

    matched: bool
    text: str
    chunk_id: str
    stream: Literal["pty"] = "pty"
    reason: Reason
    offset: int
    next_offset: int
    missed_bytes: int
    omitted_bytes: int
    match: str | None
    exit_code: int | None
    notice: str | None


class FoundAny(Found, kw_only=True):
    """And which pattern it was: of those that match first, the first in the list."""

    pattern: str | None


async def _reported(ctx: Context, info: session.SessionInfo, params: UntilAny, work: Awaitable[R]) -> R:
    """Wait for a pattern and meanwhile tell the client how far it is."""
    timeout_ms = int(timeout_seconds(ctx, params.timeout_ms) * 1000)
    return await reporting(ctx, work, session_id=info.session_id, start=info.end_offset, timeout_ms=timeout_ms)


async def _until(ctx: Context, info: session.SessionInfo, params: UntilAny) -> FoundAny:
    """Read up to a match from the position of the client."""
    patterns = checked_patterns(params.patterns)
    reader = connection(ctx).reader(info.session_id, params.client_id)
    deadline = trio.current_time() + timeout_seconds(ctx, params.timeout_ms)
    missed = 0
    while True:
        found = await ctx.call(
            terminal.READ_UNTIL,
            session_id=info.session_id,
            client_id=reader,
            pattern=patterns,
            regex=params.regex,
            timeout_ms=max(0, int((deadline - trio.current_time()) * 1000)),
        )
        missed += found.missed_bytes
        if found.reason != "gap":
            break
    text, end = found.data, found.next_offset
    if found.reason == "timeout":
        # Given out, so consumed; but not what may be the beginning of a match that the deadline has cut.
        held = 0 if params.regex else _unfinished(text, patterns)
        end -= len(text[len(text) - held :].encode())
        text = text[: len(text) - held]
        await _skip(ctx, info, reader, found.offset, end)
    return await _answer(ctx, info, params, found.reason, found.pattern, found.match, text, end, missed)


async def _answer(
    ctx: Context,
    info: session.SessionInfo,
    params: UntilAny,
    reason: str,
    pattern: str | None,
    match: str | None,
    text: str,
    end: int,
    missed: int,
) -> FoundAny:
    size = page_size(ctx, params.max_chars)
    begin = end - len(text[-size:].encode())
    omitted = len(text[:-size].encode())
    status = await ctx.call(session.GET, session_id=info.session_id, detailed=False)
    return FoundAny(
        matched=reason == "matched",
        pattern=pattern,
        text=text[-size:],
        chunk_id=chunk_id(info.session_id, PTY, begin),
        reason=msgspec.convert(reason, Reason),
        offset=begin,
        next_offset=end,
        missed_bytes=missed,
        omitted_bytes=omitted,
        match=match,
        exit_code=exit_code(status),
        notice=notice_of(status, missed, eof=reason == "exited")
        or (
            f"{omitted} bytes between the last read and this text are not shown; pty_read_at does" if omitted else None
        ),
    )


def timeout_seconds(ctx: Context, asked_ms: int) -> float:
    """Return how long a wait for a pattern may take, the configured maximum heeded."""
    most = connection(ctx).settings.read_until_max_ms
    return (min(asked_ms, most) if most else asked_ms) / 1000


def _unfinished(text: str, patterns: list[str]) -> int:
    """Return how many characters at the end of `text` may be the beginning of a pattern."""
    return max(
        (size for one in patterns for size in range(1, min(len(one), len(text) + 1)) if text.endswith(one[:size])),
        default=0,
    )


async def _skip(ctx: Context, info: session.SessionInfo, reader: str | None, offset: int, end: int) -> None:
    """Move a position from `offset` to `end`."""
    while offset < end:
        size = min(MOST_BYTES, end - offset)
        page = await ctx.call(
            terminal.READ, session_id=info.session_id, client_id=reader, max_bytes=size, encoding="base64"
        )
        if page.next_offset <= offset:
            return
        offset = page.next_offset


async def _read_up_to(ctx: Context, info: session.SessionInfo, reader: str | None, end: int) -> str:
    """Read from a position to an offset, a character first: only then it is known where the position is."""
    size, pieces = 1, []
    while size > 0:
        page = await ctx.call(
            terminal.READ, session_id=info.session_id, client_id=reader, max_bytes=min(MOST_BYTES, size)
        )
        pieces.append(page.data)
        if not page.data:
            break
        size = end - page.next_offset
    return "".join(pieces)


async def read_until(ctx: Context, params: Until) -> Answer:
    """Read until one pattern."""
    info = await held_session(ctx, params)
    as_any = UntilAny(
        session_id=params.session_id,
        owner=params.owner,
        client_id=params.client_id,
        max_chars=params.max_chars,
        patterns=[params.pattern],
        regex=params.regex,
        timeout_ms=params.timeout_ms,
    )
    found = msgspec.structs.asdict(await _reported(ctx, info, as_any, _until(ctx, info, as_any)))
    del found["pattern"]
    return as_json(Found(**found))


async def read_until_any(ctx: Context, params: UntilAny) -> Answer:
    """Read until one of several patterns."""
    info = await held_session(ctx, params)
    return as_json(await _reported(ctx, info, params, _until(ctx, info, params)))


async def prompt(ctx: Context, params: Prompt) -> Answer:
    """Write, then read until a pattern appears in what comes after."""
    patterns = checked_patterns(params.patterns)
    info = await held_session(ctx, params)
    work = refusing(
        ctx,
        info,
        len(params.data.encode()),
        terminal.PROMPT,
        session_id=info.session_id,
        data=params.data,
        enter=False,
        until=[{"pattern": one, "regex": params.regex} for one in patterns],
        timeout_ms=int(timeout_seconds(ctx, params.timeout_ms) * 1000),
        max_bytes=MOST_BYTES,
        client_id=params.client_id,
        confirm_token=params.confirm_token or None,
    )
    done = await _reported(ctx, info, params, work)
    text, missed = done.data, 0
    unread = done.start_offset - done.unread_offset
    reader = connection(ctx).reader(info.session_id, params.client_id)
    if reader != params.client_id:
        # The name has the lease, but its reads move the connection's position, which is now to move along.
        text = await _read_up_to(ctx, info, reader, done.offset)
    elif unread > 0:
        # Printed before the write and not read yet: part of the text, but no match.
        before = await ctx.call(
            terminal.READ, session_id=info.session_id, offset=done.unread_offset, max_bytes=min(MOST_BYTES, unread)
        )
        text, missed = before.data + text, before.missed_bytes
    pattern = done.condition.pattern if done.condition is not None else None
    return as_json(await _answer(ctx, info, params, done.reason, pattern, done.match, text, done.offset, missed))


_UNTIL: Final = (
    "Returns the text up to and including the match; what follows stays for the next read. Also returns when the "
    "program has exited or timeout_ms is over; `reason` says which. What was read before is not searched."
)
TOOLS: Final = (
    Tool(
        "pty_read_until",
        f"Read a session's output until a pattern appears. {_UNTIL}",
        Until,
        Found,
        Hints("Read until a pattern"),
        "core",
        read_until,
    ),
    Tool(
        "pty_read_until_any",
        f"Read a session's output until any of several patterns appears; `pattern` says which. {_UNTIL}",
        UntilAny,
        FoundAny,
        Hints("Read until any pattern"),
        "core",
        read_until_any,
    ),
    Tool(
        "pty_prompt",
        r"Type data (end it with \n to press Enter), then read until any of the patterns appears in what is printed "
        "after it: one call for a command and its prompt. A terminal echoes what is typed, so choose patterns that the "
        "data itself does not contain. Returns when matched, when the program has exited, or when timeout_ms is over.",
        Prompt,
        FoundAny,
        Hints("Type and read until a pattern", destructive=True, open_world=True),
        "core",
        prompt,
    ),
)
