"""How pty-mcp's tools read: pages in characters from a client's position, and what was lost, said beside the text."""

from typing import Annotated, Any, Literal

import msgspec

from ptybridge.api import session, terminal
from ptybridge.errors import InvalidParams
from ptybridge.mcp.compat_common import PTY, Answered, AsClient, MaxChars, Milliseconds, connection, now, to_json
from ptybridge.mcp.toolset import Answer, Context

StreamName = Literal["pty", "stdout", "stderr"]
Format = Annotated[Literal["text", "json"], msgspec.Meta(description="text alone, or JSON with offsets and time")]
# UTF-8's longest character, RFC 3629; and the most that `session.read` gives at once.
CHARACTER_BYTES, MOST_BYTES = 4, 16 << 20


class Page(AsClient, kw_only=True):
    """What every tool that reads takes."""

    max_chars: MaxChars | None = None


class TimedPage(Page, kw_only=True):
    """And one that waits for output."""

    timeout_ms: Annotated[Milliseconds | None, msgspec.Meta(description="how long to wait for output")] = None
    format: Format = "text"


class Chunk(Answered, kw_only=True):
    """A piece of output. `missed_bytes` before it had been discarded; `eof`: the program's output has ended."""

    chunk_id: str
    stream: StreamName
    text: str
    timestamp: float
    offset: int
    next_offset: int
    missed_bytes: int
    eof: bool
    notice: str | None = None


def chunk_id(session_id: str, stream: str, offset: int) -> str:
    """Return what tells this piece from every other one."""
    return f"{session_id}-{stream}-{offset}"


def own_stream(info: session.SessionInfo, stream: StreamName) -> str | None:
    """Return the native name of a stream; None is all output."""
    return None if stream == PTY or info.streams is None else stream


def is_absent(info: session.SessionInfo, stream: StreamName) -> bool:
    """Tell whether the session has no such stream of its own."""
    return stream != PTY and info.streams is None


def page_size(ctx: Context, asked: int | None) -> int:
    """Return how many characters a page has."""
    return asked if asked is not None else connection(ctx).settings.max_chars


async def next_page(
    ctx: Context, info: session.SessionInfo, params: Page, stream: StreamName, timeout_ms: int
) -> Chunk:
    """Take the next page from the position of the client, which moves on."""
    size = page_size(ctx, params.max_chars)
    if is_absent(info, stream):
        return empty(info, stream)
    read = await ctx.call(
        terminal.READ,
        session_id=info.session_id,
        client_id=connection(ctx).reader(info.session_id, params.client_id),
        stream=own_stream(info, stream),
        max_chars=size,
        max_bytes=min(MOST_BYTES, size * CHARACTER_BYTES),
        timeout_ms=timeout_ms,
    )
    return Chunk(
        chunk_id=chunk_id(info.session_id, stream, read.offset),
        stream=stream,
        text=read.data,
        timestamp=now(),
        offset=read.offset,
        next_offset=read.next_offset,
        missed_bytes=read.missed_bytes,
        eof=read.eof,
        notice=notice_of(info, read.missed_bytes, eof=read.eof),
    )


def empty(info: session.SessionInfo, stream: StreamName) -> Chunk:
    """Return the page of a stream that the session does not have."""
    return Chunk(
        chunk_id=chunk_id(info.session_id, stream, 0),
        stream=stream,
        text="",
        timestamp=now(),
        offset=0,
        next_offset=0,
        missed_bytes=0,
        eof=info.output_closed,
        notice="this session has one stream, the terminal's: use pty_read (separate_streams was not asked for)",
    )


def notice_of(info: session.SessionInfo, missed: int, *, eof: bool = False) -> str | None:
    """Say in a sentence what a reader should know that is not output."""
    if missed:
        return f"{missed} bytes of output before this were discarded (limit={info.max_output_bytes} bytes)"
    if eof and info.exit_reason == "timeout":
        return f"session timed out (limit={(info.max_runtime_ms or 0) / 1000:g}s)"
    if eof and info.exit_reason == "idle":
        return "the session was ended because nobody used it"
    return None


def shown(chunk: Chunk, form: str) -> Answer:
    """Return a page as text or JSON; in text, a loss is said in a line before it, which is no part of the output."""
    values: dict[str, Any] = msgspec.to_builtins(chunk)
    if form == "json":
        return Answer(to_json(values), values)
    lost = f"[ptybridge: {chunk.notice}]\n" if chunk.missed_bytes else ""
    return Answer(lost + chunk.text, values)


def checked_patterns(patterns: list[str]) -> list[str]:
    """Return the patterns; refuse empty ones, which would match at once."""
    if any(not one for one in patterns):
        raise InvalidParams("an empty pattern matches everywhere", hint="leave it out, or use pty_read")
    return patterns
