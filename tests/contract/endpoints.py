"""What the contract's tests run over: the same client in front of the dispatcher, the socket and the blocking SDK."""

import os
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import msgspec
import trio

from ptybridge.api.operation import Operation
from ptybridge.api.registry import contract
from ptybridge.wire import attach as frames

R = TypeVar("R", bound=msgspec.Struct)
F = TypeVar("F", bound=frames.Frame)

# Generous: only a hang should ever reach it.
PATIENCE_SECONDS = 90.0
# What an attachment over the local endpoint may have unread before its sender waits; a socket's buffer is as large.
CHANNEL_BYTES = 256 * 1024


class StreamEnded(Exception):
    """The stream said `stream.end`; `reason` as it said."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stream(Protocol):
    """An open stream."""

    opened: Any

    async def next(self) -> Any:
        """Return the next event. Raises `StreamEnded`, or the error the stream ends with."""
        ...


class Link:
    """A channel, in most cases an attachment: frames both ways over whatever carries bytes."""

    def __init__(self, opened: Any, first: bytes = b"") -> None:
        self.opened = opened
        self.buffer = frames.FrameBuffer()
        self.ready: list[frames.Frame] = self.buffer.feed(first)

    async def send_bytes(self, data: bytes) -> None:
        raise NotImplementedError

    async def receive_bytes(self) -> bytes:
        raise NotImplementedError

    async def send(self, *those: frames.Frame) -> None:
        """Send frames."""
        await self.send_bytes(b"".join(frames.encode(each) for each in those))

    async def write(self, text: str) -> None:
        """Send text as input."""
        await self.send(frames.Input(text.encode()))

    async def next(self) -> frames.Frame:
        """Return the next frame. Raises `EOFError` at the end."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not self.ready:
                data = await self.receive_bytes()
                if not data:
                    raise EOFError
                self.ready += self.buffer.feed(data)
        return self.ready.pop(0)

    async def next_of(self, kind: type[F]) -> F:
        """Return the next frame of a kind; others are passed over."""
        while True:
            frame = await self.next()
            if isinstance(frame, kind):
                return frame

    async def output(self, needle: bytes, seen: bytes = b"") -> bytes:
        """Collect OUTPUT until `needle` is in it; return all of it."""
        while needle not in seen:
            seen += (await self.next_of(frames.Output)).data
        return seen

    async def acknowledge(self) -> frames.Snapshot:
        """Wait for the first snapshot and say that it is shown."""
        snapshot = await self.next_of(frames.Snapshot)
        await self.send(frames.Ack(snapshot.offset))
        return snapshot

    async def in_step(self) -> None:
        """Wait until the server has taken everything sent before. Output that comes meanwhile is kept."""
        token = os.urandom(8)
        await self.send(frames.Ping(token))
        kept = []
        while (frame := await self.next()) != frames.Pong(token):
            kept.append(frame)
        self.ready = kept + self.ready


class Client(Protocol):
    """One connection to an endpoint."""

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Call by name; the answer is plain JSON."""
        ...

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        """Call an operation with parameters as they go over the wire."""
        ...

    def stream(self, operation: Operation[Any, Any], **params: Any) -> AbstractAsyncContextManager[Stream]:
        """Open a stream, which is cancelled at the end of the block."""
        ...

    def channel(self, operation: Operation[Any, Any], **params: Any) -> AbstractAsyncContextManager[Link]:
        """Open a channel; the connection is cut at the end of the block."""
        ...

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        """Attach; the connection is cut at the end of the block."""
        ...

    async def aclose(self) -> None:
        """Go away."""
        ...


# -- the dispatcher ------------------------------------------------------------------------------------------


def unchecked(kind: type[msgspec.Struct], params: dict[str, Any]) -> Any:
    """Make parameters of whatever the test gives: the daemon has to check them, not the client."""
    return kind(**params)


def raw_params(params: dict[str, Any] | None) -> msgspec.Raw | None:
    return None if params is None else msgspec.Raw(msgspec.json.encode(params))


OPERATIONS = {one.name: one for one in contract()}
