"""The frames of an attached connection: big-endian u8 type, u32 payload length, payload.

`session.attach` on the socket answers once in JSON, then both directions carry these frames; the WebSocket carries
the same, one or more per binary message. Offsets are u64 positions in the session's transcript.

For the future: frames of unknown type are skipped; in known ones, bytes after the fields given here (of frames that
do not end in data) and unknown keys (of JSON payloads) are ignored. So new things can be added, and nothing changed.
"""

import struct
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from ptybridge.errors import InvalidRequest, PtybridgeError, RequestTooLarge
from ptybridge.mistakes import misread

# As for a JSON line: room for the largest input, and for any snapshot.
MAX_FRAME_BYTES: Final = 24 << 20
HEAD_BYTES: Final = 5

# RESIZED.flags
RENDERED_FRAMES: Final = 1


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Base of the frames. `type` is the number on the wire."""

    type: ClassVar[int] = 0


# -- client → server ----------------------------------------------------------------------------------------


class Input(Frame, frozen=True, gc=False):
    """Bytes for the child, from a writer."""

    type: ClassVar[int] = 0x01
    data: bytes


class Resize(Frame, frozen=True, gc=False):
    """The client's window has this size. Any u16 can come: the receiver clamps."""

    type: ClassVar[int] = 0x02
    rows: int
    cols: int


class Ack(Frame, frozen=True, gc=False):
    """The client has shown everything before `offset`."""

    type: ClassVar[int] = 0x03
    offset: int


class Detach(Frame, frozen=True, gc=False):
    """The client leaves; DETACHED is the answer and the last frame."""

    type: ClassVar[int] = 0x04


# -- server → client ----------------------------------------------------------------------------------------


class Output(Frame, frozen=True, gc=False):
    """Bytes of the transcript; the first is at `offset`."""

    type: ClassVar[int] = 0x11
    offset: int
    data: bytes


class Snapshot(Frame, frozen=True, gc=False):
    """Escape sequences that make a cleared terminal of this size show the screen as of `offset`."""

    type: ClassVar[int] = 0x12
    offset: int
    rows: int
    cols: int
    data: bytes


class Rendered(Frame, frozen=True, gc=False):
    """Escape sequences that draw, for a client of another size, what it can see of the screen as of `offset`."""

    type: ClassVar[int] = 0x13
    offset: int
    data: bytes


class Gap(Frame, frozen=True, gc=False):
    """Output between the offsets `start` (incl.) and `end` (excl.) was discarded before this client took it."""

    type: ClassVar[int] = 0x14
    start: int
    end: int


class Resized(Frame, frozen=True, gc=False):
    """The session's terminal has this size. With `RENDERED_FRAMES` in `flags` output comes as RENDERED."""

    type: ClassVar[int] = 0x15
    rows: int
    cols: int
    flags: int = 0


class Exited(Frame, frozen=True, gc=False):
    """The child has exited; the transcript ends at `end_offset`. JSON. `exit_reason`: `model.ExitReason` or newer."""

    type: ClassVar[int] = 0x16
    exit_code: int | None = None
    exit_signal: str | None = None
    exit_reason: str = "exited"
    end_offset: int = 0
    output_closed: bool = True


class Detached(Frame, frozen=True, gc=False):
    """The attachment has ended: `reason` for programs, `text` for people. The last frame. JSON."""

    type: ClassVar[int] = 0x17
    reason: str = "detached"
    text: str = ""


class Mode(Frame, frozen=True, gc=False):
    """From now on the client is a writer, or only a viewer whose input is dropped."""

    type: ClassVar[int] = 0x18
    writer: bool


class Error(Frame, frozen=True, gc=False):
    """Something the client sent was refused (`code` is an error's class name in snake_case). JSON."""

    type: ClassVar[int] = 0x19
    code: str
    message: str
    hint: str | None = None


