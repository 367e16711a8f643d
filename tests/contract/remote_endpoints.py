"""The socket, raw and through the blocking SDK, behind the tests' client."""

import math
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Union

import msgspec
import trio
from tests.contract.endpoints import (
    PATIENCE_SECONDS,
    Link,
    R,
    Stream,
    StreamEnded,
    unchecked,
)

from ptybridge.api import attach
from ptybridge.api.operation import Operation
from ptybridge.errors import ConnectionLost, PtybridgeError
from ptybridge.sdk import blocking
from ptybridge.wire import jsonrpc


class SocketClient:
    """An asynchronous client of the socket: many requests in flight, matched by id."""

    def __init__(self, path: str, stream: trio.SocketStream) -> None:
        self._path = path
        self._stream = stream
        self._ids = count(1)
        self._lock = trio.Lock()
        self._answers: dict[object, trio.MemorySendChannel[msgspec.Raw | PtybridgeError]] = {}
        self._streams: dict[str, _SocketStream] = {}
        self._opening: dict[object, _SocketStream] = {}

    @classmethod
    async def connect(cls, path: str, nursery: trio.Nursery) -> "SocketClient":
        client = cls(path, await trio.open_unix_socket(path))
        nursery.start_soon(client._read)
        return client

    async def _read(self) -> None:
        lines = jsonrpc.LineBuffer()
        try:
            async for data in self._stream:
                for line in lines.feed(bytes(data)):
                    self._take(jsonrpc.decode_message(line))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the same as the end
        for answer in self._answers.values():
            answer.send_nowait(ConnectionLost())
        for stream in self._streams.values():
            stream.end("connection lost", None)

    def _take(self, message: jsonrpc.Message | list[jsonrpc.Message]) -> None:
        if isinstance(message, jsonrpc.Response):
            opening = self._opening.pop(message.id, None)
            if opening is not None and isinstance(message.outcome, msgspec.Raw):
                # Its events may stand in the same chunk, before the task that asked runs again.
                self._streams[msgspec.json.decode(message.outcome)["stream_id"]] = opening
            self._answers.pop(message.id).send_nowait(message.outcome)
        elif isinstance(message, jsonrpc.Notification):
            params = msgspec.json.decode(message.params, type=dict[str, msgspec.Raw])
            stream = self._streams[msgspec.json.decode(params["stream_id"])]
            if message.method == "stream.event":
                stream.put(params["event"])
            else:
                assert message.method == "stream.end"
                stream.end(msgspec.json.decode(params["reason"]), params.get("error"))
        else:
            raise AssertionError(f"not an answer: {message}")

    async def _exchange(self, method: str, params: object, opening: "_SocketStream | None" = None) -> Any:
        request_id = next(self._ids)
        sender, receiver = trio.open_memory_channel[msgspec.Raw | PtybridgeError](1)
        self._answers[request_id] = sender
        if opening is not None:
            opening.request_id = request_id
            self._opening[request_id] = opening
        with trio.fail_after(PATIENCE_SECONDS):
            async with self._lock:
                await self._stream.send_all(jsonrpc.encode_request(request_id, method, params))
            outcome = await receiver.receive()
        if isinstance(outcome, PtybridgeError):
            raise outcome
        return outcome

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        return msgspec.json.decode(await self._exchange(method, params or {}))

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        raw = await self._exchange(operation.name, params)
        return msgspec.json.decode(raw, type=operation.result)

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        stream = _SocketStream(operation)
        raw = await self._exchange(operation.name, params, stream)
        stream.opened = msgspec.json.decode(raw, type=operation.result)
        try:
            yield stream
        finally:
            if not stream.ended:
                with trio.move_on_after(5, shield=True):
                    await self._exchange("rpc.cancel", {"id": stream.request_id})

    @asynccontextmanager
    async def channel(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Link]:
        async with await trio.open_unix_socket(self._path) as stream:
            await stream.send_all(jsonrpc.encode_request(1, operation.name, params))
            data = b""
            with trio.fail_after(PATIENCE_SECONDS):
                while b"\n" not in data:
                    some = await stream.receive_some()
                    assert some, "the connection ended without an answer"
                    data += bytes(some)
            line, _, rest = data.partition(b"\n")
            _, outcome = jsonrpc.decode_response(line)
            if isinstance(outcome, PtybridgeError):
                raise outcome
            yield _SocketLink(msgspec.json.decode(outcome, type=operation.result), rest, stream)

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        return self.channel(attach.ATTACH, **params)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _SocketStream:
    def __init__(self, operation: Operation[Any, Any]) -> None:
        self.opened: Any = None
        self.request_id: int | None = None
        self.ended = False
        self._decoder = msgspec.json.Decoder(Union[operation.events])  # noqa: UP007 - made at run time
        # The client reads one connection for many: a stream nobody reads must not hold up the others.
        self._sender, self._receiver = trio.open_memory_channel[Any](math.inf)

    def put(self, raw: msgspec.Raw) -> None:
        self._sender.send_nowait(self._decoder.decode(raw))

    def end(self, reason: str, error: msgspec.Raw | None) -> None:
        self.ended = True
        ending: Exception = StreamEnded(reason)
        if error is not None:
            described = msgspec.json.decode(error)
            ending = PtybridgeError.restore(described["message"], described["data"])
        self._sender.send_nowait(ending)

    async def next(self) -> Any:
        with trio.fail_after(PATIENCE_SECONDS):
            event = await self._receiver.receive()
        if isinstance(event, Exception):
            raise event
        return event


