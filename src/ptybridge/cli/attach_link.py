"""One attachment's connection: frames in, frames out, never blocking, never losing a byte of input."""

import contextlib
import select
import socket
import time
from collections import deque
from typing import Final

from ptybridge.api.attach import AttachedResult
from ptybridge.model import WindowSize
from ptybridge.wire import attach as frames

READ_BYTES: Final = 256 * 1024
# With this much unsent the keyboard is not read: the terminal driver holds a paste back for us.
UNSENT_LIMIT_BYTES: Final = 256 * 1024


class Link:
    """The frames of one attachment. Owns the socket. `told_size` is the window's size as the daemon knows it."""

    def __init__(
        self, opened: AttachedResult, sock: socket.socket, received: bytes = b"", *, told_size: WindowSize
    ) -> None:
        self.opened = opened
        self.told_size = told_size
        self._sock = sock
        self._sock.setblocking(False)
        self._buffer = frames.FrameBuffer()
        self._received = received
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._sent_of_first = 0
        self.closed = False

    def fileno(self) -> int:
        """The socket, for `select`."""
        return self._sock.fileno()

    @property
    def full(self) -> bool:
        """Whether so much is unsent that no more input should be read."""
        return self._unsent_bytes >= UNSENT_LIMIT_BYTES

    @property
    def unsent(self) -> bool:
        """Whether frames wait for the socket to become writable."""
        return bool(self._unsent)

    @property
    def ready(self) -> bool:
        """Whether `receive` has something without asking the socket: what came along with the opening answer."""
        return bool(self._received)

    def send(self, frame: frames.Frame) -> None:
        """Send a frame, at once if the socket takes it, else in order when it does."""
        self._queue(frames.encode(frame))

    def flush(self) -> None:
        """Send what the socket takes now. A connection that is gone sets `closed`."""
        while self._unsent and not self.closed:
            first = self._unsent[0]
            try:
                sent = self._sock.send(memoryview(first)[self._sent_of_first :] if self._sent_of_first else first)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            self._sent_of_first += sent
            if self._sent_of_first == len(first):
                self._unsent.popleft()
                self._unsent_bytes -= len(first)
                self._sent_of_first = 0

    def receive(self) -> list[frames.Frame]:
        """Return the frames that are there now; at the end of the connection none, and `closed` is set."""
        if self._received:
            data, self._received = self._received, b""
        else:
            try:
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                return []
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return []
        return list(self._buffer.feed(data))

    def take_over(self, lost: "Link") -> None:
        """Send again what a lost connection had not sent; a frame sent in part has not been understood by anybody."""
        for frame in lost._unsent:
            if isinstance(frames.FrameBuffer().feed(frame)[0], frames.Input):
                self._queue(frame)

    def drain(self, seconds: float) -> None:
        """Send what is unsent, waiting at most so long."""
        deadline = time.monotonic() + seconds
        while self._unsent and not self.closed and (left := deadline - time.monotonic()) > 0:
            if select.select([], [self._sock], [], left)[1]:
                self.flush()

    def close(self) -> None:
        """Close the connection, whatever is unsent."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._sock.close()

    def _queue(self, data: bytes) -> None:
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self.flush()
