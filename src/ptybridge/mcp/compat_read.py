"""pty-mcp's tools that read once: pty_read, pty_read_stdout, pty_read_stderr, pty_read_at, pty_read_quiescent."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api import terminal
from ptybridge.mcp.compat_common import (
    Answered,
    MaxChars,
    Milliseconds,
    OnSession,
    as_json,
    connection,
    now,
    session_of,
)
from ptybridge.mcp.compat_lease import held_session
from ptybridge.mcp.compat_pages import (
    CHARACTER_BYTES,
    MOST_BYTES,
    Chunk,
    Format,
    Page,
    StreamName,
    TimedPage,
    chunk_id,
    is_absent,
    next_page,
    own_stream,
    page_size,
    shown,
)
from ptybridge.mcp.tools_common import reporting
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool


class ReadAt(OnSession, kw_only=True):
    """Parameters of pty_read_at."""

    offset: Annotated[int, msgspec.Meta(description="position in bytes; a negative one means the beginning")] = 0
    max_chars: MaxChars | None = None
    stream: Literal["stdout", "stderr"] | None = None


class Quiescent(Page, kw_only=True):
    """Parameters of pty_read_quiescent."""

    quiescence_ms: Annotated[Milliseconds | None, msgspec.Meta(description="so long nothing may be printed")] = None
    timeout_ms: Annotated[Milliseconds, msgspec.Meta(description="wait at most so long")] = 10_000
    format: Format = "text"


class ChunkAt(Answered, kw_only=True):
    """Output at an offset. `truncated`: it is no longer kept; `next_offset` is where what is kept begins."""

    truncated: bool
    text: str
    next_offset: int
    chunk_id: str
    stream: StreamName
    timestamp: float
    eof: bool


def _reading(stream: StreamName) -> Callable[[Context, TimedPage], Awaitable[Answer]]:
    async def read(ctx: Context, params: TimedPage) -> Answer:
        """Read the next page."""
        info = await held_session(ctx, params)
        timeout = connection(ctx).read_timeout(info.session_id, params.timeout_ms)
        return shown(await next_page(ctx, info, params, stream, timeout), params.format)

    return read


async def read_at(ctx: Context, params: ReadAt) -> Answer:
    """Read at an offset, whoever has read what before."""
    info = await session_of(ctx, params)
    stream: StreamName = params.stream or "pty"
    offset = max(0, params.offset)
    size = page_size(ctx, params.max_chars)
    text, following, missed, eof = "", offset, 0, info.output_closed
    if not is_absent(info, stream):
        read = await ctx.call(
            terminal.READ,
            session_id=info.session_id,
            offset=offset,
            stream=own_stream(info, stream),
            max_chars=size,
            max_bytes=min(MOST_BYTES, size * CHARACTER_BYTES),
        )
        missed = read.missed_bytes
        text, following, eof = ("", read.offset, False) if missed else (read.data, read.next_offset, read.eof)
    return as_json(
        ChunkAt(
            truncated=missed > 0,
            text=text,
            next_offset=following,
            chunk_id=chunk_id(info.session_id, stream, offset),
            stream=stream,
            timestamp=now(),
            eof=eof,
        )
    )


async def read_quiescent(ctx: Context, params: Quiescent) -> Answer:
    """Wait until nothing is printed, then read."""
    info = await held_session(ctx, params)
    quiet = connection(ctx).settings.quiescence_ms if params.quiescence_ms is None else params.quiescence_ms
    work = ctx.call(
        terminal.WAIT,
        session_id=info.session_id,
        client_id=connection(ctx).reader(info.session_id, params.client_id),
        until=[{"idle_ms": quiet}, {"exit": True}],
        timeout_ms=params.timeout_ms,
    )
    await reporting(ctx, work, session_id=info.session_id, start=info.end_offset, timeout_ms=params.timeout_ms)
    return shown(await next_page(ctx, await session_of(ctx, params), params, "pty", 0), params.format)


_READS: Final = (
    "Each client_id (or else this connection) has its own position, which moves on; nothing is lost for others."
)
TOOLS: Final = (
    Tool(
        "pty_read",
        "Read the next piece of a session's output, waiting a moment (timeout_ms) if there is none. An empty answer "
        f"means that nothing new was printed; `eof` in the structured answer that nothing will be. {_READS}",
        TimedPage,
        Chunk,
        Hints("Read new output"),
        "core",
        _reading("pty"),
    ),
    Tool(
        "pty_read_stdout",
        "As pty_read, of standard output alone. Only sessions spawned with separate_streams have it.",
        TimedPage,
        Chunk,
        Hints("Read new standard output"),
        "core",
        _reading("stdout"),
    ),
    Tool(
        "pty_read_stderr",
        "As pty_read, of standard error alone. Only sessions spawned with separate_streams have it.",
        TimedPage,
        Chunk,
        Hints("Read new standard error"),
        "core",
        _reading("stderr"),
    ),
    Tool(
        "pty_read_at",
        "Read output at a byte offset without moving anybody's position, also what was read before. Go on at "
        "next_offset. With `truncated` the output there is no longer kept and next_offset is where it begins.",
        ReadAt,
        ChunkAt,
        Hints("Read output at an offset", read_only=True, idempotent=True),
        "core",
        read_at,
        for_agents=True,
    ),
    Tool(
        "pty_read_quiescent",
        "Wait until a session has printed nothing for quiescence_ms (or has exited, or timeout_ms is over), then read "
        f"what is new. Good for a command whose last line you do not know. {_READS}",
        Quiescent,
        Chunk,
        Hints("Read when it is quiet"),
        "core",
        read_quiescent,
    ),
)
