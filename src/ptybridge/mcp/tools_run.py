"""pty_run: run one command in a shell session, and get its exit code and nothing but its output."""

import shlex
from typing import Annotated, Any, Final, Literal

import msgspec

from ptybridge.api import command as api
from ptybridge.api import session
from ptybridge.errors import Busy, InvalidParams
from ptybridge.mcp import tools_shells
from ptybridge.mcp.compat_common import Answered, Arguments, ClientId, ConfirmToken, SessionId, connection, session_of
from ptybridge.mcp.tools_common import (
    SHOWN_BYTES,
    TIMEOUT_MS,
    AgentOwner,
    Cut,
    Here,
    MaxBytes,
    Timeout,
    answer,
    onward,
    owner_of,
    reporting,
    seconds,
    shown,
)
from ptybridge.mcp.tools_picture import Picture, drawn, full_screen
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.text import printable

CD_MS: Final = 10_000
BUSY_SHOWN: Final = 3


class Run(Arguments, kw_only=True):
    """Parameters of pty_run."""

    command: Annotated[str, msgspec.Meta(min_length=1, max_length=1 << 20, description="a command line, or several")]
    session_id: Annotated[
        SessionId | None,
        msgspec.Meta(description="a shell session to run it in; left out: yours, which is started if need be"),
    ] = None
    timeout_ms: Timeout = TIMEOUT_MS
    max_output_bytes: MaxBytes = SHOWN_BYTES
    cwd: Annotated[str | None, msgspec.Meta(description="change to this directory first, and stay there")] = None
    owner: AgentOwner | None = None
    client_id: ClientId | None = None
    wait: Annotated[
        bool, msgspec.Meta(description="with session_id: wait until what runs there is done, instead of failing")
    ] = False
    confirm_token: ConfirmToken | None = None


class Ran(Answered, kw_only=True):
    """How it went. Only with reason "completed" there is an exit code; otherwise the command runs on.

    While a full-screen program draws there is `screen` instead of `output`.
    """

    session_id: str
    owner: str | None
    reason: Literal["completed", "timeout", "exited", "needs_input", "gap"]
    exit_code: int | None
    output: str
    truncated: Cut | None
    duration_ms: int
    cwd: str | None
    command_number: int | None
    offset: int
    next_offset: int
    alternate_screen: bool
    new_session: bool
    screen: Picture | None


async def run(ctx: Context, params: Run) -> Answer:
    """Run a command."""
    here = connection(ctx)
    if params.session_id is not None:
        info = await session_of(ctx, Here(session_id=params.session_id, owner=params.owner))
        ran = await _run_in(ctx, params, info)
        return await _answer(ctx, info, ran, is_new=False, busy=[])
    if params.wait:
        raise InvalidParams("wait needs a session_id", hint="without one, a shell that is free is used")
    owner = owner_of(ctx, params.owner)
    passed_over: frozenset[str] = frozenset()
    while True:
        shell = await tools_shells.find(ctx, owner, params.client_id, passed_over)
        session_id = shell.info.session_id
        with tools_shells.holding(here, session_id):
            try:
                ran = await _run_in(ctx, params, shell.info)
            except Busy:
                # Somebody types there, or it has just begun something. A new shell is nobody else's.
                if shell.is_new:
                    raise
                passed_over |= {session_id}
                continue
        return await _answer(ctx, shell.info, ran, is_new=shell.is_new, busy=shell.busy)


async def _run_in(ctx: Context, params: Run, info: session.SessionInfo) -> api.Ran:
    common: dict[str, Any] = {"session_id": info.session_id, "client_id": params.client_id, "wait": params.wait}
    if params.cwd is not None:
        target = tools_shells.directory(ctx, params.cwd, info)
        if target != info.current_cwd:
            gone = await ctx.call(api.RUN, command=f"cd -- {shlex.quote(target)}", timeout_ms=CD_MS, **common)
            if gone.exit_code != 0:
                said = printable(gone.output.strip(), 200) or gone.reason
                raise InvalidParams(f"cannot change to {printable(target)}: {said}", hint="the command was not run")
    work = ctx.call(
        api.RUN,
        command=params.command,
        timeout_ms=params.timeout_ms,
        max_output_bytes=params.max_output_bytes,
        confirm_token=params.confirm_token or None,
        **common,
    )
    ran = await reporting(ctx, work, session_id=info.session_id, start=info.end_offset, timeout_ms=params.timeout_ms)
    connection(ctx).seen[info.session_id] = ran.next_offset
    return ran


