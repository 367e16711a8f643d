"""Being on a session: the stream of what it prints, and the duplex channel of a terminal."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.operation import ClientId, Params, Result, SessionId, declare_channel, declare_stream
from ptybridge.errors import Denied, LimitReached, SessionNotFound
from ptybridge.model import Cols, Encoding, ExitReason, Mode, Offset, Rows, SizePolicy, Stream


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
    """A piece of output; `stream` tells which of a pipes session's streams it came from."""

    data: str
    encoding: Encoding
    offset: int
    next_offset: int
    lossy: bool
    stream: Stream | None = None


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
    instead of a snapshot (to resume). `rows` and `cols` are the client's window. With `ack_window_bytes` no more output
    than that is sent beyond what the client has acknowledged, and the end waits for its last acknowledgement.
    With `marks` each snapshot is followed by MARKS: the lines in which the shell's commands begin, and their ends.
    """

    session_id: SessionId
    rows: Rows
    cols: Cols
    mode: Mode = "writer"
    offset: Offset | None = None
    scrollback_lines: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    ack_window_bytes: Annotated[int, msgspec.Meta(ge=4096, le=64 << 20)] | None = None
    client_id: ClientId | None = None
    marks: bool = False


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


FOLLOW: Final = declare_stream(
    "session.follow",
    Follow,
    Following,
    scope="session:read",
    since="0.1",
    events=(OutputEvent, GapEvent, ResizedEvent, ExitedEvent, OutputClosedEvent),
    errors=(SessionNotFound, LimitReached),
    http="GET /v1/sessions/{session_id}/events",
)
ATTACH: Final = declare_channel(
    "session.attach",
    Attach,
    AttachedResult,
    scope="session:read",
    since="0.1",
    errors=(SessionNotFound, LimitReached, Denied),
    http="GET /v1/sessions/{session_id}/attach",
)
