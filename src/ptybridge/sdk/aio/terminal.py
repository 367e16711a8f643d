"""Being on a session from a program: its screen first, then everything live, with sizes and input the other way."""

from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ptybridge.api.attach import ATTACH, Attach, AttachedResult
from ptybridge.api.session import GET, Get
from ptybridge.errors import ClientClosed, ConnectionLost, PtybridgeError
from ptybridge.sdk.aio.connection import AsyncFrames, now
from ptybridge.sdk.aio.link import AsyncLink
from ptybridge.wire import attach as frames

# A size that is not given: the session's is asked for.
UNKNOWN = 0


class AsyncTerminal:
    """An attachment. Enter it, then iterate over the bytes for a terminal that was cleared: a picture, then output.

    What is iterated over counts as shown. `info` is the answer, `snapshot` the first picture, `rows` and `cols` the
    session's size, `writer` whether what is sent counts, `missed_bytes` what was discarded before it could be sent;
    a new picture follows it. `marks`, where they were asked for, say in which lines of the last picture commands begin;
    they come right behind it. At the end `exited` tells how the program ended, or `detached` why the attachment did.
    It is taken up again, without a new picture where possible, when the daemon is restarted.
    """

    def __init__(self, link: AsyncLink, params: Attach) -> None:
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
        self._frames: AsyncFrames | None = None

    async def __aenter__(self) -> Self:
        if UNKNOWN in (self._params.rows, self._params.cols):
            found = await self._link.call(GET, Get(session_id=self._params.session_id, detailed=False))
            self._params = replace(
                self._params, rows=self._params.rows or found.rows, cols=self._params.cols or found.cols
            )
        await self._open()
        try:
            # The picture comes first, unless an offset was asked for.
            while self._params.offset is None and not self.snapshot and not self._over:
                data = await self._take(await self._opened().next(self._link.settings.request_timeout))
                if data:
                    self.snapshot = data
                    self._first.append(data)
        except BaseException:
            await self._drop()  # noqa: ASYNC102 - closing does not wait
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._drop()  # noqa: ASYNC102 - closing does not wait

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if data is None:
            raise StopAsyncIteration
        return data

    async def receive(self, timeout: float | None = None) -> bytes | None:
        """Return the next bytes for the terminal, None at the end. Raises `RequestTimeout` after `timeout` seconds."""
        if self._first:
            return self._first.pop()
        while not self._over:
            try:
                data = await self._take(await self._opened().next(timeout))
            except ConnectionLost:
                await self._resume()
                continue
            if data:
                return data
        return None

    async def send(self, data: str | bytes) -> None:
        """Type something. It is dropped while this is only a viewer; why else it was refused is raised on reading."""
        await self._send(frames.Input(data.encode() if isinstance(data, str) else data))

    async def resize(self, cols: int, rows: int) -> None:
        """Tell the size of this side's window."""
        self._params = replace(self._params, cols=cols, rows=rows)
        await self._send(frames.Resize(rows, cols))

    async def detach(self) -> None:
        """Leave; the iteration ends when the daemon has taken everything sent before."""
        await self._send(frames.Detach())

    # -- inside ---------------------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self.detached is not None or (self.exited is not None and self.exited.output_closed)

    def _opened(self) -> AsyncFrames:
        if self._frames is None:
            raise ClientClosed("this terminal is not attached")
        return self._frames

    async def _open(self) -> None:
        self.info, self._frames = await self._link.open(ATTACH, self._params)

    async def _resume(self) -> None:
        await self._drop()
        deadline = now() + self._link.settings.reconnect_timeout
        while True:
            try:
                await self._open()
                break
            except ConnectionLost:
                if now() >= deadline or self._link.closed:
                    raise
        self.resumed += 1

    async def _send(self, frame: frames.Frame) -> None:
        await self._opened().send(frames.encode(frame))

    async def _take(self, frame: frames.Frame) -> bytes:
        match frame:
            case frames.Output() | frames.Snapshot() | frames.Rendered():
                end = frame.offset + (len(frame.data) if isinstance(frame, frames.Output) else 0)
                # From here it is taken up again.
                self._params = replace(self._params, offset=end)
                try:
                    await self._send(frames.Ack(end))
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
                await self._send(frames.Pong(frame.token))
        return b""

    async def _drop(self) -> None:
        link, self._frames = self._frames, None
        if link is not None:
            await link.aclose()
