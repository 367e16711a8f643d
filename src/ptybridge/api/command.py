"""Operations on the commands of a shell session: run one, list and get them, search what they printed."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import ClientId, ConfirmToken, Effect, Params, Result, SessionId, declare
from ptybridge.api.terminal import WRITE_ERRORS
from ptybridge.errors import Busy, CommandNotFound, Conflict, SessionNotFound
from ptybridge.model import Milliseconds, Offset

OutputBytes = Annotated[int, msgspec.Meta(ge=0, le=16 << 20)]


class Truncated(Result):
    """How many bytes of the output are given at its beginning and end, and how many are left out in between."""

    head_bytes: int
    tail_bytes: int
    omitted_bytes: int


class RunCommand(Params):
    """Run a command in a session's shell and wait for it: its exit code and its output only.

    The shell must be at its prompt, else `Busy` says what runs; `wait` waits for the prompt instead. Calls queue up.
    `timeout_ms` (null: none) counts from the call; at its end the command runs on. `needs_input` also returns when the
    command waits for input. `clean` removes escape sequences and folds progress bars. `via`: "marks" relies on shell
    integration, "markers" prints one before and after (for shells without, such as over ssh), "auto" chooses.
    """

    session_id: SessionId
    command: Annotated[str, msgspec.Meta(min_length=1, max_length=1 << 20)]
    timeout_ms: Milliseconds | None = 60_000
    max_output_bytes: OutputBytes = 65_536
    clean: bool = True
    wait: bool = False
    needs_input: bool = True
    via: Literal["auto", "marks", "markers"] = "auto"
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Ran(Result):
    """How it went. Only `completed` has an `exit_code`; otherwise read on from `next_offset`, or wait `command_done`.

    `number` is the command's for `command.get`. `truncated`: the middle of the output is left out, which a line of it
    says. `gap`: output was discarded before it was searched for the end. `started` false: nothing shows that the shell
    took the command. `alternate_screen`: a full-screen program draws; look at `session.screen`.
    """

    reason: Literal["completed", "timeout", "exited", "needs_input", "gap"]
    exit_code: int | None
    output: str
    truncated: Truncated | None
    duration_ms: int
    cwd: str | None
    number: int | None
    via: Literal["marks", "markers"]
    started: bool
    alternate_screen: bool
    offset: int
    next_offset: int


class Command(Result):
    """One command. `output_end` and what follows are null while it runs.

    `command` is null when the shell did not keep the line in its history. Not `trusted`: only unmarked output says so
    (a program, another machine), or there was no shell integration.
    """

    number: int
    command: str | None
    cwd: str | None
    offset: int
    output_start: int
    output_end: int | None
    exit_code: int | None
    started_at_ms: int
    ended_at_ms: int | None
    trusted: bool


class ListCommands(Params):
    """List a session's commands, newest first. `before` pages on: only numbers below it.

    `contains` keeps those whose line has it, `failed` those with an exit code other than 0, `trusted` the trusted ones.
    """

    session_id: SessionId
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    before: Annotated[int, msgspec.Meta(ge=1)] | None = None
    contains: str | None = None
    failed: bool = False
    trusted: bool = False


class Commands(Result):
    """Commands, newest first. `integration`: "off", "starting", or what the shell is at: "prompt" or "running".

    `untrusted_marks` counts marks that were printed without the session's nonce.
    """

    commands: list[Command]
    more: bool
    integration: Literal["off", "starting", "prompt", "running"]
    untrusted_marks: int


class GetCommand(Params):
    """Get one command of a session with what of its output is kept, the running one, too."""

    session_id: SessionId
    number: Annotated[int, msgspec.Meta(ge=1)]
    max_output_bytes: OutputBytes = 65_536
    clean: bool = True


class CommandOutput(Result):
    """A command and its output. `missed_bytes` of it, at the beginning, are not kept any more."""

    command: Command
    output: str
    truncated: Truncated | None
    missed_bytes: int


class Search(Params):
    """Search a session's kept output, as clean lines. A match is a line; `regex` makes `pattern` an RE2 expression.

    `ignore_case` is for both. `from_offset` begins there ("backward": goes back from there). `context_lines` are given
    before and after each match.
    """

    session_id: SessionId
    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
    regex: bool = False
    ignore_case: bool = False
    context_lines: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    max_matches: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    from_offset: Offset | None = None
    direction: Literal["forward", "backward"] = "forward"
    client_id: ClientId | None = None


class Match(Result):
    """A line that matches. `line` counts from 1 at `start_offset` of the result; the offsets are the line's."""

    line: int
    offset: int
    end_offset: int
    text: str
    before: list[str]
    after: list[str]


class Found(Result):
    """The matches in the order of the search. `more`: go on from `next_offset`. `start_offset`: where the output began.

    `missed_bytes`: so many bytes behind `from_offset` are not kept any more.
    """

    matches: list[Match]
    more: bool
    next_offset: int
    start_offset: int
    end_offset: int
    missed_bytes: int


R, M = Effect.READS, Effect.MUTATES
RUN: Final = declare(
    "command.run",
    RunCommand,
    Ran,
    scope="command:write",
    effect=M,
    since="0.1",
    errors=(*WRITE_ERRORS, Busy, Conflict),
    http="POST /v1/sessions/{session_id}/commands",
)
LIST: Final = declare(
    "command.list",
    ListCommands,
    Commands,
    scope="command:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound,),
    http="GET /v1/sessions/{session_id}/commands",
)
GET: Final = declare(
    "command.get",
    GetCommand,
    CommandOutput,
    scope="command:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound, CommandNotFound),
    http="GET /v1/sessions/{session_id}/commands/{number}",
)
SEARCH: Final = declare(
    "session.search",
    Search,
    Found,
    scope="session:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound,),
    http="POST /v1/sessions/{session_id}/search",
)