async def _answer(ctx: Context, info: session.SessionInfo, ran: api.Ran, *, is_new: bool, busy: list[str]) -> Answer:
    picture = None
    if ran.alternate_screen and ran.reason in {"timeout", "needs_input"}:
        picture = await full_screen(ctx, info.session_id)
    values = Ran(
        session_id=info.session_id,
        owner=info.owner,
        reason=ran.reason,
        exit_code=ran.exit_code,
        output="" if picture else ran.output,
        truncated=Cut(**msgspec.structs.asdict(ran.truncated)) if ran.truncated and not picture else None,
        duration_ms=ran.duration_ms,
        cwd=ran.cwd,
        command_number=ran.number,
        offset=ran.offset,
        next_offset=ran.next_offset,
        alternate_screen=ran.alternate_screen,
        new_session=is_new,
        screen=picture,
    )
    owner = info.owner if info.owner != connection(ctx).own_owner else None
    parts = [_outcome(ran), f"Session {info.session_id}"]
    if ran.cwd:
        parts[1] += f", in {printable(ran.cwd, 200)}"
    parts[1] += "; a new shell." if is_new else "."
    parts += [f"({printable(one, 200)}.)" for one in busy[:BUSY_SHOWN]]
    if ran.truncated is not None and not picture:
        parts.append(
            f"Shown are the first {ran.truncated.head_bytes} and the last {ran.truncated.tail_bytes} bytes; "
            f"{ran.truncated.omitted_bytes} between them are left out (pty_read_lines, pty_search)."
        )
    if ran.reason in {"timeout", "needs_input", "gap"}:
        parts.append(_waiting(ran) + onward(info, owner, ran.next_offset, marked=ran.via == "marks"))
    parts.append(drawn(picture) if picture else shown(ran.output, "output of the command"))
    return answer("\n".join(parts), values)


def _outcome(ran: api.Ran) -> str:
    match ran.reason:
        case "completed":
            code = "unknown" if ran.exit_code is None else str(ran.exit_code)
            return f"Exit code {code} after {seconds(ran.duration_ms)}."
        case "needs_input":
            return f"It waits for input, after {seconds(ran.duration_ms)}."
        case "exited":
            return f"The shell itself has exited, after {seconds(ran.duration_ms)}."
        case "gap":
            return "Output was lost before the end of the command was found in it."
    if not ran.started:
        return f"Nothing shows after {seconds(ran.duration_ms)} that the shell has taken the command."
    return f"Still running after {seconds(ran.duration_ms)}."


def _waiting(ran: api.Ran) -> str:
    if ran.alternate_screen:
        return "A full-screen program draws: press keys with pty_send_keys, look with pty_screen. "
    if ran.reason != "needs_input":
        return ""
    lines = [line for line in ran.output.split("\n") if line.strip()]
    asked = f"The last line is {printable(lines[-1], 200)!r}. " if lines else ""
    return asked + "Answer with pty_write; a secret with pty_send_secret, which asks a person for it. "


TOOLS: Final = (
    Tool(
        "pty_run",
        "Run a command line in bash and wait for its end: returns exit code, duration, directory and only its output, "
        "cleaned. Without session_id it runs in a shell of yours that keeps its directory and variables from call to "
        "call; while that one is busy, in a new one. After timeout_ms the command goes on and the answer says how to. "
        "Also returns when it waits for input. For programs with a screen of their own use pty_spawn.",
        Run,
        Ran,
        Hints("Run a command", destructive=True, open_world=True),
        "agent",
        run,
    ),
)
