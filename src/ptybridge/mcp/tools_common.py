"""What the tools made for agents share: parameters, long calls that report (pty-mcp's do, too), bounded clean text."""

import base64
from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar

import msgspec
import trio

from ptybridge.api import session, terminal
from ptybridge.errors import PtybridgeError
from ptybridge.mcp.compat_common import Answered, ClientId, OnSession, connection
from ptybridge.mcp.toolset import Answer, Context
from ptybridge.mcp.untrusted import quoted
from ptybridge.text import plain, printable

# MCP clients give up after 60 s unless told otherwise, so a call must have answered before; it can be made again.
TIMEOUT_MS: Final = 30_000
REPORT_SECONDS: Final = 2.0
# Of a line that somebody is to recognise.
LINE_BYTES: Final = 2048
SHOWN_LINE: Final = 200
# The default of what a model is shown at once: some 5000 tokens.
SHOWN_BYTES: Final = 20_000

R = TypeVar("R")
AgentOwner = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=128, description="the session's owner; not needed where it was started without one"
    ),
]
Timeout = Annotated[
    int, msgspec.Meta(ge=0, le=24 * 3600 * 1000, description="answer after at most so long; nothing is ended by it")
]
MaxBytes = Annotated[
    int,
    msgspec.Meta(
        ge=200, le=1 << 20, description="show at most so much output: its beginning and its end, cut in the middle"
    ),
]


class Here(OnSession, kw_only=True):
    """Parameters of a tool for one session."""

    owner: AgentOwner | None = None


class HereAs(Here, kw_only=True):
    """And the name under which it is used."""

    client_id: ClientId | None = None


class Cut(Answered, kw_only=True):
    """How much of the output is shown, at its beginning and end, and how much between them is not."""

    head_bytes: int
    tail_bytes: int
    omitted_bytes: int


class Piece(msgspec.Struct, frozen=True):
    """Output between two offsets as clean text, the middle left out when it is long."""

    text: str
    cut: Cut | None
    start: int
    end: int


def owner_of(ctx: Context, owner: str | None) -> str | None:
    """Return the owner of what is started: as given, or this connection's own."""
    here = connection(ctx)
    return owner or (here.own_owner if here.settings.require_owner else None)


def seconds(milliseconds: int) -> str:
    """Return a duration in words."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def answer(text: str, values: msgspec.Struct) -> Answer:
    """Return an answer of text and values."""
    return Answer(text, msgspec.to_builtins(values))


def onward(info: session.SessionInfo, owner_needed: str | None, offset: int, *, marked: bool) -> str:
    """Return how to go on with a command that runs on. `marked`: its shell tells when it is done."""
    about = f'"session_id": "{info.session_id}"' + (f', "owner": "{owner_needed}"' if owner_needed else "")
    until = '"command_done": true' if marked else '"idle_ms": 2000'
    return (
        f"It goes on. To wait on: pty_wait_for {{{about}, {until}}}; "
        f'to read on: pty_read_at {{{about}, "offset": {offset}}}; '
        f'to interrupt it: pty_send_keys {{{about}, "keys": ["ctrl-c"]}}.'
    )


# -- output -------------------------------------------------------------------------------------------------


async def piece(ctx: Context, session_id: str, start: int, end: int, limit: int) -> Piece:
    """Return output between two offsets. Moves nobody's position; what is no longer kept is not there."""
    info = await ctx.call(session.GET, session_id=session_id, detailed=False)
    start = max(start, info.start_offset)
    end = max(start, end)
    if end - start <= limit:
        return Piece(clean(await _bytes(ctx, session_id, start, end)), None, start, end)
    head = await _bytes(ctx, session_id, start, start + limit // 2)
    tail = await _bytes(ctx, session_id, end - limit // 2, end)
    text, cut = cut_at_lines(head, tail, end - start - len(head) - len(tail))
    return Piece(text, cut, start, end)


def clean(data: bytes) -> str:
    """Return output as text without anything that only a terminal understands."""
    return plain(data.decode(errors="replace"))


def cut_at_lines(head: bytes, tail: bytes, omitted: int) -> tuple[str, Cut]:
    """Return beginning and end of a long output as text, without the halves of lines that were cut in two."""
    whole = head.rfind(b"\n") + 1 or len(head)
    skipped = tail.find(b"\n") + 1
    omitted += len(head) - whole + skipped
    head, tail = head[:whole], tail[skipped:]
    text = f"{clean(head).rstrip()}\n[… {omitted} bytes left out …]\n{clean(tail)}"
    return text, Cut(head_bytes=len(head), tail_bytes=len(tail), omitted_bytes=omitted)


async def _bytes(ctx: Context, session_id: str, start: int, end: int) -> bytes:
    if end <= start:
        return b""
    read = await ctx.call(terminal.READ, session_id=session_id, offset=start, max_bytes=end - start, encoding="base64")
    return base64.b64decode(read.data)


async def last_line(ctx: Context, session_id: str, start: int, end: int) -> str:
    """Return the last line that is not empty, for people to look at."""
    text = clean(await _bytes(ctx, session_id, max(start, end - LINE_BYTES), end))
    lines = [line for line in text.split("\n") if line.strip()]
    return printable(lines[-1], SHOWN_LINE) if lines else ""


def shown(text: str, source: str) -> str:
    """Return output as a model is shown it: marked as a program's, or a word that there is none."""
    return quoted(text, source) if text.strip() else "Nothing was printed."


# -- long calls ---------------------------------------------------------------------------------------------


async def reporting(
    ctx: Context, work: Awaitable[R], *, session_id: str | None, start: int, timeout_ms: int | None
) -> R:
    """Do `work` and meanwhile tell the client how far it is, every two seconds. Raises what `work` raises."""
    failure: PtybridgeError | None = None
    done: list[R] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_report, ctx, session_id, start, timeout_ms)
        try:
            done.append(await work)
        except PtybridgeError as exc:  # not wrapped into a group by the nursery
            failure = exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return done[0]


async def _report(ctx: Context, session_id: str | None, start: int, timeout_ms: int | None) -> None:
    began = trio.current_time()
    total = None if timeout_ms is None else timeout_ms / 1000
    while True:
        await trio.sleep(REPORT_SECONDS)
        elapsed = trio.current_time() - began
        message = f"{elapsed:.0f} s"
        if session_id is not None:
            try:
                info = await ctx.call(session.GET, session_id=session_id, detailed=False)
                line = await last_line(ctx, session_id, start, info.end_offset)
            except PtybridgeError:
                continue  # closed meanwhile: the call itself says so
            message += f", {max(0, info.end_offset - start)} bytes" + (f", last line: {line}" if line else "")
        # The spec wants a number that grows, which output need not do.
        await ctx.progress(round(elapsed, 1), total, message)
