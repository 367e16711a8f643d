"""One connection's side of the protocol without input or output, for the blocking and the asynchronous client alike.

How it works: a connection does one thing at a time, so there is nothing to match but the id of the last request.
Whoever owns the bytes feeds them in and sends what `request` and `ping` return; a `Vigil` tells how long to wait for
the next ones and what silence means.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec

from ptybridge.api.node import LIMITS
from ptybridge.api.operation import Operation
from ptybridge.errors import ConnectionLost, PtybridgeError, RequestTimeout, VersionMismatch
from ptybridge.mistakes import misread
from ptybridge.sdk.settings import Keepalive
from ptybridge.wire import jsonrpc

# The id of requests that only ask for a sign of life; their answers are passed over like any that nobody waits for.
PING_ID: Final = "ping"

R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")


class Conversation:
    """Lines in and out. `name` is for messages: which daemon it is."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._buffer = bytearray()
        self._searched = 0  # no newline before here: a long line is not searched from its start again and again
        self._last_id = 0

    def request(self, method: str, params: object) -> bytes:
        """Return the line that asks; `outcome` is then about it."""
        self._last_id += 1
        return jsonrpc.encode_request(self._last_id, method, params)

    def ping(self) -> bytes:
        """Return a line that any daemon answers at once."""
        return jsonrpc.encode_request(PING_ID, LIMITS.name, {})

    def feed(self, data: bytes) -> None:
        """Take what has been received."""
        self._buffer += data

    def take(self) -> jsonrpc.Message | None:
        """Return a message that is complete, if there is one."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        message = jsonrpc.decode_message(line)
        if isinstance(message, list | jsonrpc.Malformed):
            raise VersionMismatch(f"{self.name} answers in a protocol that is not ptybridge's")
        return message

    def outcome(self) -> msgspec.Raw | PtybridgeError | None:
        """Return the answer to the last request, None if it has not come; other messages are passed over."""
        while (message := self.take()) is not None:
            # An error without an id is about the connection, e.g. that it is refused.
            if isinstance(message, jsonrpc.Response) and message.id in (self._last_id, None):
                return message.outcome
        return None

    def rest(self) -> bytes:
        """Return what came behind the last message: the beginning of a channel."""
        return bytes(self._buffer)


class Vigil:
    """One wait for the daemon: until when, and how it is noticed that nobody is there any more.

    `what` is named when it does not come. Times are those of any clock that only goes forward, in seconds.
    """

    def __init__(self, what: str, timeout: float | None, keepalive: Keepalive | None, now: float) -> None:
        self._what = what
        self._timeout = timeout
        self._deadline = None if timeout is None else now + timeout
        self._keepalive = keepalive
        self._heard = now
        self._asked: float | None = None

    def left(self, now: float) -> float | None:
        """Return how many seconds are left, None for no end. Raises `RequestTimeout`."""
        if self._deadline is None:
            return None
        if now >= self._deadline:
            raise RequestTimeout(
                f"the daemon did not answer {self._what} within {self._timeout:g} s",
                hint="`ptybridge doctor` tells whether it is well",
            )
        return self._deadline - now

    def patience(self, now: float) -> float | None:
        """Return for how many seconds to wait for bytes before `silence`. Raises `RequestTimeout`."""
        ends = [end for end in (self.left(now), self._sign_due(now)) if end is not None]
        return max(0.001, min(ends)) if ends else None

    def heard(self, now: float) -> None:
        """Note that the daemon has said something."""
        self._heard = now
        self._asked = None

    def silence(self, now: float) -> bool:
        """Tell whether to send a ping now. Raises `RequestTimeout`, or `ConnectionLost` when the last got no answer."""
        self.left(now)
        due = self._sign_due(now)
        if due is None or due > 0:
            return False
        if self._asked is not None:
            raise ConnectionLost(f"the daemon has said nothing for {now - self._heard:.0f} s")
        self._asked = now
        return True

    def _sign_due(self, now: float) -> float | None:
        if self._keepalive is None:
            return None
        if self._asked is not None:
            return self._asked + self._keepalive.timeout - now
        return self._heard + self._keepalive.interval - now


# -- events ---------------------------------------------------------------------------------------------------


class _Ending(msgspec.Struct):
    """The parameters of `stream.end`."""

    stream_id: str
    reason: str = ""
    error: dict[str, Any] | None = None


class _StreamEvent(msgspec.Struct):
    """The parameters of `stream.event`."""

    stream_id: str
    event: msgspec.Raw


class _Tag(msgspec.Struct):
    type: str = ""


_decode_ending: Final = msgspec.json.Decoder(_Ending).decode
_decode_event: Final = msgspec.json.Decoder(_StreamEvent).decode
_decode_tag: Final = msgspec.json.Decoder(_Tag).decode


class EventReader(Generic[T]):
    """Makes events of messages; `reason` says why the stream has ended and is empty before."""

    def __init__(self, decode: Callable[[msgspec.Raw], T | None]) -> None:
        self.reason = ""
        self._decode = decode

    def understand(self, message: jsonrpc.Message) -> T | None:
        """Return the event, None if it is none. Raises the error the stream ends with."""
        if not isinstance(message, jsonrpc.Notification):
            return None
        if message.method == "stream.event":
            return self._decode(_decode_event(message.params).event)
        if message.method == "stream.end":
            ending = _decode_ending(message.params)
            self.reason = ending.reason or "ended"
            if ending.error is not None:
                data = ending.error.get("data")
                raise PtybridgeError.restore(
                    str(ending.error.get("message", "")), data if isinstance(data, dict) else {}
                )
        return None


class EventDecoder:
    """Decodes the events an operation declares."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self._known = {kind.__struct_config__.tag: msgspec.json.Decoder(kind) for kind in operation.events}

    def decode(self, raw: msgspec.Raw, /) -> Any:
        """Return the event, None if a newer daemon sends a kind that is not known here."""
        decoder = self._known.get(_decode_tag(raw).type)
        return None if decoder is None else decoder.decode(raw)


def convert(raw: msgspec.Raw, kind: type[R]) -> R:
    """Make the struct of an answer. Raises `VersionMismatch`."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        raise VersionMismatch(
            f"the daemon is of another version, its answer does not fit: {misread(exc)}",
            hint="restart it: `ptybridge restart`",
        ) from exc
