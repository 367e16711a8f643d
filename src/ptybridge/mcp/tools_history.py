"""pty_history: which commands ran in a shell session, how they ended, and what one of them printed."""

import time
from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api import command as api
from ptybridge.mcp.compat_common import Answered, session_of
from ptybridge.mcp.tools_common import SHOWN_BYTES, Cut, Here, MaxBytes, answer, seconds, shown
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.mcp.untrusted import quoted
from ptybridge.text import printable

Number = Annotated[int, msgspec.Meta(ge=1)]


class History(Here, kw_only=True):
    """Parameters of pty_history."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    before: Annotated[Number | None, msgspec.Meta(description="only commands with a lower number, to page on")] = None
    contains: Annotated[str | None, msgspec.Meta(description="only commands with this text in them")] = None
    failed: Annotated[bool, msgspec.Meta(description="only those with an exit code other than 0")] = False
    number: Annotated[Number | None, msgspec.Meta(description="this command alone, with its output")] = None
    max_output_bytes: MaxBytes = SHOWN_BYTES


class Command(Answered, kw_only=True):
    """One command. Not `trusted`: only output says so, which any program can print."""

    number: int
    command: str | None
    cwd: str | None
    exit_code: int | None
    running: bool
    duration_ms: int
    started_at_ms: int
    output_start: int
    output_end: int | None
    trusted: bool


class Commands(Answered, kw_only=True):
    """Commands, the newest first; of one asked for by its number also the output."""

    commands: list[Command]
    more: bool
    integration: Literal["off", "starting", "prompt", "running"]
    output: str | None = None
    truncated: Cut | None = None
    missed_bytes: int = 0


async def history(ctx: Context, params: History) -> Answer:
    """List commands, or show one."""
    info = await session_of(ctx, params)
    if params.number is not None:
        one = await ctx.call(
            api.GET,
            session_id=info.session_id,
            number=params.number,
            max_output_bytes=params.max_output_bytes,
        )
        values = Commands(
            commands=[_command(one.command)],
            more=False,
            integration=info.shell_integration,
            output=one.output,
            truncated=Cut(**msgspec.structs.asdict(one.truncated)) if one.truncated else None,
            missed_bytes=one.missed_bytes,
        )
        missed = f" Its first {one.missed_bytes} bytes are no longer kept." if one.missed_bytes else ""
        head = quoted(_line(values.commands[0]), f"command {params.number} of session {info.session_id}")
        return answer(f"{head.rstrip()}{missed}\n{shown(one.output, 'its output')}", values)
    found = await ctx.call(
        api.LIST,
        session_id=info.session_id,
        limit=params.limit,
        before=params.before,
        contains=params.contains,
        failed=params.failed,
    )
    values = Commands(
        commands=[_command(one) for one in found.commands], more=found.more, integration=found.integration
    )
    if not values.commands:
        none = "No such command is known" if params.failed or params.contains or params.before else "None is known"
        off = (
            " This session's program does not tell where commands begin and end." if found.integration == "off" else ""
        )
        return answer(f"{none}.{off}", values)
    more = f" There are more: before {values.commands[-1].number}." if found.more else ""
    listed = quoted("\n".join(map(_line, values.commands)), f"commands of session {info.session_id}")
    return answer(f"{len(values.commands)} commands, the newest first.{more}\n{listed}", values)


def _command(one: api.Command) -> Command:
    ended = one.ended_at_ms if one.ended_at_ms is not None else int(time.time() * 1000)
    return Command(
        number=one.number,
        command=one.command,
        cwd=one.cwd,
        exit_code=one.exit_code,
        running=one.output_end is None,
        duration_ms=max(0, ended - one.started_at_ms),
        started_at_ms=one.started_at_ms,
        output_start=one.output_start,
        output_end=one.output_end,
        trusted=one.trusted,
    )


def _line(one: Command) -> str:
    code = "running for" if one.running else f"exit code {'?' if one.exit_code is None else one.exit_code} after"
    span = f"output {one.output_start}-{'' if one.output_end is None else one.output_end}"
    where = f" in {printable(one.cwd, 120)}" if one.cwd else ""
    doubt = "" if one.trusted else " (only its output says so)"
    text = "(not in the shell's history)" if one.command is None else printable(one.command, 500)
    return f"{one.number}. {text}: {code} {seconds(one.duration_ms)}{where}, {span}{doubt}"


TOOLS: Final = (
    Tool(
        "pty_history",
        "The commands that ran in a shell session, the newest first, with exit codes, directories, durations and the "
        "offsets of their output; yours and those a person typed. With `number` one command and its output, also "
        "while it runs.",
        History,
        Commands,
        Hints("Look at past commands", read_only=True, idempotent=True),
        "agent",
        history,
    ),
)
