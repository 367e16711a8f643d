"""A client that stays on a session over any number of daemons and compares every byte with what was printed."""

import contextlib
import socket
import threading
import time

from tests.survival.generator import PERIOD, pattern
from tests.survival.harness import PATIENCE_SECONDS

from ptybridge.api import attach as api
from ptybridge.errors import DaemonUnreachable, PtybridgeError, ShuttingDown
from ptybridge.sdk.blocking import connect
from ptybridge.wire import attach as frames

_HIGH = bytes(range(128, 256))
_LOW = bytes(range(128))


class Checker:
    """Compares a stream with the pattern of the generator."""

    def __init__(self, fd: int) -> None:
        self._twice = pattern(fd) * 2
        self.offset = 0

    def feed(self, data: bytes) -> None:
        """Take the bytes at `offset`."""
        while data:
            first = self.offset % PERIOD
            piece, data = data[:PERIOD], data[PERIOD:]
            if self._twice[first : first + len(piece)] != piece:
                wrong = next(at for at, byte in enumerate(piece) if self._twice[first + at] != byte)
                raise AssertionError(f"stream differs at offset {self.offset + wrong}")
            self.offset += len(piece)


class Follower(threading.Thread):
    """Attaches with the offset it has come to, again and again, until the child exits or `stop`.

    Reads frames of the merged log, whose two streams (if there are two) it tells apart by the bytes' highest bit.
    With `lossless` a gap is a failure.
    """

    def __init__(self, path: str, session_id: str, *, lossless: bool = True) -> None:
        super().__init__(name=f"follower of {session_id}", daemon=True)
        self._path = path
        self._session_id = session_id
        self._lossless = lossless
        self._over = threading.Event()
        self.attached = threading.Event()
        self._socket: socket.socket | None = None
        self.offset = 0
        self.streams = (Checker(1), Checker(2))
        self.gaps = 0
        self.connections = 0
        self.resumed: list[float] = []
        self.exit: frames.Exited | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set() and self.exit is None:
                self._follow_once()
        except BaseException as failure:  # noqa: ASYNC103 - handed to whoever joins
            self.failure = failure

    def stop(self) -> None:
        """End, and raise what was wrong."""
        self._over.set()
        with contextlib.suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        self.join(PATIENCE_SECONDS)
        self.check()
        assert not self.is_alive()

    def check(self) -> None:
        """Raise what has gone wrong so far."""
        if self.failure is not None:
            raise AssertionError(f"the follower failed: {self.failure!r}") from self.failure

    def wait_exit(self, patience: float = PATIENCE_SECONDS) -> frames.Exited:
        """Wait for the child's exit with everything before it."""
        self.join(patience)
        self.check()
        assert self.exit is not None, f"no exit; at {self.offset}"
        return self.exit

    def wait_past(self, offset: int, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until more than `offset` bytes have come."""
        deadline = time.monotonic() + patience
        while self.offset <= offset:
            self.check()
            assert time.monotonic() < deadline, f"still at {self.offset}, not past {offset}"
            time.sleep(0.002)

    def _follow_once(self) -> None:
        lost_at = time.monotonic()
        while not self._over.is_set():
            assert time.monotonic() - lost_at < PATIENCE_SECONDS, "nobody serves"
            try:
                connection = connect(self._path, 5)
            except (DaemonUnreachable, OSError):
                time.sleep(0.002)
                continue
            parameters = api.Attach(session_id=self._session_id, offset=self.offset, mode="viewer", rows=30, cols=120)
            # Closed whatever happens: else a refused one would be a warning in some later test.
            with connection:
                try:
                    _, sock, rest = connection.open(api.ATTACH, parameters)
                except (DaemonUnreachable, ShuttingDown, OSError):
                    time.sleep(0.002)
                    continue
                except PtybridgeError as exc:
                    if exc.code == "connection_lost":
                        continue
                    raise
                self.connections += 1
                self._socket = sock
                self.attached.set()
                sock.settimeout(PATIENCE_SECONDS)
                self._receive(sock, rest, lost_at)
            return

    def _receive(self, sock: socket.socket, rest: bytes, lost_at: float) -> None:
        buffer = frames.FrameBuffer()
        first = True
        data = rest
        while True:
            before = self.offset
            for frame in buffer.feed(data):
                if isinstance(frame, frames.Ping):
                    with contextlib.suppress(OSError):  # what has arrived before the end can still be read
                        sock.sendall(frames.encode(frames.Pong(token=frame.token)))
                self._take(frame)
            if self.offset != before:
                if first:
                    self.resumed.append(time.monotonic() - lost_at)
                    first = False
                try:
                    sock.sendall(frames.encode(frames.Ack(offset=self.offset)))
                except OSError:
                    pass  # what has arrived before the end can still be read
            try:
                data = sock.recv(1 << 18)
            except ConnectionError:
                return
            if not data:
                return

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Output(offset=offset, data=data):
                assert offset == self.offset, f"{self.offset} expected, {offset} came"
                self.offset += len(data)
                if not self.gaps:
                    self.streams[0].feed(data.translate(None, _HIGH))
                    self.streams[1].feed(data.translate(None, _LOW))
                elif not self.streams[1].offset:
                    self.streams[0].offset = offset
                    self.streams[0].feed(data)
            case frames.Gap(start=start, end=end):
                assert not self._lossless, f"a gap from {start} to {end} at {self.offset}"
                self.gaps += 1
            case frames.Snapshot(offset=offset):
                self.offset = offset
            case frames.Exited():
                self.exit = frame
            case frames.Error(message=message):
                raise AssertionError(message)
            case _:
                pass
