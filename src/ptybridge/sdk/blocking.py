"""A blocking endpoint over the Unix socket: calls, streams and channels without an event loop.

How it works: one connection does one thing at a time, so there is nothing to match but the id of the last request.
A call that is interrupted (Ctrl-C, a time-out) closes the connection: its answer could otherwise be taken for that
of a later call, and the daemon learns at once that nobody waits any more.
"""

import socket
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import msgspec

from ptybridge.api.operation import Operation, Params
from ptybridge.errors import ConnectionLost, DaemonUnreachable, PtybridgeError, VersionMismatch
from ptybridge.sdk.peer import dial, wait_answer
from ptybridge.wire import jsonrpc

CONNECT_SECONDS: Final = 5.0
READ_BYTES: Final = 256 * 1024

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Ending(msgspec.Struct):
    """The parameters of `stream.end`."""

    stream_id: str
    reason: str = ""
    error: dict[str, Any] | None = None


class _StreamEvent(msgspec.Struct):
    """The parameters of `stream.event`."""

    stream_id: str
    event: msgspec.Raw


_decode_ending: Final = msgspec.json.Decoder(_Ending).decode
_decode_event: Final = msgspec.json.Decoder(_StreamEvent).decode


def connect(path: str, timeout: float = CONNECT_SECONDS) -> "Connection":
    """Connect to the daemon on `path`. Raises `DaemonUnreachable` or `UnsafePath`."""
    return Connection(dial(path, timeout), path)


class Connection:
    """One connection to the daemon; owns its socket. Not to be shared by threads."""

    def __init__(self, sock: socket.socket, path: str = "") -> None:
        self._sock = sock
        self._path = path
        self._buffer = bytearray()
        self._searched = 0  # no newline before here: a long line is not searched from its start again and again
        self._last_id = 0
        self._heard = False  # whether it has ever said anything
        # Starts a daemon when the one we connected to has died before it accepted us; see `peer.wait_answer`.
        self.revive: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the socket's descriptor, for select."""
        return self._sock.fileno()

    @property
    def ended(self) -> bool:
        """Whether it is closed, by either side, as far as that is known without asking."""
        if self._sock.fileno() < 0:
            return True
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the connection; whatever the daemon was doing for it ends."""
        self._sock.close()

    def call(self, operation: Operation[P, R], params: P, timeout: float | None = None) -> R:
        """Call an operation and wait for its answer, at most `timeout` seconds. Raises `PtybridgeError`."""
        return _convert(self._exchange(operation.name, params, timeout), operation.result)

    def call_raw(self, method: str, params: dict[str, Any], timeout: float | None = None) -> Any:
        """Call an operation by name; return its answer as plain JSON values."""
        return msgspec.json.decode(self._exchange(method, params, timeout))

    def stream(self, operation: Operation[P, R], params: P) -> "Stream[R, Any]":
        """Open a stream, which takes the connection over. Events of kinds unknown here are left out."""
        raw = self._exchange(operation.name, params, None)
        return Stream(self, _convert(raw, operation.result), _EventDecoder(operation).decode)

    def stream_raw(self, method: str, params: dict[str, Any]) -> "Stream[Any, Any]":
        """Open a stream by name; its answer and events are plain JSON values."""
        raw = self._exchange(method, params, None)
        return Stream(self, msgspec.json.decode(raw), msgspec.json.decode)

    def open(self, operation: Operation[P, R], params: P) -> tuple[R, socket.socket, bytes]:
        """Open a channel. The caller gets the socket, and what has already arrived behind the answer."""
        answer = _convert(self._exchange(operation.name, params, None), operation.result)
        return answer, self._sock, bytes(self._buffer)

    # -- lines, for `Stream` --------------------------------------------------------------------------------

    def next_message(self) -> jsonrpc.Message:
        """Wait for a message. Raises `ConnectionLost` at the end."""
        while (message := self.take_message()) is None:
            self.fill()
        return message

    def take_message(self) -> jsonrpc.Message | None:
        """Return a message that has already been received, if there is one."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        message = jsonrpc.decode_message(line)
        if isinstance(message, list | jsonrpc.Malformed):
            raise VersionMismatch(f"{self._path} answers in a protocol that is not ptybridge's")
        return message

    def fill(self, flags: int = 0) -> None:
        """Receive something. Raises `ConnectionLost` at the end."""
        try:
            if not self._heard and not flags & socket.MSG_DONTWAIT:
                wait_answer(self._sock, self._path, self.revive)
            data = self._sock.recv(READ_BYTES, flags)
        except BlockingIOError:
            return
        except ConnectionError as exc:
            raise ConnectionLost("the daemon has gone away") from exc
        if not data:
            raise ConnectionLost("the daemon has closed the connection")
        self._heard = True
        self._buffer += data

    # -- inside ---------------------------------------------------------------------------------------------

    def _exchange(self, method: str, params: object, timeout: float | None) -> msgspec.Raw:
        self._last_id += 1
        line = jsonrpc.encode_request(self._last_id, method, params)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            outcome = self._answer_to(line, deadline)
        except TimeoutError as exc:
            self.close()
            raise DaemonUnreachable(
                f"the daemon on {self._path} did not answer {method} within {timeout:g} s",
                hint="`ptybridge status` tells how it is",
            ) from exc
        except BaseException:
            self.close()
            raise
        if isinstance(outcome, PtybridgeError):
            raise outcome
        return outcome

    def _answer_to(self, line: bytes, deadline: float | None) -> msgspec.Raw | PtybridgeError:
        try:
            self._wait_until(deadline)
            self._sock.sendall(line)
        except ConnectionError:
            pass  # the daemon may have said why before it closed
        while True:
            message = self.take_message()
            if isinstance(message, jsonrpc.Response):
                # An error without an id is about the connection, e.g. that it is refused.
                if message.id in (self._last_id, None):
                    self._sock.settimeout(None)
                    return message.outcome
            elif message is None:
                self._wait_until(deadline)
                self.fill()

    def _wait_until(self, deadline: float | None) -> None:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)


