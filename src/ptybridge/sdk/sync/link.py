# Made from `sdk/aio` by `make docs`; do not edit.
"""What every part of a client calls through: connections that are used again, repeated where that is safe.

How it works: each call takes an idle connection or makes one, and gives it back afterwards, so calls that wait hold
nothing up. Streams and channels have connections of their own. A connection that was lost costs only what is not
safe to repeat; streams go on behind the last thing they gave.
"""

import warnings
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from ptybridge.api.operation import Operation, Params
from ptybridge.errors import ClientClosed, ConnectionLost, DaemonUnreachable, PtybridgeError, RequestTimeout
from ptybridge.sdk.places import Place, place_of
from ptybridge.sdk.retries import Attempts, answer_within, complete
from ptybridge.sdk.settings import Settings
from ptybridge.sdk.sync.connection import Connection, Frames, Stream, now, sleep

POLL_SECONDS = 0.05
# More than this many calls at once are rare, and an idle connection costs the daemon some memory.
MOST_IDLE = 8

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)


class Link:
    """Calls, streams and channels. `fill` are parameters the client knows by itself.

    `dial` makes a connection; it is told whether there was one before.
    """

    def __init__(self, dial: Callable[[bool], Connection], settings: Settings, fill: Mapping[str, Any]) -> None:
        self.settings = settings
        self.closed = False
        self.connected = False
        self._dial = dial
        self._fill = fill
        self._idle: deque[Connection] = deque()

    def call(self, operation: Operation[P, R], params: P) -> R:
        """Call an operation. Raises `PtybridgeError`: `ConnectionLost` when nobody knows whether it was done."""
        attempts = Attempts(operation, complete(params, self._fill), self.settings)
        while True:
            try:
                return self._once(operation, attempts.params)
            except PtybridgeError as exc:
                pause = attempts.pause_after(exc)
            sleep(pause)

    def _once(self, operation: Operation[P, R], params: P) -> R:
        connection = self.take()
        try:
            return connection.call(operation, params, answer_within(operation, params, self.settings))
        finally:
            # A call that was cut short has closed it.
            if self.closed or len(self._idle) >= MOST_IDLE:
                connection.close()
            elif not connection.ended:
                self._idle.append(connection)

    def stream(self, operation: Operation[P, R], params: P) -> "Events[R]":
        """Return a stream, which opens when it is entered or first iterated over."""
        return Events(self, operation, complete(params, self._fill))

    def open(self, operation: Operation[P, R], params: P) -> tuple[R, Frames]:
        """Open a channel on a connection of its own."""
        connection = self.take(fresh=True)
        try:
            return connection.open(operation, complete(params, self._fill), self.settings.request_timeout)
        except BaseException:
            connection.close()
            raise

    def take(self, *, fresh: bool = False) -> Connection:
        """Return a connection that nobody else uses; waits while a daemon that was there before is away."""
        while True:
            if self.closed:
                raise ClientClosed()
            try:
                connection = None if fresh else self._idle.pop()
            except IndexError:
                connection = None
            if connection is None:
                return self._connect()
            if not connection.ended:
                return connection
            connection.close()

    def _connect(self) -> Connection:
        deadline = now() + self.settings.reconnect_timeout
        while True:
            try:
                connection = self._dial(self.connected)
            except DaemonUnreachable as exc:
                if not self.connected:
                    raise
                if now() >= deadline:
                    raise ConnectionLost(
                        f"the daemon has gone away, and none has come back within "
                        f"{self.settings.reconnect_timeout:g} s",
                        hint="`ptybridge doctor` tells what is left of it",
                    ) from exc
                sleep(POLL_SECONDS)
            else:
                self.connected = True
                return connection

    def close(self) -> None:
        """Close the idle connections; those in use close when their calls and streams end."""
        self.closed = True
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        if self._idle and not self.closed:
            warnings.warn(f"a ptybridge client was not closed: {self!r}", ResourceWarning, stacklevel=1, source=self)
            while self._idle:
                self._idle.pop().abandon()


class Events(Generic[R]):
    """A stream of events, to be iterated over; best inside `with`, which ends it in the daemon, too.

    `opened` is its answer, `reason` says why it has ended, `resumed` counts how often it had to be opened again.
    Streams that cannot be resumed end with `ConnectionLost` when the connection is lost.
    """

    def __init__(self, link: Link, operation: Operation[Any, R], params: Params) -> None:
        self.resumed = 0
        self.opened: R | None = None
        self.reason = ""
        self._link = link
        self._operation = operation
        self._params = params
        self._place: Place | None = None
        try:
            self._place = place_of(params)
        except TypeError:
            pass  # what it has started cannot be started again
        self._ready: deque[Any] = deque()
        self._connection: Connection | None = None
        self._stream: Stream[R, Any] | None = None
        self._closed = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Wait for an event. Raises the error the stream ends with, `RequestTimeout` after `stream_timeout`."""
        while not self._ready:
            if self.reason:
                raise StopIteration
            stream = self._opened_stream()
            try:
                event = stream.next(self._link.settings.stream_timeout)
            except RequestTimeout:
                raise
            except ConnectionLost:
                self._drop()
                if self._place is None or self._link.closed:
                    raise
                continue
            except BaseException:
                self.close()
                raise
            if event is None:
                self.reason = stream.reason
                self._drop()
            elif self._place is None:
                self._ready.append(event)
            else:
                self._ready.extend(self._place.pass_on(event))
        return self._ready.popleft()

    def open(self) -> R:
        """Open it, if it is not; return the answer."""
        return (self._opened_stream()).opened

    def close(self) -> None:
        """End the stream."""
        self._closed = True
        self._drop()

    def interrupt(self) -> None:
        """End the stream under somebody who waits for it elsewhere, and who closes it then."""
        self._closed = True
        if self._connection is not None:
            self._connection.interrupt()

    def _opened_stream(self) -> Stream[R, Any]:
        self._require_open()
        if self._stream is None:
            deadline = now() + self._link.settings.reconnect_timeout
            while True:
                try:
                    self._stream = self._open()
                    break
                except ConnectionLost:
                    # A daemon that has just come may go again at once.
                    if self._place is None or now() >= deadline:
                        raise
            self._require_open()  # it may have been closed meanwhile
            if self.opened is None:
                self.opened = self._stream.opened
            else:
                self.resumed += 1
        return self._stream

    def _require_open(self) -> None:
        if self._closed:
            self._drop()
            raise ClientClosed("this stream is closed")

    def _open(self) -> Stream[R, Any]:
        params = self._params if self._place is None else self._place.params
        self._connection = self._link.take(fresh=True)
        try:
            stream = self._connection.stream(self._operation, params, self._link.settings.request_timeout)
        except BaseException:
            self._drop()
            raise
        if self._place is not None:
            self._place.opened(stream.opened)
        return stream

    def _drop(self) -> None:
        connection, self._connection, self._stream = self._connection, None, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        if self._connection is not None:
            warnings.warn(
                f"a stream was not closed: {self._operation.name}", ResourceWarning, stacklevel=1, source=self
            )
            self._connection.abandon()
