"""pty_wait_for: wait for one of several things, say which it was, and show what was printed meanwhile."""

from typing import Annotated, Any, Final, Literal

import msgspec

from ptybridge.api import session, terminal
from ptybridge.errors import InvalidParams
from ptybridge.mcp.compat_common import Answered, connection, exit_code, session_of
from ptybridge.mcp.tools_common import (
    SHOWN_BYTES,
    TIMEOUT_MS,
    Cut,
    HereAs,
    MaxBytes,
    Timeout,
    answer,
    last_line,
    piece,
    reporting,
    shown,
)
from ptybridge.mcp.tools_picture import Picture, drawn, full_screen
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.text import printable

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]


class WaitFor(HereAs, kw_only=True):
    """Parameters of pty_wait_for: at least one condition."""

    pattern: Annotated[Text | None, msgspec.Meta(description="a text in the output")] = None
    regex: Annotated[Text | None, msgspec.Meta(description=r"an RE2 expression in the output; lines end in \r?$")] = (
        None
    )
    screen: Annotated[Text | None, msgspec.Meta(description="a text on the screen, as it is or comes to be")] = None
    exit: Annotated[bool, msgspec.Meta(description="the program has exited")] = False
    command_done: Annotated[bool, msgspec.Meta(description="the shell is at its prompt again")] = False
    needs_input: Annotated[bool, msgspec.Meta(description="it is silent and reads the terminal")] = False
    idle_ms: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=3600_000)] | None,
        msgspec.Meta(description="nothing has been printed for so long"),
    ] = None
    timeout_ms: Timeout = TIMEOUT_MS
    offset: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None,
        msgspec.Meta(description="look at output from here on; left out: from where the last such call stopped"),
    ] = None
    max_output_bytes: MaxBytes = SHOWN_BYTES


class WaitedFor(Answered, kw_only=True):
    """Why the wait ended, the text since its beginning, and the offset to go on from.

    While a full-screen program draws there is `screen` instead of `text`.
    """

    session_id: str
    reason: Literal["matched", "screen", "exited", "command_done", "needs_input", "idle", "timeout", "gap"]
    match: str | None
    running: bool
    exit_code: int | None
    text: str
    truncated: Cut | None
    start_offset: int
    offset: int
    screen: Picture | None


async def wait_for(ctx: Context, params: WaitFor) -> Answer:
    """Wait."""
    until = _conditions(params)
    info = await session_of(ctx, params)
    here = connection(ctx)
    start = params.offset if params.offset is not None else here.seen.get(info.session_id, info.start_offset)
    work = ctx.call(
        terminal.WAIT,
        session_id=info.session_id,
        until=until,
        offset=start,
        timeout_ms=params.timeout_ms,
        client_id=params.client_id,
    )
    done = await reporting(ctx, work, session_id=info.session_id, start=start, timeout_ms=params.timeout_ms)
    info = await session_of(ctx, params)
    # Only a pattern's match leaves something for the next call; whatever else ended the wait came after all output.
    end = done.offset if done.reason == "matched" else max(done.offset, info.end_offset)
    text = await piece(ctx, info.session_id, start, end, params.max_output_bytes)
    here.seen[info.session_id] = text.end
    picture = await full_screen(ctx, info.session_id) if info.state == "running" else None
    values = WaitedFor(
        session_id=info.session_id,
        reason=done.reason,
        match=done.match,
        running=info.state == "running",
        exit_code=exit_code(info),
        text="" if picture else text.text,
        truncated=None if picture else text.cut,
        start_offset=text.start,
        offset=text.end,
        screen=picture,
    )
    line = await last_line(ctx, info.session_id, text.start, text.end)
    told = f"{_told(values, params, info, line)} Output from offset {text.start} to {text.end}."
    if start < text.start:
        told += f" {text.start - start} bytes before that are no longer kept."
    body = drawn(picture) if picture else shown(text.text, "output meanwhile")
    return answer(f"{told}\n{body}", values)


def _conditions(params: WaitFor) -> list[dict[str, Any]]:
    asked: list[dict[str, Any] | None] = [
        {"pattern": params.pattern} if params.pattern is not None else None,
        {"pattern": params.regex, "regex": True} if params.regex is not None else None,
        {"screen": params.screen} if params.screen is not None else None,
        {"command_done": True} if params.command_done else None,
        {"needs_input": True} if params.needs_input else None,
        {"idle_ms": params.idle_ms} if params.idle_ms is not None else None,
        {"exit": True} if params.exit else None,
    ]
    until = [one for one in asked if one is not None]
    if not until:
        raise InvalidParams(
            "pty_wait_for needs something to wait for",
            hint="give one or several of pattern, regex, screen, exit, command_done, needs_input, idle_ms",
        )
    return until


def _told(values: WaitedFor, params: WaitFor, info: session.SessionInfo, line: str) -> str:
    match values.reason:
        case "matched":
            return f"Matched: {printable(values.match or '', 200)!r}."
        case "screen":
            return f"On the screen: {printable(params.screen or '', 200)!r}."
        case "exited":
            how = f"ended by {info.exit_signal}" if info.exit_signal else f"exit code {values.exit_code}"
            return f"The program has exited: {how}."
        case "command_done":
            return "The command is done: the shell is at its prompt (pty_history has exit codes)."
        case "needs_input":
            return f"It waits for input; the last line is {line!r}."
        case "idle":
            return f"Nothing was printed for {params.idle_ms} ms."
        case "gap":
            return "Output was discarded before it was searched; look with pty_screen."
    return f"The time is over after {params.timeout_ms} ms and nothing of it has happened; wait again to go on."


TOOLS: Final = (
    Tool(
        "pty_wait_for",
        "Wait until one of the things you name happens: a pattern or regex in the output, a text on the screen, exit, "
        "command_done (a shell is at its prompt again), needs_input, or silence of idle_ms. Always returns at "
        "timeout_ms, when the program exits, and says why (`reason`), with the clean text since the last call. Look "
        "for several at once, also for signs of failure.",
        WaitFor,
        WaitedFor,
        Hints("Wait for something", read_only=True),
        "agent",
        wait_for,
    ),
)