class Stored(Frame, frozen=True, gc=False):
    """The file that was sent up is complete and has its name. The last frame. JSON."""

    type: ClassVar[int] = 0x1A
    path: str
    size: int
    etag: str
    sha256: str


class CommandMark(msgspec.Struct, frozen=True, gc=False):
    """A line of a SNAPSHOT, 0 being its first of all, in which a command or a prompt begins.

    `state`: "prompt" when nothing was run from it, "running", or "done"; then `exit_code` is the status, if known.
    """

    line: int
    state: str
    exit_code: int | None = None


class Marks(Frame, frozen=True, gc=False):
    """Where commands begin in the SNAPSHOT just before; sent to who asked for `marks`. JSON."""

    type: ClassVar[int] = 0x1B
    marks: list[CommandMark]


# -- both ways ----------------------------------------------------------------------------------------------


class Ping(Frame, frozen=True, gc=False):
    """Are you there? `token` is 8 bytes of the sender's choice."""

    type: ClassVar[int] = 0x21
    token: bytes = bytes(8)


class Pong(Frame, frozen=True, gc=False):
    """Yes, with the token of the PING."""

    type: ClassVar[int] = 0x22
    token: bytes = bytes(8)


class Data(Frame, frozen=True, gc=False):
    """Bytes of a file that is sent up or down; the first is at `offset`. Answered by ACK when taken."""

    type: ClassVar[int] = 0x23
    offset: int
    data: bytes


class Finish(Frame, frozen=True, gc=False):
    """Everything has been sent: the whole file's `size` and `sha256`, also of what was sent before a resume. JSON."""

    type: ClassVar[int] = 0x24
    size: int
    sha256: str


_Decode = Callable[[bytes], Frame]

_HEAD: Final = struct.Struct(">BI")
_OUTPUT_HEAD: Final = struct.Struct(">BIQ")
_SIZE: Final = struct.Struct(">HH")
_SIZE_FLAGS: Final = struct.Struct(">HHB")
_OFFSET: Final = struct.Struct(">Q")
_OFFSETS: Final = struct.Struct(">QQ")
_OFFSET_SIZE: Final = struct.Struct(">QHH")
_MODE: Final = struct.Struct(">B")
_TOKEN: Final = struct.Struct(">8s")
_JSON: Final = msgspec.json.Encoder()


def output_head(offset: int, size: int) -> bytes:
    """Return what goes before `size` bytes of output at `offset`, so that `writev` need not copy them."""
    return _OUTPUT_HEAD.pack(Output.type, 8 + size, offset)


def data_head(offset: int, size: int) -> bytes:
    """Return what goes before `size` bytes of a file at `offset`, so that they need not be copied."""
    return _OUTPUT_HEAD.pack(Data.type, 8 + size, offset)


def encode(frame: Frame) -> bytes:
    """Return `frame` as it goes over the wire."""
    payload = _PAYLOADS[frame.type](frame)
    return _HEAD.pack(frame.type, len(payload)) + payload


class FrameBuffer:
    """Cuts a byte stream into frames. After an error the stream has lost its meaning: close the connection."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._needed = HEAD_BYTES
        self._broken: PtybridgeError | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes.

        Raises RequestTooLarge for a payload over the limit, as soon as its head is there, and InvalidRequest for
        one that its type does not allow; once it has, every call does.
        """
        try:
            return self._feed(data)
        except PtybridgeError as exc:
            self._broken = exc
            self._rest.clear()
            raise

    def _feed(self, data: bytes) -> list[Frame]:
        if self._broken is not None:
            raise self._broken
        if self._rest:
            self._rest += data
            # Waiting for a whole frame before looking again keeps a large one in small pieces linear.
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        frames: list[Frame] = []
        start, end = 0, len(data)
        self._needed = HEAD_BYTES
        while end - start >= HEAD_BYTES:
            kind, size = _HEAD.unpack_from(data, start)
            if size > self._limit:
                raise RequestTooLarge(f"a frame may have {self._limit} bytes")
            stop = start + HEAD_BYTES + size
            if stop > end:
                self._needed = stop - start
                break
            decode = _DECODERS.get(kind)
            if decode is not None:
                try:
                    frames.append(decode(data[start + HEAD_BYTES : stop]))
                except (struct.error, msgspec.DecodeError, UnicodeDecodeError) as exc:
                    raise InvalidRequest(f"bad frame of type {kind:#04x}: {misread(exc)}") from exc
            start = stop
        self._rest += data[start:] if start else data
        return frames


