"""Shared frozen values: sizes, exit status, session facts and the union of events.

Pure data, no behaviour beyond validation. On the wire durations and timestamps are integer milliseconds
(`_ms`), counts of bytes end in `_bytes`, offsets are absolute positions in a session's transcript.
"""

from typing import Annotated, Final, Literal, dataclass_transform

import msgspec

from ptybridge.errors import snake_case

Backend = Literal["pty", "pipes", "tmux"]
Encoding = Literal["text", "base64"]
Stream = Literal["stdout", "stderr"]
SessionState = Literal["running", "exited"]
ExitReason = Literal["exited", "signaled", "killed", "timeout", "idle", "closed", "lost"]
Access = Literal["read-only", "read-write", "control", "admin"]
Overflow = Literal["drain", "pause"]
SizePolicy = Literal["latest", "smallest", "largest", "manual"]
Mode = Literal["writer", "viewer"]
Level = Literal["read", "write", "full", "admin"]
# Stands in a grant for the session that this daemon shares, whichever that is at the moment; no id looks like it.
SHARED: Final = "@shared"

# A terminal of 0 columns breaks programs (division by zero in less, vim); beyond ~10,000 no emulator follows.
Cols = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


# Type checkers have to be told: msgspec inherits `frozen` and `kw_only`, plain dataclasses do not (PEP 681).
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the frozen values."""


class WindowSize(msgspec.Struct, frozen=True):
    """The size of a terminal in character cells."""

    rows: Rows
    cols: Cols


class ExitStatus(msgspec.Struct, frozen=True):
    """How a child ended: exactly one of `code` (0–255) and `signal` (e.g. "SIGKILL") is set, neither when unknown."""

    code: int | None = None
    signal: str | None = None


class Caution(Value):
    """What one client's settings say about dangerous commands, for the calls of its connection.

    `confirm_ttl_ms`: how long a confirmation is good. `patterns`: regular expressions (RE2) that find what is
    dangerous, in place of the judgement of the parse. `confirmed`: this call was confirmed in the client's own
    way, which its settings allow ("legacy" mode). `justified`: a reason came with this call.
    """

    confirm_ttl_ms: Milliseconds = 300_000
    patterns: tuple[str, ...] | None = None
    confirmed: bool = False
    justified: bool = False


class Grant(Value):
    """What a key or a login allows to whom; the secret that proves it is kept apart, and only as its hash.

    `principal` is whoever shows it. `parent_id`: the key a login was made with, which ends with it. Times are
    milliseconds since the epoch; without `expires_at_ms` it is good until it is revoked.
    """

    grant_id: str
    kind: Literal["key", "login"]
    name: str
    level: Level
    principal: str
    created_at_ms: int
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None
    parent_id: str | None = None
    session_ids: tuple[str, ...] | None = None


class Caller(Value):
    """Who makes a call: the authenticated principal, what it may do, and which connection it came through.

    `client_id` is a name the client gave itself, never a proof. `connection_id` is ours and unique. `profile` says
    what kind of client it is: None for people and scripts, "mcp" for AI agents; sessions they make are labelled so.
    `caution`: what the settings of its connection say about dangerous commands. `grant_id`: the key or login it has
    shown, None for the user at the socket. `session_ids`: the only sessions it may deal with, None for all.
    """

    principal: str
    connection_id: str
    scopes: frozenset[str] = frozenset({"*"})
    client_id: str | None = None
    pid: int | None = None
    profile: str | None = None
    caution: Caution = Caution()
    grant_id: str | None = None
    session_ids: tuple[str, ...] | None = None


# -- events -------------------------------------------------------------------------------------------------


class Event(Value, tag_field="type", tag=snake_case):
    """Base of everything `event.follow` reports. `number` grows by one per event and never repeats."""

    number: int
    time_ms: int
    session_id: str | None = None


class Created(Event):
    """A session was created."""

    name: str | None = None
    command: list[str] = []
    owner: str | None = None


class Exited(Event):
    """A session's child exited. With `output_closed` false something else still holds its terminal."""

    exit_code: int | None = None
    exit_signal: str | None = None
    exit_reason: ExitReason = "exited"
    end_offset: int = 0
    output_closed: bool = True


class OutputClosed(Event):
    """The output of an already exited session ended; nothing follows `end_offset`."""

    end_offset: int = 0


class Closed(Event):
    """A session was closed and is forgotten."""


class Attached(Event):
    """A client attached."""

    attachment_id: str = ""
    client_id: str = ""
    mode: Mode = "writer"


class Detached(Event):
    """A client detached, was removed, or its connection ended."""

    attachment_id: str = ""
    client_id: str = ""
    reason: str = "detached"


class LeaseChanged(Event):
    """A session's lease was acquired, released, handed over or taken over."""

    event: Literal["acquire", "release", "handoff", "takeover"] = "acquire"
    from_client_id: str | None = None
    to_client_id: str | None = None
    reason: str | None = None
    affected_session_ids: list[str] = []


class SecretRequested(Event):
    """Somebody asks a human for a secret; `ptybridge secrets` answers."""

    request_id: str = ""
    prompt: str = ""


class SecretAnswered(Event):
    """A request for a secret has ended, for whatever reason."""

    request_id: str = ""
    reason: Literal["provided", "denied", "timeout", "exited", "cancelled"] = "provided"


class Resized(Event):
    """A session's terminal got another size."""

    rows: int = 0
    cols: int = 0


class Title(Event):
    """A program set its terminal's title (control characters removed)."""

    title: str = ""


class Bell(Event):
    """A program rang the bell."""


class Notification(Event):
    """A program asked for a desktop notification (OSC 9, OSC 777); text without control characters."""

    title: str = ""
    body: str = ""


class Idle(Event):
    """Nothing was printed for `idle_ms`; one event per silence."""

    idle_ms: int = 0


class WaitingForInput(Event):
    """The foreground process is blocked reading the terminal and has printed nothing for half a second."""


class Updated(Event):
    """Labels or limits of a session changed."""

    name: str | None = None
    tags: list[str] = []


class ApprovalRequested(Event):
    """Somebody wants to do what a human has to allow. `matches`: which dangers it was found to have; never the command.

    `session_id`: the session whose input it would be, null when it is something new.
    """

    approval_id: str = ""
    operation: str = ""
    principal: str = ""
    client_id: str | None = None
    rule: str = ""
    matches: list[str] = []
    expires_at_ms: int = 0


class ApprovalDecided(Event):
    """What somebody asked for was allowed or denied, or nobody answered in time."""

    approval_id: str = ""
    principal: str = ""
    client_id: str | None = None
    verdict: Literal["allowed", "denied", "expired"] = "expired"
    decided_by: str | None = None
    reason: str | None = None


class Gap(Event):
    """Events were discarded before this follower could read them; `missed` says how many at least.

    0 after the daemon has been replaced: what happened just then may be missing.
    """

    missed: int = 0


AnyEvent = (
    Created
    | Exited
    | OutputClosed
    | Closed
    | Attached
    | Detached
    | LeaseChanged
    | SecretRequested
    | SecretAnswered
    | Resized
    | Title
    | Bell
    | Notification
    | Idle
    | WaitingForInput
    | Updated
    | ApprovalRequested
    | ApprovalDecided
    | Gap
)
