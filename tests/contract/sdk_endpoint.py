"""The asynchronous SDK behind the contract's client: its connections, as its client makes and drops them."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Link, R, Stream, StreamEnded, unchecked

from ptybridge.api import attach
from ptybridge.api.operation import Operation
from ptybridge.errors import ConnectionLost
from ptybridge.sdk.aio.connection import AsyncConnection, AsyncFrames, AsyncStream, from_socket
from ptybridge.sdk.peer import dial
from ptybridge.wire import attach as frames


class AsyncSdkClient:
    """The SDK's asynchronous connection. It does one thing at a time, so streams have their own."""

    def __init__(self, path: str, connection: AsyncConnection) -> None:
        self._path = path
        self._connection = connection
        self._lock = trio.Lock()

    @classmethod
    async def connect(cls, path: str) -> "AsyncSdkClient":
        return cls(path, await _connect(path))

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        async with self._lock:
            # What is not in the contract, or does not fit it, has to be refused by the daemon.
            raw = await self._connection._exchange(method, params or {}, PATIENCE_SECONDS)
        return msgspec.json.decode(raw)

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        if set(params) - set(operation.params.__struct_fields__):
            return msgspec.convert(await self.call_raw(operation.name, params), operation.result)
        async with self._lock:
            return await self._connection.call(operation, unchecked(operation.params, params), PATIENCE_SECONDS)

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        connection = await _connect(self._path)
        try:
            yield _Stream(await connection.stream(operation, unchecked(operation.params, params), PATIENCE_SECONDS))
        finally:
            await connection.aclose()  # noqa: ASYNC102 - closing does not wait

    @asynccontextmanager
    async def channel(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Link]:
        connection = await _connect(self._path)
        try:
            answer, channel = await connection.open(operation, unchecked(operation.params, params), PATIENCE_SECONDS)
            yield _Link(answer, channel)
        finally:
            await connection.aclose()  # noqa: ASYNC102 - closing does not wait

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        return self.channel(attach.ATTACH, **params)

    async def aclose(self) -> None:
        await self._connection.aclose()


async def _connect(path: str) -> AsyncConnection:
    return AsyncConnection(await from_socket(await trio.to_thread.run_sync(dial, path, PATIENCE_SECONDS)), path)


class _Stream:
    def __init__(self, stream: AsyncStream[Any, Any]) -> None:
        self.opened = stream.opened
        self._stream = stream

    async def next(self) -> Any:
        event = await self._stream.next(PATIENCE_SECONDS)
        if event is None:
            raise StreamEnded(self._stream.reason)
        return event


class _Link(Link):
    """Frames come decoded from the SDK, and are encoded again for the buffer the tests look into."""

    def __init__(self, opened: Any, channel: AsyncFrames) -> None:
        super().__init__(opened)
        self._channel = channel

    async def send_bytes(self, data: bytes) -> None:
        await self._channel.send(data)

    async def receive_bytes(self) -> bytes:
        try:
            return frames.encode(await self._channel.next(PATIENCE_SECONDS))
        except ConnectionLost:
            return b""
