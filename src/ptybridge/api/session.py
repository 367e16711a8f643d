"""Operations on sessions as a whole: create, list, size, signal, label, close."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.lease import LeaseInfo
from ptybridge.api.operation import ClientId, ConfirmToken, Done, Effect, Params, Result, SessionId, declare
from ptybridge.config import AbsolutePath
from ptybridge.errors import (
    AttachmentNotFound,
    ConfirmationRejected,
    ConfirmationRequired,
    Conflict,
    Denied,
    LeaseHeld,
    LimitReached,
    NameTaken,
    OutOfDescriptors,
    OutOfTerminals,
    SessionExited,
    SessionNotFound,
    SpawnFailed,
    Unavailable,
    UnsafePath,
)
from ptybridge.model import (
    Access,
    Backend,
    Cols,
    ExitReason,
    Milliseconds,
    Mode,
    Overflow,
    Rows,
    SessionState,
    SizePolicy,
)

SPAWN_ERRORS = (SpawnFailed, OutOfTerminals, OutOfDescriptors, NameTaken, LimitReached, Unavailable, UnsafePath)
# What the policy may say to whoever starts something.
POLICY_ERRORS = (Denied, ConfirmationRequired, ConfirmationRejected)
# Below 64 KiB a ring holds less than one read of a pipe; above 1 GiB a session could exhaust the machine alone.
OutputBytes = Annotated[int, msgspec.Meta(ge=64 * 1024, le=1 << 30)]
Rate = Annotated[int, msgspec.Meta(ge=1, le=1 << 40, description="bytes per second")]
MaxClients = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Tags = Annotated[list[Label], msgspec.Meta(max_length=64)]


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
    """Everything about a session. Times are milliseconds since the epoch, offsets positions in its transcript.

    `shell_integration` tells what a shell with marks is at; `current_cwd` is its directory now, `cwd` where it started.
    `log_dir` is where this session's log lies. `shared`: it is the one that `share.join` leads to.
    """

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
    keep_ms: int | None = None
    profile: str | None = None
    shell_integration: Literal["off", "starting", "prompt", "running"] = "off"
    current_cwd: str | None = None
    running_command: str | None = None
    workspace: str | None = None
    recovered_at_ms: int | None = None
    lease: LeaseInfo | None = None
    log_dir: str | None = None
    unattended_timeout_ms: int | None = None
    max_clients: int | None = None
    shared: bool = False


class Create(Params):
    """Start a program as a session.

    `command`: a string runs as `$SHELL -c`, a list as it is, without one the user's shell starts, or, over the web,
    what `serve -c` has named.
    `env`: variables set by name over the daemon's clean base; null unsets one.
    `caller_env`: the caller's own environment, below `env`; what must not be inherited (LD_* and such) is left out.
    `overflow`: "pause" stops the child while a live reader lags, "drain" (default) lets it run on. Live are
    attachments, followers, waits for a pattern, and who has read from a position of its own within 10 s.
    `shell_integration`: "auto" lets an interactive bash, zsh or fish tell where commands begin and end.
    `backend`: "tmux" runs it in a private tmux server, where it outlives the daemon; see docs/tmux.md.
    `linger_ms`: how long after the child's exit its output is awaited when something else holds the terminal.
    `log_dir`: an absolute path; below it the session's log gets a directory named after the session. "" for no log,
    null for what the daemon is configured to do.
    `keep_ms`: how long the exited session is kept after its last use; null: as long as the daemon keeps exited ones.
    `unattended_timeout_ms`: it ends when for so long nobody was attached to it, followed, read or wrote it, whatever
    it prints. `max_clients`: no more than these may be attached or follow at once, its creator apart.
    `workspace`: sessions of one workspace and owner belong together: their leases to one client, and those in
    tmux share a tmux session and are recovered together.
    """

    command: str | list[str] | None = None
    backend: Backend = "pty"
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
    shell_integration: Literal["auto", "off"] = "auto"
    window_size_policy: SizePolicy = "latest"
    idle_timeout_ms: Milliseconds | None = None
    max_runtime_ms: Milliseconds | None = None
    linger_ms: Milliseconds = 500
    input_bytes_per_second: Rate | None = None
    output_bytes_per_second: Rate | None = None
    client_id: ClientId | None = None
    keep_ms: Milliseconds | None = None
    workspace: Label | None = None
    log_dir: AbsolutePath | None = None
    confirm_token: ConfirmToken | None = None
    unattended_timeout_ms: Milliseconds | None = None
    max_clients: MaxClients | None = None


class List(Params):
    """List sessions, oldest first; filters narrow the list. `profile` is the kind of client that made them ("mcp")."""

    owner: Label | None = None
    tag: Label | None = None
    state: SessionState | None = None
    name: Label | None = None
    profile: Label | None = None
    workspace: Label | None = None


class Sessions(Result):
    """Sessions, oldest first."""

    sessions: list[SessionInfo]


class Get(Params):
    """Tell everything about a session. `detailed` false spares the look at its processes (`foreground`)."""

    session_id: SessionId
    detailed: bool = True


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
    """Change labels and limits. Fields left out stay; null removes a limit or a name.

    The creator may do so whatever the session's access; others need "admin". A leased session cannot be moved into
    a workspace whose leases another client holds.
    """

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
    keep_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    unattended_timeout_ms: Milliseconds | msgspec.UnsetType | None = msgspec.UNSET
    max_clients: MaxClients | msgspec.UnsetType | None = msgspec.UNSET
    client_id: ClientId | None = None
    workspace: Label | msgspec.UnsetType | None = msgspec.UNSET


Background = Literal["end", "leave", "all"]


class Close(Params):
    """End a session's processes (hang-up, then terminate, then kill, `grace_ms` apart) and forget the session.

    `background` says what becomes of the rest: "end" ends all that is still in the session, and of agents' sessions
    also what has left it (`setsid`, a double fork); "all" ends both of any session; "leave" spares what has left it,
    and what a program that has exited has left running, as a shell would.
    Its creator may do so whatever its access; others need "control". Refused while another client has the lease.
    """

    session_id: SessionId
    grace_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 1500
    background: Background = "end"
    client_id: ClientId | None = None


class ClosedResult(Result):
    """What it took: the signals sent; processes that outlived even those (in uninterruptible sleep) or were left.

    `escaped` are those that had left the session and run on, as far as they can be known: by their parents, or by the
    environment they began with.
    """

    session_id: str
    signals: list[str]
    survivors: list[int]
    exit_code: int | None
    exit_signal: str | None
    end_offset: int
    escaped: list[int] = []


class CloseAll(Params):
    """Close all sessions, or those with an owner or tag, leased ones too. `exited_only` keeps the running ones.

    `background` as for `session.close`.
    """

    owner: Label | None = None
    tag: Label | None = None
    exited_only: bool = False
    grace_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 1500
    background: Background = "end"


class ClosedAll(Result):
    """What each close took."""

    closed: list[ClosedResult]


class Kick(Params):
    """Remove an attachment from a session; its client is told and detaches."""

    session_id: SessionId
    attachment_id: str
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


R, M, D = Effect.READS, Effect.MUTATES, Effect.DESTROYS
CREATE: Final = declare(
    "session.create",
    Create,
    SessionInfo,
    scope="session:create",
    effect=M,
    since="0.1",
    errors=(*SPAWN_ERRORS, *POLICY_ERRORS),
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
RESIZE: Final = declare(
    "session.resize",
    Resize,
    Size,
    scope="session:control",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, Conflict, Denied, LeaseHeld),
    http="POST /v1/sessions/{session_id}/size",
)
SIGNAL: Final = declare(
    "session.signal",
    Signal,
    Done,
    scope="session:control",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, SessionExited, Denied, LeaseHeld),
    http="POST /v1/sessions/{session_id}/signal",
)
UPDATE: Final = declare(
    "session.update",
    Update,
    SessionInfo,
    scope="session:admin",
    effect=M,
    since="0.1",
    errors=(SessionNotFound, NameTaken, Denied, LeaseHeld),
    http="PATCH /v1/sessions/{session_id}",
)
CLOSE: Final = declare(
    "session.close",
    Close,
    ClosedResult,
    scope="session:control",
    effect=D,
    since="0.1",
    errors=(SessionNotFound, Denied, LeaseHeld),
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
    errors=(SessionNotFound, AttachmentNotFound, Denied),
    http="DELETE /v1/sessions/{session_id}/attachments/{attachment_id}",
)
