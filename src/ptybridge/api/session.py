"""Operations on sessions: create, read, write, wait, look, resize, signal, attach, close."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import (
    ClientId,
    Done,
    Effect,
    Params,
    Result,
    SessionId,
    declare,
    declare_channel,
    declare_stream,
)
from ptybridge.errors import (
    AttachmentNotFound,
    Conflict,
    InputClosed,
    InputFull,
    LimitReached,
    LineTooLong,
    NameTaken,
    OutOfDescriptors,
    OutOfTerminals,
    RateLimited,
    SessionExited,
    SessionNotFound,
    SpawnFailed,
)
from ptybridge.model import (
    Access,
    Backend,
    Cols,
    Encoding,
    ExitReason,
    Milliseconds,
    Mode,
    Offset,
    Overflow,
    Rows,
    SessionState,
    SizePolicy,
    Stream,
)

WRITE_ERRORS = (SessionNotFound, SessionExited, InputClosed, InputFull, LineTooLong, RateLimited)
SPAWN_ERRORS = (SpawnFailed, OutOfTerminals, OutOfDescriptors, NameTaken, LimitReached)

# Below 64 KiB a ring holds less than one read of a pipe; above 1 GiB a session could exhaust the machine alone.
OutputBytes = Annotated[int, msgspec.Meta(ge=64 * 1024, le=1 << 30)]
Rate = Annotated[int, msgspec.Meta(ge=1, le=1 << 40, description="bytes per second")]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Tags = Annotated[list[Label], msgspec.Meta(max_length=64)]
Pattern = str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)]


class Foreground(Result):
    """The process group that has the terminal."""

    pid: int
    name: str
    command: list[str]
    flow_stopped: bool


class StreamOffsets(Result):
    """The offsets one stream of a pipes session has of its own."""

    start_offset: int
    end_offset: int


class Attachment(Result):
    """One client on a session. `rendered`: its window differs from the session's, so it gets cropped pictures."""

    attachment_id: str
    client_id: str
    mode: Mode
    rows: int
    cols: int
    rendered: bool
    lag_bytes: int
    attached_at_ms: int
    pid: int | None


class SessionInfo(Result):
    """Everything about a session. Times are milliseconds since the epoch, offsets positions in its transcript."""

    session_id: str
    name: str | None
    owner: str | None
    created_by: str
    tags: list[str]
    access: Access
    backend: Backend
    command: list[str]
    cwd: str
    pid: int
    pgid: int
    state: SessionState
    exit_code: int | None
    exit_signal: str | None
    exit_reason: ExitReason | None
    output_closed: bool
    rows: int
    cols: int
    window_size_policy: SizePolicy
    title: str
    created_at_ms: int
    last_active_at_ms: int
    exited_at_ms: int | None
    start_offset: int
    end_offset: int
    bytes_read: int
    bytes_written: int
    waiting_for_input: bool
    foreground: Foreground | None
    clients: list[Attachment]
    streams: dict[str, StreamOffsets] | None
    overflow: Overflow
    max_output_bytes: int
    idle_timeout_ms: int | None
    max_runtime_ms: int | None
    linger_ms: int
    input_bytes_per_second: int | None
    output_bytes_per_second: int | None


class Create(Params):
    """Start a program as a session.

    `command`: a string runs as `$SHELL -c`, a list as it is, without one the user's shell starts.
    `env`: variables set by name over the daemon's clean base; null unsets one.
    `caller_env`: the caller's own environment, below `env`; what must not be inherited (LD_* and such) is left out.
    `overflow`: "pause" stops the child while a live reader lags, "drain" (default) lets it run on.
    `linger_ms`: how long after the child's exit its output is awaited when something else holds the terminal.
    """

    command: str | list[str] | None = None
    backend: Literal["pty", "pipes"] = "pty"
    cwd: str | None = None
    env: dict[str, str | None] | None = None
    caller_env: dict[str, str] | None = None
    cols: Cols = 120
    rows: Rows = 30
    name: Label | None = None
    owner: Label | None = None
    tags: Tags = []
    access: Access = "admin"
    max_output_bytes: OutputBytes = 1 << 20
    overflow: Overflow = "drain"
    echo: bool = True
    window_size_policy: SizePolicy = "latest"
    idle_timeout_ms: Milliseconds | None = None
    max_runtime_ms: Milliseconds | None = None
    linger_ms: Milliseconds = 500
    input_bytes_per_second: Rate | None = None
    output_bytes_per_second: Rate | None = None
    client_id: ClientId | None = None


