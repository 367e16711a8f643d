# Made from `sdk/aio` by `make docs`; do not edit.
"""Being on a session from a program: its screen first, then everything live, with sizes and input the other way."""

from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ptybridge.api.attach import ATTACH, Attach, AttachedResult
from ptybridge.api.session import GET, Get
from ptybridge.errors import ClientClosed, ConnectionLost, PtybridgeError
from ptybridge.sdk.sync.connection import Frames, now
from ptybridge.sdk.sync.link import Link
from ptybridge.wire import attach as frames

# A size that is not given: the session's is asked for.
UNKNOWN = 0


class Terminal:
    """An attachment. Enter it, then iterate over the bytes for a terminal that was cleared: a picture, then output.

    What is iterated over counts as shown. `info` is the answer, `snapshot` the first picture, `rows` and `cols` the
    session's size, `writer` whether what is sent counts, `missed_bytes` what was discarded before it could be sent;
    a new picture follows it. `marks`, where they were asked for, say in which lines of the last picture commands begin;
    they come right behind it. At the end `exited` tells how the program ended, or `detached` why the attachment did.
    It is taken up again, without a new picture where possible, when the daemon is restarted.
    """

    def __init__(self, link: Link, params: Attach) -> None:
        self.info: AttachedResult | None = None
        self.snapshot = b""
        self.rows = 0
        self.cols = 0
        self.writer = params.mode == "writer"
        self.missed_bytes = 0
        self.resumed = 0
        self.marks: list[frames.CommandMark] = []
        self.exited: frames.Exited | None = None
        self.detached: frames.Detached | None = None
        self._link = link
        self._params = params
        self._first: list[bytes] = []
        self._frames: Frames | None = None

    def __enter__(self) -> Self:
        if UNKNOWN in (self._params.rows, self._params.cols):
            found = self._link.call(GET, Get(session_id=self._params.session_id, detailed=False))
            self._params = replace(
                self._params, rows=self._params.rows or found.rows, cols=self._params.cols or found.cols
            )
        self._open()
        try:
            # The picture comes first, unless an offset was asked for.
            while self._params.offset is None and not self.snapshot and not self._over:
                data = self._take(self._opened().next(self._link.settings.request_timeout))
                if data:
                    self.snapshot = data
                    self._first.append(data)
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drop()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        data = self.receive()
        if data is None:
            raise StopIteration
        return data

    def receive(self, timeout: float | None = None) -> bytes | None:
        """Return the next bytes for the terminal, None at the end. Raises `RequestTimeout` after `timeout` seconds."""
        if self._first:
            return self._first.pop()
        while not self._over:
            try:
                data = self._take(self._opened().next(timeout))
            except ConnectionLost:
                self._resume()
                continue
            if data:
                return data
        return None

    def send(self, data: str | bytes) -> None:
        """Type something. It is dropped while this is only a viewer; why else it was refused is raised on reading."""
        self._send(frames.Input(data.encode() if isinstance(data, str) else data))

    def resize(self, cols: int, rows: int) -> None:
        """Tell the size of this side's window."""
        self._params = replace(self._params, cols=cols, rows=rows)
        self._send(frames.Resize(rows, cols))

    def detach(self) -> None:
        """Leave; the iteration ends when the daemon has taken everything sent before."""
        self._send(frames.Detach())

    # -- inside ---------------------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self.detached is not None or (self.exited is not None and self.exited.output_closed)

    def _opened(self) -> Frames:
        if self._frames is None:
            raise ClientClosed("this terminal is not attached")
        return self._frames

    def _open(self) -> None:
        self.info, self._frames = self._link.open(ATTACH, self._params)

    def _resume(self) -> None:
        self._drop()
        deadline = now() + self._link.settings.reconnect_timeout
        while True:
            try:
                self._open()
                break
            except ConnectionLost:
                if now() >= deadline or self._link.closed:
                    raise
        self.resumed += 1

    def _send(self, frame: frames.Frame) -> None:
        self._opened().send(frames.encode(frame))

    def _take(self, frame: frames.Frame) -> bytes:
        match frame:
            case frames.Output() | frames.Snapshot() | frames.Rendered():
                end = frame.offset + (len(frame.data) if isinstance(frame, frames.Output) else 0)
                # From here it is taken up again.
                self._params = replace(self._params, offset=end)
                try:
                    self._send(frames.Ack(end))
                except ConnectionLost:
                    pass  # what came is still to be had, and the next wait finds out
                return frame.data
            case frames.Resized():
                self.rows, self.cols = frame.rows, frame.cols
            case frames.Gap():
                self.missed_bytes += frame.end - frame.start
            case frames.Mode():
                self.writer = frame.writer
            case frames.Marks():
                self.marks = frame.marks
            case frames.Exited():
                self.exited = frame
            case frames.Detached():
                self.detached = frame
            case frames.Error():
                raise PtybridgeError.restore(frame.message, {"code": frame.code, "hint": frame.hint})
            case frames.Ping():
                self._send(frames.Pong(frame.token))
        return b""

    def _drop(self) -> None:
        link, self._frames = self._frames, None
        if link is not None:
            link.close()