class Stream(Generic[R, T]):
    """An open stream: `opened` is its answer; iterate over the events, then `reason` says why it ended."""

    def __init__(self, connection: Connection, opened: R, decode: "Decode[T]") -> None:
        self.opened = opened
        self.reason = ""
        self._connection = connection
        self._decode = decode

    def __iter__(self) -> Iterator[T]:
        """Wait for events until the end. Raises the error the stream ends with, `ConnectionLost` if it is cut."""
        while not self.reason:
            event = self._understand(self._connection.next_message())
            if event is not None:
                yield event

    def fileno(self) -> int:
        """Return the descriptor to wait for before `take`."""
        return self._connection.fileno()

    def take(self) -> list[T]:
        """Return the events that are there, without waiting; after the last one `reason` is set."""
        events = []
        if not self.reason:
            self._connection.fill(socket.MSG_DONTWAIT)
        while not self.reason and (message := self._connection.take_message()) is not None:
            event = self._understand(message)
            if event is not None:
                events.append(event)
        return events

    def close(self) -> None:
        """End the stream by closing its connection."""
        self._connection.close()

    def _understand(self, message: jsonrpc.Message) -> T | None:
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


class Decode(Protocol[T_co]):
    """Makes an event of its JSON text; None for one that is to be left out."""

    def __call__(self, raw: msgspec.Raw, /) -> T_co | None: ...


class _EventDecoder:
    """Decodes the events an operation declares."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self._known = {kind.__struct_config__.tag: msgspec.json.Decoder(kind) for kind in operation.events}

    def decode(self, raw: msgspec.Raw, /) -> Any:
        """Return the event, None if a newer daemon sends a kind that is not known here."""
        decoder = self._known.get(_decode_tag(raw).type)
        return None if decoder is None else decoder.decode(raw)


class _Tag(msgspec.Struct):
    type: str = ""


_decode_tag: Final = msgspec.json.Decoder(_Tag).decode


def _convert(raw: msgspec.Raw, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        raise VersionMismatch(
            f"the daemon is of another version, its answer does not fit: {exc}", hint="restart it: `ptybridge restart`"
        ) from exc
