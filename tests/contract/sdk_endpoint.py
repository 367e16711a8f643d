"""The asynchronous SDK behind the contract's client: its connections, as its client makes and drops them.

The tests are Trio's. Under asyncio the SDK lives in the loop of a thread, and each step of it is sent there.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Link, R, Stream, StreamEnded, unchecked

from ptybridge.api import attach
from ptybridge.api.operation import Operation
from ptybridge.errors import ConnectionLost
from ptybridge.sdk.aio.connection import AsyncConnection, AsyncFrames, AsyncStream, from_socket, in_thread
from ptybridge.sdk.peer import dial
from ptybridge.wire import attach as frames

# Runs a step of the SDK where it lives.
Runner = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]


async def run_here(step: Coroutine[Any, Any, Any]) -> Any:
    """Run a step in the test's own task, under Trio."""
    return await step


class Loop:
    """asyncio in a thread. What the test cancels is cancelled there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio", daemon=True)
        self._thread.start()

    async def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Run a step as a task of the loop."""
        over, token = trio.Event(), trio.lowlevel.current_trio_token()
        future = asyncio.run_coroutine_threadsafe(step, self._loop)
        future.add_done_callback(lambda _: token.run_sync_soon(over.set))
        try:
            await over.wait()
        finally:
            future.cancel()
        try:
            return future.result()
        except concurrent.futures.CancelledError:  # by what is gone
            raise ConnectionLost("it was cancelled") from None

    def close(self) -> None:
        """End the loop with whatever is left in it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            self._loop.run_until_complete(asyncio.wait([task]))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class AsyncSdkClient:
    """The SDK's asynchronous connection. It does one thing at a time, so streams have their own."""

    def __init__(self, path: str, connection: AsyncConnection, run: Runner) -> None:
        self._path = path
        self._connection = connection
        self._run = run
        self._lock = trio.Lock()

    @classmethod
    async def connect(cls, path: str, run: Runner = run_here) -> "AsyncSdkClient":
        return cls(path, await run(_connect(path)), run)

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        async with self._lock:
            # What is not in the contract, or does not fit it, has to be refused by the daemon.
            raw = await self._run(self._connection._exchange(method, params or {}, PATIENCE_SECONDS))
        return msgspec.json.decode(raw)

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        if set(params) - set(operation.params.__struct_fields__):
            return msgspec.convert(await self.call_raw(operation.name, params), operation.result)
        async with self._lock:
            asked = unchecked(operation.params, params)
            answer: R = await self._run(self._connection.call(operation, asked, PATIENCE_SECONDS))
            return answer

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        connection = await self._run(_connect(self._path))
        try:
            asked = unchecked(operation.params, params)
            yield _Stream(await self._run(connection.stream(operation, asked, PATIENCE_SECONDS)), self._run)
        finally:
            await self._close(connection)  # noqa: ASYNC102 - shielded there

    @asynccontextmanager
    async def channel(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Link]:
        connection = await self._run(_connect(self._path))
        try:
            asked = unchecked(operation.params, params)
            answer, channel = await self._run(connection.open(operation, asked, PATIENCE_SECONDS))
            yield _Link(answer, channel, self._run)
        finally:
            await self._close(connection)  # noqa: ASYNC102 - shielded there

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        return self.channel(attach.ATTACH, **params)

    async def aclose(self) -> None:
        await self._close(self._connection)

    async def _close(self, connection: AsyncConnection) -> None:
        with trio.CancelScope(shield=True):
            await self._run(connection.aclose())


async def _connect(path: str) -> AsyncConnection:
    return AsyncConnection(await from_socket(await in_thread(dial, path, PATIENCE_SECONDS)), path)


class _Stream:
    def __init__(self, stream: AsyncStream[Any, Any], run: Runner) -> None:
        self.opened = stream.opened
        self._stream = stream
        self._run = run

    async def next(self) -> Any:
        event = await self._run(self._stream.next(PATIENCE_SECONDS))
        if event is None:
            raise StreamEnded(self._stream.reason)
        return event


class _Link(Link):
    """Frames come decoded from the SDK, and are encoded again for the buffer the tests look into."""

    def __init__(self, opened: Any, channel: AsyncFrames, run: Runner) -> None:
        super().__init__(opened)
        self._channel = channel
        self._run = run

    async def send_bytes(self, data: bytes) -> None:
        await self._run(self._channel.send(data))

    async def receive_bytes(self) -> bytes:
        try:
            return frames.encode(await self._run(self._channel.next(PATIENCE_SECONDS)))
        except ConnectionLost:
            return b""
