"""pty_exec: run one program to its end, without a shell session, its two outputs apart."""

import base64
from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api import exec as api
from ptybridge.api import session
from ptybridge.mcp.compat_common import Answered, Arguments, ClientId, ConfirmToken, connection
from ptybridge.mcp.connection import resolved
from ptybridge.mcp.tools_common import (
    SHOWN_BYTES,
    TIMEOUT_MS,
    AgentOwner,
    Cut,
    MaxBytes,
    answer,
    clean,
    cut_at_lines,
    owner_of,
    reporting,
    seconds,
)
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.mcp.untrusted import quoted

Argument = Annotated[list[str], msgspec.Meta(min_length=1)]
Streams = Literal["stdout", "stderr"]


class Exec(Arguments, kw_only=True):
    """Parameters of pty_exec."""

    command: Annotated[
        str | Argument, msgspec.Meta(description="a command line for bash, or a program and its arguments as a list")
    ]
    cwd: Annotated[str | None, msgspec.Meta(description="directory to start in; ~ is the home directory")] = None
    env: Annotated[dict[str, str | None] | None, msgspec.Meta(description="variables to set; null unsets one")] = None
    input: Annotated[str | None, msgspec.Meta(description="its standard input; without it there is none")] = None
    timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=24 * 3600 * 1000)] = TIMEOUT_MS
    on_timeout: Annotated[
        Literal["keep", "kill"], msgspec.Meta(description="at the time-out it goes on as a session, or is ended")
    ] = "keep"
    max_output_bytes: MaxBytes = SHOWN_BYTES
    owner: AgentOwner | None = None
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Ended(Answered, kw_only=True):
    """How it went. `session_id` is set when it goes on, or something that it has left behind."""

    exit_code: int | None
    exit_signal: str | None
    stdout: str
    stderr: str
    truncated: dict[Streams, Cut]
    duration_ms: int
    timed_out: bool
    session_id: str | None
    owner: str | None
    next_offset: int


async def run(ctx: Context, params: Exec) -> Answer:
    """Run a program."""
    here = connection(ctx)
    cwd = resolved(params.cwd, ctx.cwd, ctx.environ.get("HOME")) if params.cwd else here.default_cwd or ctx.cwd
    work = ctx.call(
        api.RUN,
        command=["bash", "-c", params.command] if isinstance(params.command, str) else params.command,
        cwd=cwd,
        env=params.env or {},
        caller_env=ctx.environ,
        input=params.input,
        encoding="base64",  # so that a cut can be put where it belongs, to the byte
        timeout_ms=params.timeout_ms,
        on_timeout=params.on_timeout,
        max_output_bytes=params.max_output_bytes,
        owner=owner_of(ctx, params.owner),
        client_id=params.client_id,
        confirm_token=params.confirm_token or None,
    )
    done = await reporting(ctx, work, session_id=None, start=0, timeout_ms=params.timeout_ms)
    owner = None
    if done.session_id is not None:
        owner = (await ctx.call(session.GET, session_id=done.session_id, detailed=False)).owner
    stdout, stdout_cut = _text(done.stdout, done.truncated.get("stdout"))
    stderr, stderr_cut = _text(done.stderr, done.truncated.get("stderr"))
    cuts: dict[Streams, Cut | None] = {"stdout": stdout_cut, "stderr": stderr_cut}
    values = Ended(
        exit_code=done.exit_code,
        exit_signal=done.exit_signal,
        stdout=stdout,
        stderr=stderr,
        truncated={name: cut for name, cut in cuts.items() if cut is not None},
        duration_ms=done.duration_ms,
        timed_out=done.timed_out,
        session_id=done.session_id,
        owner=owner,
        next_offset=done.next_offset,
    )
    return answer(_told(values), values)


def _text(encoded: str, cut: api.Cut | None) -> tuple[str, Cut | None]:
    data = base64.b64decode(encoded)
    if cut is None:
        return clean(data), None
    return cut_at_lines(data[: cut.head_bytes], data[cut.head_bytes :], cut.omitted_bytes)


def _told(values: Ended) -> str:
    after = f"after {seconds(values.duration_ms)}"
    if values.exit_code is not None:
        outcome = f"Exit code {values.exit_code} {after}."
    elif values.exit_signal is not None:
        outcome = f"Ended by {values.exit_signal} {after}" + (", at the time-out." if values.timed_out else ".")
    else:
        outcome = f"Still running {after}."
    parts = [outcome]
    if values.session_id is not None:
        about = f'"session_id": "{values.session_id}"' + (f', "owner": "{values.owner}"' if values.owner else "")
        parts.append(
            f'It goes on as a session. To wait on: pty_wait_for {{{about}, "exit": true}}; to read on: pty_read_at '
            f'{{{about}, "offset": {values.next_offset}}}; to end it: pty_close {{{about}}}.'
        )
    for name, text in (("stdout", values.stdout), ("stderr", values.stderr)):
        if text.strip():
            parts.append(quoted(text, name))
    if len(parts) == 1:
        parts.append("Nothing was printed.")
    return "\n".join(parts)


TOOLS: Final = (
    Tool(
        "pty_exec",
        "Run one program to its end, apart from any shell: exit code, standard output and standard error apart, both "
        "cleaned. No terminal, no questions: standard input is `input` and then ends. A list is executed as it is, "
        "without quoting. At the time-out it goes on as a session, unless on_timeout is kill. Cancelling the call "
        "ends the program.",
        Exec,
        Ended,
        Hints("Run a program", destructive=True, open_world=True),
        "agent",
        run,
    ),
)