class List(Params):
    """List sessions, oldest first; filters narrow the list."""

    owner: Label | None = None
    tag: Label | None = None
    state: SessionState | None = None


class Sessions(Result):
    """Sessions, oldest first."""

    sessions: list[SessionInfo]


class Get(Params):
    """Tell everything about a session."""

    session_id: SessionId


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


class Written(Result):
    """How many bytes were accepted."""

    accepted_bytes: int


class SendKeys(Params):
    """Press keys by name ("ctrl-c", "up", "f5", "alt-x", "enter"), encoded for the terminal's current modes."""

    session_id: SessionId
    keys: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1024)]
    client_id: ClientId | None = None


class Paste(Params):
    """Paste text as a terminal would: bracketed when the program asked for it, never able to end the bracket."""

    session_id: SessionId
    text: str
    client_id: ClientId | None = None


class Read(Params):
    """Read output at an offset, or from the caller's own position, which then moves on.

    `timeout_ms` 0 (default) answers at once, else waits until there is something. `stream` picks one of a pipes
    session's streams; `offset` then counts in that stream. Never raises for an old offset: `missed_bytes` tells.
    """

    session_id: SessionId
    offset: Offset | None = None
    max_bytes: Annotated[int, msgspec.Meta(ge=1, le=16 << 20)] = 65536
    timeout_ms: Milliseconds = 0
    encoding: Encoding = "text"
    stream: Stream | None = None
    client_id: ClientId | None = None


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
    """What to wait for: exactly one of `exit`, `pattern`, `idle_ms`, `screen`. `regex` qualifies `pattern`."""

    exit: bool = False
    pattern: str | None = None
    regex: bool = False
    idle_ms: Milliseconds | None = None
    screen: str | None = None


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

    reason: Literal["matched", "exited", "idle", "screen", "timeout", "gap"]
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


class Prompted(Result):
    """Why the wait ended and what was printed from the write up to there (at most `max_bytes`, the newest)."""

    reason: Literal["matched", "exited", "idle", "screen", "timeout", "gap"]
    condition: Condition | None
    data: str
    start_offset: int
    offset: int
    match: str | None
    exit_code: int | None
    exit_signal: str | None


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


class Resize(Params):
    """Set a session's size and, if given, its size policy.

    Under "smallest" and "largest" the attached windows decide, so a size is refused while there are any.
    """

    session_id: SessionId
    cols: Cols | None = None
    rows: Rows | None = None
    policy: SizePolicy | None = None
    client_id: ClientId | None = None


class Size(Result):
    """The size a session now has."""

    rows: int
    cols: int
    window_size_policy: SizePolicy


class Signal(Params):
    """Send a signal by name ("SIGINT", "TERM"), past all queued input.

    `target`: "foreground" is the terminal's foreground process group, "session" every process of the session.
    """

    session_id: SessionId
    signal: str
    target: Literal["foreground", "session"] = "foreground"
    client_id: ClientId | None = None


class Update(Params):
    """Change labels and limits. Fields left out stay; null removes a limit or a name."""

    session_id: SessionId
    name: Label | msgspec.UnsetType | None = msgspec.UNSET
    owner: Label | msgspec.UnsetType | None = msgspec.UNSET
    tags: Tags | msgspec.UnsetType = msgspec.UNSET
    access: Access | msgspec.UnsetType = msgspec.UNSET
    overflow: Overflow | msgspec.UnsetType = msgspec.UNSET
    idle_timeout_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    max_runtime_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    input_bytes_per_second: Rate | msgspec.UnsetType | None = msgspec.UNSET
    output_bytes_per_second: Rate | msgspec.UnsetType | None = msgspec.UNSET


class Close(Params):
    """End a session's processes (hang-up, then terminate, then kill, `grace_ms` apart) and forget the session."""

    session_id: SessionId
    grace_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 1500


class ClosedResult(Result):
    """What it took: the signals sent, and processes that outlived even those (in uninterruptible sleep)."""

    session_id: str
    signals: list[str]
    survivors: list[int]
    exit_code: int | None
    exit_signal: str | None
    end_offset: int


class CloseAll(Params):
    """Close all sessions, or those with an owner or tag. `exited_only` keeps the running ones."""

    owner: Label | None = None
    tag: Label | None = None
    exited_only: bool = False
    grace_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 1500


class ClosedAll(Result):
    """What each close took."""

    closed: list[ClosedResult]


