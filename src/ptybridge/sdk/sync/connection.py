"""Blocking connections under the names `sdk.aio.connection` gives them, so that what is above is written once."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

import msgspec

from ptybridge.api.operation import Operation, Params
from ptybridge.errors import ConnectionLost
from ptybridge.sdk import blocking
from ptybridge.sdk.blocking import Stream as Stream
from ptybridge.sdk.conversation import Vigil
from ptybridge.sdk.settings import Keepalive
from ptybridge.wire import attach as frames

READ_BYTES = 256 * 1024

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")

# A custom transport: it returns a new connected stream socket each time (an end of a `socket.socketpair` serves, too).
Transport = Callable[[], socket.socket]
ByteStream = socket.socket

Event = threading.Event
sleep = time.sleep
now = time.monotonic


def to_the_end(seconds: float) -> AbstractContextManager[None]:
    """Do nothing: nobody cancels a thread."""
    return nullcontext()


def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call what blocks: here it may."""
    return function(*args)


def called(callback: Callable[..., Any], *args: Any) -> None:
    """Call what a caller has given."""
    callback(*args)


class Background:
    """A thread beside the caller's, until `close`. What it waits for has to be closed before."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def inside(self) -> bool:
        """Whether who asks runs in it."""
        return threading.current_thread() is self._thread

    def begin(self) -> None:
        """Make ready."""

    def start(self, function: Callable[[], None]) -> None:
        """Run `function` in it."""
        self._thread = threading.Thread(target=function, name="ptybridge stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait until it is over."""
        if self._thread is not None:
            self._thread.join()


def from_socket(sock: socket.socket) -> socket.socket:
    """Return the socket as it is."""
    return sock


class Connection(blocking.Connection):
    """One connection to the daemon; owns its socket. Not to be shared by threads."""

    def __init__(self, sock: socket.socket, name: str = "", keepalive: Keepalive | None = None) -> None:
        super().__init__(sock, name, keepalive)
        self._silence = keepalive

    @classmethod
    def adopt(cls, other: blocking.Connection) -> "Connection":
        """Return a connection that goes on as `other`, which must not be used any more."""
        made = cls(other.release(), other.path)
        made.revive = other.revive
        return made

    def interrupt(self) -> None:
        """Let a thread that waits for it find out that it is over. The descriptor stays until that has closed it."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close it when it is collected."""
        self.close()

    def open(  # type: ignore[override]  # what is above wants frames, the command line the socket
        self, operation: Operation[P, R], params: P, timeout: float | None = None
    ) -> tuple[R, "Frames"]:
        """Open a channel, which takes the connection over."""
        answer, sock, first = super().open(operation, params, timeout)
        return answer, Frames(self, sock, first, self._silence)


class Frames:
    """Binary frames over a connection that has become a channel."""

    def __init__(self, owner: Connection, sock: socket.socket, first: bytes, keepalive: Keepalive | None) -> None:
        self._owner = owner
        self._sock = sock
        self._keepalive = keepalive
        self._buffer = frames.FrameBuffer()
        self._ready = self._buffer.feed(first)

    def taken(self) -> frames.Frame | None:
        """Return a frame that has been received already, if there is one."""
        return self._ready.pop(0) if self._ready else None

    def next(self, timeout: float | None = None) -> frames.Frame:
        """Wait for a frame. Raises `ConnectionLost` at the end, `RequestTimeout` after `timeout` seconds."""
        vigil = Vigil("frames", timeout, self._keepalive, now())
        while not self._ready:
            try:
                self._sock.settimeout(vigil.patience(now()))
                data = self._sock.recv(READ_BYTES)
            except TimeoutError:
                if vigil.silence(now()):
                    self.send(frames.encode(frames.Ping()))
                continue
            except OSError as exc:
                raise ConnectionLost("the daemon has gone away") from exc
            if not data:
                raise ConnectionLost("the daemon has closed the connection")
            self._ready = self._buffer.feed(data)
            vigil.heard(now())
        return self._ready.pop(0)

    def send(self, head: bytes, payload: bytes = b"") -> None:
        """Send an encoded frame. Raises `ConnectionLost`."""
        try:
            self._sock.settimeout(None)
            self._sock.sendall(head)
            if payload:
                self._sock.sendall(payload)
        except OSError as exc:
            raise ConnectionLost("the daemon has gone away") from exc

    def close(self) -> None:
        """Close the channel's connection."""
        self._owner.close()