# -- payloads -----------------------------------------------------------------------------------------------


def _encode_json(frame: Frame) -> bytes:
    return _JSON.encode(frame)


def _decode_snapshot(payload: bytes) -> Frame:
    offset, rows, cols = _OFFSET_SIZE.unpack_from(payload)
    return Snapshot(offset, rows, cols, payload[12:])


_PAYLOADS: Final[dict[int, Callable[..., bytes]]] = {
    Input.type: lambda frame: frame.data,
    Resize.type: lambda frame: _SIZE.pack(frame.rows, frame.cols),
    Ack.type: lambda frame: _OFFSET.pack(frame.offset),
    Detach.type: lambda frame: b"",
    Output.type: lambda frame: _OFFSET.pack(frame.offset) + frame.data,
    Snapshot.type: lambda frame: _OFFSET_SIZE.pack(frame.offset, frame.rows, frame.cols) + frame.data,
    Rendered.type: lambda frame: _OFFSET.pack(frame.offset) + frame.data,
    Gap.type: lambda frame: _OFFSETS.pack(frame.start, frame.end),
    Resized.type: lambda frame: _SIZE_FLAGS.pack(frame.rows, frame.cols, frame.flags),
    Exited.type: _encode_json,
    Detached.type: _encode_json,
    Mode.type: lambda frame: _MODE.pack(frame.writer),
    Error.type: _encode_json,
    Stored.type: _encode_json,
    Marks.type: _encode_json,
    Data.type: lambda frame: _OFFSET.pack(frame.offset) + frame.data,
    Finish.type: _encode_json,
    Ping.type: lambda frame: _TOKEN.pack(frame.token),
    Pong.type: lambda frame: _TOKEN.pack(frame.token),
}

_DECODERS: Final[dict[int, _Decode]] = {
    Input.type: Input,
    Resize.type: lambda payload: Resize(*_SIZE.unpack_from(payload)),
    Ack.type: lambda payload: Ack(*_OFFSET.unpack_from(payload)),
    Detach.type: lambda payload: Detach(),
    Output.type: lambda payload: Output(_OFFSET.unpack_from(payload)[0], payload[8:]),
    Snapshot.type: _decode_snapshot,
    Rendered.type: lambda payload: Rendered(_OFFSET.unpack_from(payload)[0], payload[8:]),
    Gap.type: lambda payload: Gap(*_OFFSETS.unpack_from(payload)),
    Resized.type: lambda payload: Resized(*_SIZE_FLAGS.unpack_from(payload)),
    Exited.type: msgspec.json.Decoder(Exited).decode,
    Detached.type: msgspec.json.Decoder(Detached).decode,
    Mode.type: lambda payload: Mode(_MODE.unpack_from(payload)[0] != 0),
    Error.type: msgspec.json.Decoder(Error).decode,
    Stored.type: msgspec.json.Decoder(Stored).decode,
    Marks.type: msgspec.json.Decoder(Marks).decode,
    Data.type: lambda payload: Data(_OFFSET.unpack_from(payload)[0], payload[8:]),
    Finish.type: msgspec.json.Decoder(Finish).decode,
    Ping.type: lambda payload: Ping(*_TOKEN.unpack_from(payload)),
    Pong.type: lambda payload: Pong(*_TOKEN.unpack_from(payload)),
}