class Kick(Params):
    """Remove an attachment from a session; its client is told and detaches."""

    session_id: SessionId
    attachment_id: str
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Follow(Params):
    """Follow a session: output from an offset on, then live; gaps, sizes and the exit in order.

    Without `offset` from the start of what is kept; `encoding` as for `session.read`.
    """

    session_id: SessionId
    offset: Offset | None = None
    encoding: Encoding = "text"
    client_id: ClientId | None = None


class Following(Result):
    """The stream is open and begins at `offset`."""

    offset: int
    rows: int
    cols: int


class OutputEvent(Result, tag_field="type", tag="output"):
    """A piece of output."""

    data: str
    encoding: Encoding
    offset: int
    next_offset: int
    lossy: bool


class GapEvent(Result, tag_field="type", tag="gap"):
    """Output that was discarded before this follower could read it."""

    from_offset: int
    to_offset: int


class ResizedEvent(Result, tag_field="type", tag="resized"):
    """The terminal has another size from `offset` on."""

    rows: int
    cols: int
    offset: int


class ExitedEvent(Result, tag_field="type", tag="exited"):
    """The child exited; with `output_closed` false more output may follow."""

    exit_code: int | None
    exit_signal: str | None
    exit_reason: ExitReason
    end_offset: int
    output_closed: bool


class OutputClosedEvent(Result, tag_field="type", tag="output_closed"):
    """The output of an already exited session ended."""

    end_offset: int


class Attach(Params):
    """Be on a session: its exact screen, then everything live; input, sizes and acknowledgements go the other way.

    Answers once and then becomes binary frames (docs/protocol.md). With `offset` the raw output from there is sent
    instead of a snapshot (to resume). `rows` and `cols` are the client's window.
    """

    session_id: SessionId
    rows: Rows
    cols: Cols
    mode: Mode = "writer"
    offset: Offset | None = None
    scrollback_lines: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    client_id: ClientId | None = None


class AttachedResult(Result):
    """The attachment; what follows are binary frames."""

    attachment_id: str
    session_id: str
    name: str | None
    mode: Mode
    rows: int
    cols: int
    window_size_policy: SizePolicy
    offset: int


R, M, D = Effect.READS, Effect.MUTATES, Effect.DESTROYS

CREATE: Final = declare(
    "session.create",
    Create,
    SessionInfo,
    scope="session:create",
    effect=M,
    since="0.1",
    errors=SPAWN_ERRORS,
    http="POST /v1/sessions",
)
LIST: Final = declare(
    "session.list", List, Sessions, scope="session:read", effect=R, since="0.1", http="GET /v1/sessions"
)
GET: Final = declare(
    "session.get",
    Get,
    SessionInfo,
    scope="session:read",
    effect=R,
    since="0.1",
    errors=(SessionNotFound,),
    http="GET /v1/sessions/{session_id}",
)
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
RESIZE: Final = declare(
    "session.resize",
    Resize,
    Size,
    scope="session:control",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, Conflict),
    http="POST /v1/sessions/{session_id}/size",
)
SIGNAL: Final = declare(
    "session.signal",
    Signal,
    Done,
    scope="session:control",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, SessionExited),
    http="POST /v1/sessions/{session_id}/signal",
)
UPDATE: Final = declare(
    "session.update",
    Update,
    SessionInfo,
    scope="session:admin",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, NameTaken),
    http="PATCH /v1/sessions/{session_id}",
)
CLOSE: Final = declare(
    "session.close",
    Close,
    ClosedResult,
    scope="session:control",
    effect=D,
    since="0.1",
    errors=(SessionNotFound,),
    http="DELETE /v1/sessions/{session_id}",
)
CLOSE_ALL: Final = declare(
    "session.close_all", CloseAll, ClosedAll, scope="session:admin", effect=D, since="0.1", http="DELETE /v1/sessions"
)
KICK: Final = declare(
    "session.kick",
    Kick,
    Done,
    scope="session:control",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, AttachmentNotFound),
    http="DELETE /v1/sessions/{session_id}/attachments/{attachment_id}",
)
FOLLOW: Final = declare_stream(
    "session.follow",
    Follow,
    Following,
    scope="session:read",
    since="0.1",
    events=(OutputEvent, GapEvent, ResizedEvent, ExitedEvent, OutputClosedEvent),
    errors=(SessionNotFound,),
    http="GET /v1/sessions/{session_id}/events",
)
ATTACH: Final = declare_channel(
    "session.attach",
    Attach,
    AttachedResult,
    scope="session:read",
    since="0.1",
    errors=(SessionNotFound,),
    http="GET /v1/sessions/{session_id}/attach",
)
