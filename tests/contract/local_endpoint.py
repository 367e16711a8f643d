"""The local dispatcher behind the tests' client."""

import math
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import trio
from tests.contract.endpoints import (
    CHANNEL_BYTES,
    PATIENCE_SECONDS,
    Link,
    R,
    Stream,
    StreamEnded,
    raw_params,
)

from ptybridge.api import attach
from ptybridge.api.operation import Operation
from ptybridge.daemon import Daemon
from ptybridge.errors import PtybridgeError
from ptybridge.model import Caller


class LocalClient:
    """The dispatcher itself, bound to a caller."""

    _numbers = count(1)

    def __init__(self, daemon: Daemon) -> None:
        self._endpoint = daemon.server.endpoint
        self.caller = Caller(
            principal=f"uid:{os.geteuid()}", connection_id=f"local{next(self._numbers)}", pid=os.getpid()
        )

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        return msgspec.to_builtins(await self._call(method, params))

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        result = await self._call(operation.name, params)
        assert isinstance(result, operation.result)
        return result

    async def _call(self, method: str, params: dict[str, Any] | None) -> msgspec.Struct:
        raw = raw_params(params)
        with trio.fail_after(PATIENCE_SECONDS):
            await trio.lowlevel.checkpoint()
            answer = self._endpoint.call_nowait(self.caller, method, raw)
            return await self._endpoint.call(self.caller, method, raw) if answer is None else answer

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        stream = _LocalStream()

        async def run() -> None:
            try:
                stream.reason = await self._endpoint.stream(
                    self.caller, operation.name, raw_params(params), _Sink(stream)
                )
            except PtybridgeError as exc:
                stream.error = exc
            finally:
                stream.ready.set()
                stream.sender.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)  # noqa: ASYNC113 - `ready` tells when it has begun
            await stream.ready.wait()
            if stream.opened is not None:
                yield stream
            nursery.cancel_scope.cancel()
        if stream.opened is None and stream.error is not None:
            raise stream.error

    @asynccontextmanager
    async def channel(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Link]:
        channel = _MemoryChannel()

        async def run() -> None:
            try:
                await self._endpoint.open(self.caller, operation.name, raw_params(params), channel)
            except PtybridgeError as exc:
                channel.error = exc
            except trio.BrokenResourceError:
                pass  # the client has gone
            finally:
                channel.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)  # noqa: ASYNC113 - `ready` tells when it has begun
            await channel.answered.wait()
            if channel.answer is not None:
                yield _LocalLink(channel)
                channel.hang_up()
            elif channel.error is None:
                raise AssertionError("the channel was not opened and gave no reason")
        if channel.answer is None and channel.error is not None:
            raise channel.error

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        return self.channel(attach.ATTACH, **params)

    async def aclose(self) -> None:
        pass


class _LocalStream:
    """The client's side of a local stream. Its channel holds nothing, so the handler feels a slow reader at once."""

    def __init__(self) -> None:
        self.sender, self._receiver = trio.open_memory_channel[msgspec.Struct](0)
        self.ready = trio.Event()
        self.opened: Any = None
        self.reason = ""
        self.error: PtybridgeError | None = None

    async def next(self) -> Any:
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                return await self._receiver.receive()
            except trio.EndOfChannel:
                if self.error is not None:
                    raise self.error from None
                raise StreamEnded(self.reason) from None


class _Sink:
    """The handler's side."""

    def __init__(self, stream: _LocalStream) -> None:
        self._stream = stream

    async def opened(self, answer: msgspec.Struct) -> None:
        self._stream.opened = answer
        self._stream.ready.set()
        await trio.lowlevel.checkpoint()

    async def send(self, event: msgspec.Struct) -> None:
        await self._stream.sender.send(event)


class _MemoryChannel:
    """A channel whose two ends are in this process, with a bounded buffer towards the client."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.answered = trio.Event()
        self.error: PtybridgeError | None = None
        self.to_server, self._from_client = trio.open_memory_channel[bytes](math.inf)
        self._buffer = bytearray()
        self._changed = trio.Event()
        self._ended = False
        self._gone = False

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # the handler's side

    async def opened(self, answer: msgspec.Struct) -> None:
        self.answer = answer
        self.answered.set()
        await trio.lowlevel.checkpoint()

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        await trio.lowlevel.checkpoint()
        while len(self._buffer) >= CHANNEL_BYTES and not self._gone:
            await self._changed.wait()
        if self._gone:
            raise trio.BrokenResourceError
        self._buffer += head + payload
        self._change()

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        if len(self._buffer) >= CHANNEL_BYTES or self._gone:
            return False
        self._buffer += head + payload
        self._change()
        return True

    async def receive(self) -> bytes:
        try:
            return await self._from_client.receive()
        except trio.EndOfChannel:
            return b""

    # the client's side

    async def take(self) -> bytes:
        while not self._buffer and not self._ended:
            await self._changed.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._change()
        return data

    def hang_up(self) -> None:
        self._gone = True
        self.to_server.close()
        self._change()

    def end(self) -> None:
        self._ended = True
        self.answered.set()
        self._change()


class _LocalLink(Link):
    def __init__(self, channel: _MemoryChannel) -> None:
        super().__init__(channel.answer)
        self._channel = channel

    async def send_bytes(self, data: bytes) -> None:
        await self._channel.to_server.send(data)

    async def receive_bytes(self) -> bytes:
        return await self._channel.take()


# -- the socket ----------------------------------------------------------------------------------------------