class _SocketLink(Link):
    def __init__(self, opened: Any, first: bytes, stream: trio.SocketStream) -> None:
        super().__init__(opened, first)
        self._stream = stream

    async def send_bytes(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def receive_bytes(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except trio.BrokenResourceError:
            return b""


# -- the blocking SDK ----------------------------------------------------------------------------------------


class BlockingClient:
    """The SDK's blocking connection, in threads. A connection does one thing at a time, so streams have their own."""

    def __init__(self, path: str, connection: blocking.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = trio.Lock()

    @classmethod
    async def connect(cls, path: str) -> "BlockingClient":
        return cls(path, await trio.to_thread.run_sync(blocking.connect, path))

    async def call_raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        return await self._in_thread(self._connection.call_raw, method, params or {})

    async def call(self, operation: Operation[Any, R], **params: Any) -> R:
        unknown = set(params) - set(operation.params.__struct_fields__)
        if unknown:  # the SDK cannot even say such a thing
            return msgspec.convert(await self.call_raw(operation.name, params), operation.result)
        result: R = await self._in_thread(self._connection.call, operation, unchecked(operation.params, params))
        return result

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        async with self._lock:
            # Longer than any test's patience, so that a hang is told as the test's.
            return await trio.to_thread.run_sync(function, *args, PATIENCE_SECONDS)

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        connection = await trio.to_thread.run_sync(blocking.connect, self._path)
        try:
            struct = unchecked(operation.params, params)
            stream = await trio.to_thread.run_sync(connection.stream, operation, struct)
            yield _BlockingStream(stream)
        finally:
            connection.close()

    @asynccontextmanager
    async def channel(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Link]:
        connection = await trio.to_thread.run_sync(blocking.connect, self._path)
        try:
            struct = unchecked(operation.params, params)
            answer, sock, first = await trio.to_thread.run_sync(connection.open, operation, struct)
            sock.setblocking(False)
            yield _BlockingLink(answer, first, sock)
        finally:
            connection.close()

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        return self.channel(attach.ATTACH, **params)

    async def aclose(self) -> None:
        self._connection.close()
        await trio.lowlevel.checkpoint()


class _BlockingStream:
    def __init__(self, stream: blocking.Stream[Any, Any]) -> None:
        self._stream = stream
        self.opened = stream.opened
        self._taken: list[Any] = []

    async def next(self) -> Any:
        with trio.fail_after(PATIENCE_SECONDS):
            while not self._taken:
                if self._stream.reason:
                    raise StreamEnded(self._stream.reason)
                await trio.lowlevel.checkpoint()
                # What came with the answer, or before, waits in the connection and not in the socket.
                self._taken = self._stream.take()
                if not self._taken and not self._stream.reason:
                    await trio.lowlevel.wait_readable(self._stream.fileno())
        return self._taken.pop(0)


class _BlockingLink(Link):
    def __init__(self, opened: Any, first: bytes, sock: socket.socket) -> None:
        super().__init__(opened, first)
        self._sock = sock

    async def send_bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            await trio.lowlevel.wait_writable(self._sock)
            view = view[self._sock.send(view) :]

    async def receive_bytes(self) -> bytes:
        await trio.lowlevel.wait_readable(self._sock)
        try:
            return self._sock.recv(1 << 16)
        except ConnectionError:
            return b""
