"""Operations on a session's input and output: write, read, wait, look."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import ClientId, ConfirmToken, Effect, Params, Result, SessionId, declare
from ptybridge.errors import (
    ConfirmationRejected,
    ConfirmationRequired,
    Conflict,
    Denied,
    InputClosed,
    InputFull,
    LeaseHeld,
    LineTooLong,
    RateLimited,
    SessionExited,
    SessionNotFound,
)
from ptybridge.model import Encoding, Milliseconds, Offset, Stream

WRITE_ERRORS = (
    SessionNotFound,
    SessionExited,
    Denied,
    LeaseHeld,
    InputClosed,
    InputFull,
    LineTooLong,
    RateLimited,
    ConfirmationRequired,
    ConfirmationRejected,
)
WaitReason = Literal["matched", "exited", "idle", "screen", "command_done", "needs_input", "timeout", "gap"]
Pattern = str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)]


class Write(Params):
    """Send input to a session, all of it or nothing.

    The answer means: checked and queued in order. `encoding` "base64" carries arbitrary bytes.
    `eof`: afterwards close the input of a pipes session, or send the terminal's end-of-file character.
    """

    session_id: SessionId
    data: str
    encoding: Encoding = "text"
    eof: bool = False
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Written(Result):
    """How many bytes were accepted.

    `queue_position`: how many pieces of input, anybody's, wait before this one because the program does not read; they
    are given to it in the order in which they were accepted. 0: it is the next, or has it already.
    """

    accepted_bytes: int
    queue_position: int = 0


class SendKeys(Params):
    """Press keys by name ("ctrl-c", "up", "f5", "alt-x", "enter"), encoded for the terminal's current modes."""

    session_id: SessionId
    keys: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1024)]
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Paste(Params):
    """Paste text as a terminal would: bracketed when the program asked for it, never able to end the bracket."""

    session_id: SessionId
    text: str
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Read(Params):
    """Read output at an offset, or from the caller's own position, which then moves on.

    `timeout_ms` 0 (default) answers at once, else waits until there is something. `stream` picks one of a pipes
    session's streams; `offset` then counts in that stream. Never raises for an old offset: `missed_bytes` tells.
    `max_chars` cuts a text after so many characters.
    """

    session_id: SessionId
    offset: Offset | None = None
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=16 << 20)] = 65536
    timeout_ms: Milliseconds = 0
    encoding: Encoding = "text"
    stream: Stream | None = None
    client_id: ClientId | None = None
    max_chars: Annotated[int, msgspec.Meta(ge=1, le=16 << 20)] | None = None


class Output(Result):
    """A piece of output. `lossy`: bytes that are not UTF-8 were replaced. `eof`: closed and read out."""

    data: str
    encoding: Encoding
    offset: int
    next_offset: int
    missed_bytes: int
    eof: bool
    lossy: bool


class ReadUntil(Params):
    """Read until a pattern appears; what follows the match is not consumed.

    `pattern`: a text or several (the earliest match wins); `regex` makes them RE2 expressions; `plain` matches with
    escape sequences removed. `timeout_ms` null waits for ever.
    """

    session_id: SessionId
    pattern: Pattern
    regex: bool = False
    plain: bool = False
    offset: Offset | None = None
    timeout_ms: Milliseconds | None = 10_000
    encoding: Encoding = "text"
    client_id: ClientId | None = None


class ReadUntilResult(Result):
    """Why the read ended, and what was read. `match` is the matched text, `pattern` the one that matched."""

    reason: Literal["matched", "exited", "timeout", "gap"]
    pattern: str | None
    match: str | None
    data: str
    encoding: Encoding
    offset: int
    next_offset: int
    missed_bytes: int
    lossy: bool


class Condition(Params):
    """What to wait for: exactly one of them. `regex` qualifies `pattern`.

    `command_done`: the shell is at its prompt and nothing runs (needs a session with shell integration).
    `needs_input`: the program has been silent for half a second and is blocked reading the terminal.
    """

    exit: bool = False
    pattern: str | None = None
    regex: bool = False
    idle_ms: Milliseconds | None = None
    screen: str | None = None
    command_done: bool = False
    needs_input: bool = False


