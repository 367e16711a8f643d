"""Operations that run one program to its end, apart from any shell session: result in one answer, or as it comes."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.attach import ExitedEvent, OutputEvent, ResizedEvent
from ptybridge.api.operation import ClientId, ConfirmToken, Effect, Params, Result, declare, declare_stream
from ptybridge.api.session import SPAWN_ERRORS, Label, Tags
from ptybridge.api.terminal import WRITE_ERRORS
from ptybridge.model import Cols, Encoding, Milliseconds, Rows

# An answer is one line of JSON; base64 makes 4 bytes of 3 and a request may have 24 MiB.
KeptBytes = Annotated[int, msgspec.Meta(ge=0, le=16 << 20, description="bytes kept of each stream")]


class _Program(Params):
    """What both ways of running a program take."""

    command: str | list[str]
    cwd: str | None = None
    env: dict[str, str | None] | None = None
    caller_env: dict[str, str] | None = None
    input: str | None = None
    input_encoding: Encoding = "text"
    encoding: Encoding = "text"
    timeout_ms: Milliseconds | None = None
    on_timeout: Literal["kill", "keep"] = "kill"
    pty: bool = False
    cols: Cols = 120
    rows: Rows = 30
    owner: Label | None = None
    tags: Tags = []
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Run(_Program):
    """Run a program to its end and answer with its status, its standard output and its standard error.

    `command`, `cwd`, `env`, `caller_env` as for `session.create`. Its input is `input` and then ends.
    With `pty` it has a terminal, whose output is all `stdout`. Of each stream at most `max_output_bytes` are kept,
    the first and the last; `truncated` tells of every stream that was longer.
    When `timeout_ms` have passed, "kill" ends everything it has started (hang-up, terminate, kill, a second apart);
    "keep" leaves it running as the session `session_id`, whose output goes on at `next_offset`.
    A cancelled call, or a connection that ends, ends the program. What a finished program has left in the background
    is left alone.
    """

    max_output_bytes: KeptBytes = 1 << 20


class Cut(Result):
    """A stream that was longer than what is kept: its first and its last bytes, and how many between them are not."""

    head_bytes: int
    tail_bytes: int
    omitted_bytes: int


class RunResult(Result):
    """How it went. `stdout` and `stderr` are head and tail without anything between them where `truncated` says so.

    `exit_code` and `exit_signal` are null while it still runs; `lossy`: bytes that are not UTF-8 were replaced.
    `session_id` is set when a session is left: it was kept, or something in the background holds its output open.
    `signals`: what it took to end it. `unattributed_bytes` were printed so interleaved that their stream is not known.
    """

    exit_code: int | None
    exit_signal: str | None
    stdout: str
    stderr: str
    encoding: Encoding
    lossy: bool
    truncated: dict[Literal["stdout", "stderr"], Cut]
    unattributed_bytes: int
    duration_ms: int
    timed_out: bool
    signals: list[str]
    session_id: str | None
    next_offset: int


class Stream(_Program):
    """Run a program and send its output while it runs, streams apart and in order; the last event is its end.

    Parameters as for `exec.run`. The program waits while its reader lags, so nothing is lost. Cancelling the stream
    ends the program.
    """


class Streaming(Result):
    """It runs, as a session: `session.write`, `send_keys` and `signal` reach it."""

    session_id: str
    pid: int
    offset: int


class FinishedEvent(Result, tag_field="type", tag="finished"):
    """Nothing follows. `session_id` is set when a session is left, as for `exec.run`."""

    exit_code: int | None
    exit_signal: str | None
    duration_ms: int
    timed_out: bool
    signals: list[str]
    session_id: str | None


RUN: Final = declare(
    "exec.run",
    Run,
    RunResult,
    scope="exec:create",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*SPAWN_ERRORS, *WRITE_ERRORS),
    http="POST /v1/exec",
)
STREAM: Final = declare_stream(
    "exec.stream",
    Stream,
    Streaming,
    events=(OutputEvent, ResizedEvent, ExitedEvent, FinishedEvent),
    scope="exec:create",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*SPAWN_ERRORS, *WRITE_ERRORS),
    http="POST /v1/exec/stream",
)
