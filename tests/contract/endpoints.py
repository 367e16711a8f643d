"""What the contract's tests run over: the same client in front of the dispatcher, the socket and the blocking SDK."""

import math
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Protocol, TypeVar, Union

import msgspec
import trio

from ptybridge.api import attach
from ptybridge.api.operation import Operation
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon
from ptybridge.errors import ConnectionLost, PtybridgeError
from ptybridge.model import Caller
from ptybridge.sdk import blocking
from ptybridge.wire import attach as frames
from ptybridge.wire import jsonrpc

R = TypeVar("R", bound=msgspec.Struct)
F = TypeVar("F", bound=frames.Frame)

# Generous: only a hang should ever reach it.
PATIENCE_SECONDS = 30.0
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
    """An attachment: frames both ways over whatever carries bytes."""

    def __init__(self, opened: attach.AttachedResult, first: bytes = b"") -> None:
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

    def attach(self, **params: Any) -> AbstractAsyncContextManager[Link]:
        """Attach; the connection is cut at the end of the block."""
        ...

    async def aclose(self) -> None:
        """Go away."""
        ...


# -- the dispatcher ------------------------------------------------------------------------------------------


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
        raw = _raw(params)
        with trio.fail_after(PATIENCE_SECONDS):
            await trio.lowlevel.checkpoint()
            answer = self._endpoint.call_nowait(self.caller, method, raw)
            return await self._endpoint.call(self.caller, method, raw) if answer is None else answer

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        stream = _LocalStream()

        async def run() -> None:
            try:
                stream.reason = await self._endpoint.stream(self.caller, operation.name, _raw(params), _Sink(stream))
            except PtybridgeError as exc:
                stream.error = exc
            finally:
                stream.ready.set()
                stream.sender.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await stream.ready.wait()
            if stream.opened is not None:
                yield stream
            nursery.cancel_scope.cancel()
        if stream.opened is None and stream.error is not None:
            raise stream.error

    @asynccontextmanager
    async def attach(self, **params: Any) -> AsyncIterator[Link]:
        channel = _MemoryChannel()

        async def run() -> None:
            try:
                await self._endpoint.open(self.caller, attach.ATTACH.name, _raw(params), channel)
            except PtybridgeError as exc:
                channel.error = exc
            except trio.BrokenResourceError:
                pass  # the client has gone
            finally:
                channel.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await channel.answered.wait()
            if channel.answer is not None:
                yield _LocalLink(channel)
                channel.hang_up()
            elif channel.error is None:
                raise AssertionError("the channel was not opened and gave no reason")
        if channel.answer is None and channel.error is not None:
            raise channel.error

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
    async def attach(self, **params: Any) -> AsyncIterator[Link]:
        async with await trio.open_unix_socket(self._path) as stream:
            await stream.send_all(jsonrpc.encode_request(1, attach.ATTACH.name, params))
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
            yield _SocketLink(msgspec.json.decode(outcome, type=attach.AttachedResult), rest, stream)

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
    def __init__(self, opened: attach.AttachedResult, first: bytes, stream: trio.SocketStream) -> None:
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
        result: R = await self._in_thread(self._connection.call, operation, _unchecked(operation.params, params))
        return result

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        async with self._lock:
            # Longer than any test's patience, so that a hang is told as the test's.
            return await trio.to_thread.run_sync(function, *args, PATIENCE_SECONDS)

    @asynccontextmanager
    async def stream(self, operation: Operation[Any, Any], **params: Any) -> AsyncIterator[Stream]:
        connection = await trio.to_thread.run_sync(blocking.connect, self._path)
        try:
            struct = _unchecked(operation.params, params)
            stream = await trio.to_thread.run_sync(connection.stream, operation, struct)
            yield _BlockingStream(stream)
        finally:
            connection.close()

    @asynccontextmanager
    async def attach(self, **params: Any) -> AsyncIterator[Link]:
        connection = await trio.to_thread.run_sync(blocking.connect, self._path)
        try:
            struct = _unchecked(attach.ATTACH.params, params)
            answer, sock, first = await trio.to_thread.run_sync(connection.open, attach.ATTACH, struct)
            sock.setblocking(False)
            yield _BlockingLink(answer, first, sock)
        finally:
            connection.close()

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
    def __init__(self, opened: attach.AttachedResult, first: bytes, sock: socket.socket) -> None:
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


def _unchecked(kind: type[msgspec.Struct], params: dict[str, Any]) -> Any:
    """Make parameters of whatever the test gives: the daemon has to check them, not the client."""
    return kind(**params)


def _raw(params: dict[str, Any] | None) -> msgspec.Raw | None:
    return None if params is None else msgspec.Raw(msgspec.json.encode(params))


OPERATIONS = {one.name: one for one in contract()}