Conditions = Annotated[list[Condition], msgspec.Meta(min_length=1, max_length=16)]


class Wait(Params):
    """Wait until one of several conditions holds.

    Patterns are looked for from the caller's position (or `offset`), `screen` in what is visible, `idle_ms` counts
    from the later of the last output and this call. `timeout_ms` null waits for ever.
    """

    session_id: SessionId
    until: Conditions
    offset: Offset | None = None
    timeout_ms: Milliseconds | None = None
    client_id: ClientId | None = None


class Waited(Result):
    """Why the wait ended; `condition` is the one that held, `offset` where (the end of the match, or of the log)."""

    reason: WaitReason
    condition: Condition | None
    offset: int
    match: str | None
    exit_code: int | None
    exit_signal: str | None


class Prompt(Params):
    """Write, then wait, in one call: nothing printed in between can be missed.

    `enter` presses Enter after the data. Without `until` it waits for 300 ms of silence or exit.
    """

    session_id: SessionId
    data: str
    encoding: Encoding = "text"
    enter: bool = True
    until: Conditions | None = None
    timeout_ms: Milliseconds | None = 10_000
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=16 << 20)] = 65536
    client_id: ClientId | None = None
    confirm_token: ConfirmToken | None = None


class Prompted(Result):
    """Why the wait ended and what was printed from the write up to there (at most `max_bytes`, the newest).

    The caller's position, which was at `unread_offset`, is at `offset` now.
    """

    reason: WaitReason
    condition: Condition | None
    data: str
    start_offset: int
    offset: int
    match: str | None
    exit_code: int | None
    exit_signal: str | None
    unread_offset: int = 0


class GetScreen(Params):
    """Show the screen as of an exact offset, and if asked lines of scrollback above it (the newest ones)."""

    session_id: SessionId
    format: Literal["text", "ansi", "html"] = "text"
    scrollback_lines: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0


class Cursor(Result):
    """Where the cursor is, counted from 0."""

    row: int
    col: int
    visible: bool


class ScreenPicture(Result):
    """The grid, one string a row, as it was when exactly the bytes before `offset` had been printed."""

    lines: list[str]
    scrollback: list[str]
    cursor: Cursor
    rows: int
    cols: int
    title: str
    alternate: bool
    offset: int


R, M = Effect.READS, Effect.MUTATES
WRITE: Final = declare(
    "session.write",
    Write,
    Written,
    scope="session:write",
    effect=M,
    since="0.1",
    errors=WRITE_ERRORS,
    http="POST /v1/sessions/{session_id}/input",
)
SEND_KEYS: Final = declare(
    "session.send_keys",
    SendKeys,
    Written,
    scope="session:write",
    effect=M,
    since="0.1",
    errors=WRITE_ERRORS,
    http="POST /v1/sessions/{session_id}/keys",
)
PASTE: Final = declare(
    "session.paste",
    Paste,
    Written,
    scope="session:write",
    effect=M,
    since="0.1",
    errors=WRITE_ERRORS,
    http="POST /v1/sessions/{session_id}/paste",
)
READ: Final = declare(
    "session.read",
    Read,
    Output,
    scope="session:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound,),
    http="GET /v1/sessions/{session_id}/output",
)
READ_UNTIL: Final = declare(
    "session.read_until",
    ReadUntil,
    ReadUntilResult,
    scope="session:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound,),
    http="POST /v1/sessions/{session_id}/read-until",
)
WAIT: Final = declare(
    "session.wait",
    Wait,
    Waited,
    scope="session:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound,),
    http="POST /v1/sessions/{session_id}/wait",
)
PROMPT: Final = declare(
    "session.prompt",
    Prompt,
    Prompted,
    scope="session:write",
    effect=M,
    since="0.1",
    errors=WRITE_ERRORS,
    http="POST /v1/sessions/{session_id}/prompt",
)
SCREEN: Final = declare(
    "session.screen",
    GetScreen,
    ScreenPicture,
    scope="session:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound, Conflict),
    http="GET /v1/sessions/{session_id}/screen",
)
