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
from ptybridge.errors import ConnectionLost, PtybridgeError
from ptybridge.sdk.conversation import Conversation, EventDecoder, EventReader, Vigil, convert
from ptybridge.sdk.peer import dial, wait_answer
from ptybridge.sdk.settings import Keepalive
from ptybridge.wire import jsonrpc

CONNECT_SECONDS: Final = 5.0
READ_BYTES: Final = 256 * 1024

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def connect(path: str, timeout: float = CONNECT_SECONDS) -> "Connection":
    """Connect to the daemon on `path`. Raises `DaemonUnreachable` or `UnsafePath`."""
    return Connection(dial(path, timeout), path)


class Connection:
    """One connection to the daemon; owns its socket. Not to be shared by threads."""

    def __init__(self, sock: socket.socket, path: str = "", keepalive: Keepalive | None = None) -> None:
        self._sock = sock
        self._keepalive = keepalive
        self.path = path
        self._conversation = Conversation(path)
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

    def release(self) -> socket.socket:
        """Hand over the socket of a connection that nothing has been asked on yet."""
        return socket.socket(fileno=self._sock.detach())

    def close(self) -> None:
        """Close the connection; whatever the daemon was doing for it ends."""
        self._sock.close()

    def call(self, operation: Operation[P, R], params: P, timeout: float | None = None) -> R:
        """Call an operation and wait for its answer, at most `timeout` seconds. Raises `PtybridgeError`."""
        return convert(self._exchange(operation.name, params, timeout), operation.result)

    def call_raw(self, method: str, params: dict[str, Any], timeout: float | None = None) -> Any:
        """Call an operation by name; return its answer as plain JSON values."""
        return msgspec.json.decode(self._exchange(method, params, timeout))

    def stream(self, operation: Operation[P, R], params: P, timeout: float | None = None) -> "Stream[R, Any]":
        """Open a stream, which takes the connection over. Events of kinds unknown here are left out."""
        raw = self._exchange(operation.name, params, timeout)
        return Stream(self, convert(raw, operation.result), EventDecoder(operation).decode)

    def stream_raw(self, method: str, params: dict[str, Any]) -> "Stream[Any, Any]":
        """Open a stream by name; its answer and events are plain JSON values."""
        raw = self._exchange(method, params, None)
        return Stream(self, msgspec.json.decode(raw), msgspec.json.decode)

    def open(
        self, operation: Operation[P, R], params: P, timeout: float | None = None
    ) -> tuple[R, socket.socket, bytes]:
        """Open a channel. The caller gets the socket, and what has already arrived behind the answer."""
        answer = convert(self._exchange(operation.name, params, timeout), operation.result)
        return answer, self._sock, self._conversation.rest()

    # -- lines, for `Stream` --------------------------------------------------------------------------------

    def next_message(self, timeout: float | None = None) -> jsonrpc.Message:
        """Wait for a message. Raises `ConnectionLost` at the end, `RequestTimeout` after `timeout` seconds."""
        vigil = Vigil("events", timeout, self._keepalive, time.monotonic())
        while (message := self.take_message()) is None:
            self._fill_within(vigil)
        return message

    def take_message(self) -> jsonrpc.Message | None:
        """Return a message that has already been received, if there is one."""
        return self._conversation.take()

    def fill(self, flags: int = 0) -> None:
        """Receive something. Raises `ConnectionLost` at the end."""
        try:
            if not self._heard and not flags & socket.MSG_DONTWAIT:
                wait_answer(self._sock, self.path, self.revive)
            data = self._sock.recv(READ_BYTES, flags)
        except BlockingIOError:
            return
        except ConnectionError as exc:
            raise ConnectionLost("the daemon has gone away") from exc
        if not data:
            raise ConnectionLost("the daemon has closed the connection")
        self._heard = True
        self._conversation.feed(data)

    # -- inside ---------------------------------------------------------------------------------------------

    def _exchange(self, method: str, params: object, timeout: float | None) -> msgspec.Raw:
        line = self._conversation.request(method, params)
        try:
            outcome = self._answer_to(line, Vigil(method, timeout, self._keepalive, time.monotonic()))
        except BaseException:
            self.close()
            raise
        if isinstance(outcome, PtybridgeError):
            raise outcome
        return outcome

    def _answer_to(self, line: bytes, vigil: Vigil) -> msgspec.Raw | PtybridgeError:
        try:
            self._sock.settimeout(vigil.left(time.monotonic()))
            self._sock.sendall(line)
        except ConnectionError:
            pass  # the daemon may have said why before it closed
        except TimeoutError:
            vigil.silence(time.monotonic())
            raise
        while (outcome := self._conversation.outcome()) is None:
            self._fill_within(vigil)
        return outcome

    def _fill_within(self, vigil: Vigil) -> None:
        patience = vigil.patience(time.monotonic())
        self._sock.settimeout(patience)
        try:
            self.fill()
            vigil.heard(time.monotonic())
        except TimeoutError:
            if vigil.silence(time.monotonic()):
                try:
                    self._sock.sendall(self._conversation.ping())
                except ConnectionError as exc:
                    raise ConnectionLost("the daemon has gone away") from exc
        finally:
            if patience is not None and self._sock.fileno() >= 0:
                self._sock.settimeout(None)


class Stream(Generic[R, T]):
    """An open stream: `opened` is its answer; iterate over the events, then `reason` says why it ended."""

    def __init__(self, connection: Connection, opened: R, decode: "Decode[T]") -> None:
        self.opened = opened
        self._connection = connection
        self._reader = EventReader(decode)

    @property
    def reason(self) -> str:
        """Why the stream has ended; empty before."""
        return self._reader.reason

    def __iter__(self) -> Iterator[T]:
        """Wait for events until the end. Raises the error the stream ends with, `ConnectionLost` if it is cut."""
        while not self.reason:
            event = self._reader.understand(self._connection.next_message())
            if event is not None:
                yield event

    def next(self, timeout: float | None = None) -> T | None:
        """Wait for an event, None at the end. Raises `RequestTimeout` when none comes for `timeout` seconds."""
        while not self.reason:
            event = self._reader.understand(self._connection.next_message(timeout))
            if event is not None:
                return event
        return None

    def fileno(self) -> int:
        """Return the descriptor to wait for before `take`."""
        return self._connection.fileno()

    def take(self) -> list[T]:
        """Return the events that are there, without waiting; after the last one `reason` is set."""
        events = []
        if not self.reason:
            self._connection.fill(socket.MSG_DONTWAIT)
        while not self.reason and (message := self._connection.take_message()) is not None:
            event = self._reader.understand(message)
            if event is not None:
                events.append(event)
        return events

    def close(self) -> None:
        """End the stream by closing its connection."""
        self._connection.close()


class Decode(Protocol[T_co]):
    """Makes an event of its JSON text; None for one that is to be left out."""

    def __call__(self, raw: msgspec.Raw, /) -> T_co | None: ...
