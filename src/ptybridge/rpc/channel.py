"""A connection that has become a channel: whole binary frames both ways over the same socket.

How it works: sending goes past Trio's stream straight to the non-blocking descriptor, because only so a cancelled
send can leave the unsent rest in `_tail` (the next send starts with it, so no frame is ever torn) and the inline lane
can take a small frame without a task switch.
"""

import os
from collections.abc import Awaitable, Callable

import msgspec
import trio

READ_BYTES = 64 * 1024


class SocketChannel:
    """See `ptybridge.api.endpoint.Channel`. One task sends, one receives; errors of a peer that is gone end both."""

    def __init__(self, stream: trio.SocketStream, answer: Callable[[msgspec.Struct], Awaitable[None]]) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno()
        self._answer = answer
        self._tail = b""
        self._sending = trio.Lock()
        self._broken = False

    async def opened(self, answer: msgspec.Struct) -> None:
        """Answer the request that opened the channel."""
        await self._answer(answer)

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        """Send a frame at once, or nothing of it."""
        if self._tail or self._broken or self._sending.locked():
            return False
        try:
            sent = os.writev(self._fd, (head, payload))
        except BlockingIOError:
            return False
        except OSError:
            self._broken = True
            return False
        if sent < len(head) + len(payload):
            self._tail = (head + payload)[sent:]
        return True

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        """Send a frame, waiting for the peer. Raises `trio.BrokenResourceError` when it is gone."""
        async with self._sending:
            await self._flush()
            if self._broken:
                raise trio.BrokenResourceError("the peer is gone")
            try:
                sent = os.writev(self._fd, (head, payload)) if payload else os.write(self._fd, head)
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self._broken = True
                raise trio.BrokenResourceError("the peer is gone") from exc
            if sent < len(head) + len(payload):
                self._tail = (head + payload)[sent:] if payload else head[sent:]
                await self._flush()

    async def _flush(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        view = memoryview(self._tail)
        try:
            while view:
                await trio.lowlevel.wait_writable(self._fd)
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    continue
                except OSError as exc:
                    self._broken = True
                    raise trio.BrokenResourceError("the peer is gone") from exc
        finally:
            self._tail = bytes(view)

    async def receive(self) -> bytes:
        """Return what has come, b"" at the end."""
        while True:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_readable(self._fd)
                except trio.ClosedResourceError:
                    return b""
                continue
            except OSError:
                return b""
            await trio.lowlevel.checkpoint_if_cancelled()
            return data
