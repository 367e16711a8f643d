"""A connection for tasks of asyncio or Trio, by way of anyio; what `sdk.sync.connection` is for threads.

How it works: as the blocking one, it does one thing at a time, and a call that is cancelled closes it. So there is
no task in the background that could be forgotten, and several tasks use several connections.
"""

import contextlib
import inspect
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import ByteStream, SocketAttribute, TaskGroup, UNIXSocketStream

from ptybridge.api.operation import Operation, Params
from ptybridge.errors import ConnectionLost, PtybridgeError
from ptybridge.sdk.conversation import Conversation, EventDecoder, EventReader, Vigil, convert
from ptybridge.sdk.peer import LOOK_MOST_SECONDS, LOOK_SECONDS, is_served
from ptybridge.sdk.settings import Keepalive
from ptybridge.wire import attach as frames
from ptybridge.wire import jsonrpc

READ_BYTES = 256 * 1024

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)
T = TypeVar("T")

# A custom transport: it returns a new connected stream of bytes each time.
AsyncTransport = Callable[[], Awaitable[ByteStream]]

Event = anyio.Event
sleep = anyio.sleep
now = anyio.current_time


def to_the_end(seconds: float) -> anyio.CancelScope:
    """Let what ends something go on although its task is cancelled, but no longer than that."""
    return anyio.move_on_after(seconds, shield=True)  # noqa: ASYNC122 - entered at once


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call what blocks, for instance on a disk, without holding up other tasks."""
    return await anyio.to_thread.run_sync(function, *args)


async def called(callback: Callable[..., Any], *args: Any) -> None:
    """Call what a caller has given, and wait for it if it is a coroutine function."""
    result = callback(*args)
    if inspect.isawaitable(result):
        await result


class AsyncBackground:
    """A task beside the caller's own, from `begin` to `aclose`, which must be called by the same task."""

    def __init__(self) -> None:
        self._group: TaskGroup | None = None
        self._task: int | None = None

    @property
    def inside(self) -> bool:
        """Whether who asks runs in it."""
        return self._task == anyio.get_current_task().id

    async def begin(self) -> None:
        """Make ready."""
        self._group = anyio.create_task_group()
        await self._group.__aenter__()

    def start(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run `function` in it."""
        assert self._group is not None
        self._group.start_soon(self._run, function)

    async def aclose(self) -> None:
        """Cancel it, and wait until it is over."""
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            await group.__aexit__(None, None, None)

    async def _run(self, function: Callable[[], Awaitable[None]]) -> None:
        self._task = anyio.get_current_task().id
        await function()


async def from_socket(sock: socket.socket) -> ByteStream:
    """Make a stream of a connected socket, which it then owns."""
    try:
        return await UNIXSocketStream.from_socket(sock)
    except BaseException:
        sock.close()
        raise


class AsyncConnection:
    """One connection to the daemon; owns its stream. Not to be shared by tasks."""

    def __init__(self, stream: ByteStream, name: str = "", keepalive: Keepalive | None = None) -> None:
        self._stream = stream
        self._keepalive = keepalive
        self._conversation = Conversation(name)
        self._closed = False
        self._name = name
        # How long to wait for the first word before looking whether there is a daemon at all.
        self._look: float | None = LOOK_SECONDS
        # Starts a daemon when the one we connected to has died before it accepted us; see `peer.wait_answer`.
        self.revive: Callable[[], None] | None = None

    @property
    def ended(self) -> bool:
        """Whether it is closed, by either side, as far as that is known without asking."""
        if self._closed:
            return True
        try:
            raw: socket.socket | None = self._stream.extra(SocketAttribute.raw_socket, None)
            if raw is None or raw.fileno() < 0:
                return raw is not None
            # Not by itself: that of Trio has a coroutine for `recv`.
            with socket.socket(fileno=socket.dup(raw.fileno())) as look:
                return not look.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def aclose(self) -> None:
        """Close the connection; whatever the daemon was doing for it ends."""
        self._closed = True
        await anyio.aclose_forcefully(self._stream)

    def interrupt(self) -> None:
        """Do nothing: whoever waits for it is cancelled."""

    def abandon(self) -> None:
        """Close what the system knows of it, where nothing can be awaited: when it is collected."""
        self._closed = True
        raw: Any = self._stream.extra(SocketAttribute.raw_socket, None)
        if raw is not None:
            raw.close()

    async def call(self, operation: Operation[P, R], params: P, timeout: float | None = None) -> R:
        """Call an operation and wait for its answer, at most `timeout` seconds. Raises `PtybridgeError`."""
        return convert(await self._exchange(operation.name, params, timeout), operation.result)

    async def stream(
        self, operation: Operation[P, R], params: P, timeout: float | None = None
    ) -> "AsyncStream[R, Any]":
        """Open a stream, which takes the connection over. Events of kinds unknown here are left out."""
        raw = await self._exchange(operation.name, params, timeout)
        return AsyncStream(self, convert(raw, operation.result), EventReader(EventDecoder(operation).decode))

    async def open(
        self, operation: Operation[P, R], params: P, timeout: float | None = None
    ) -> tuple[R, "AsyncFrames"]:
        """Open a channel, which takes the connection over."""
        answer = convert(await self._exchange(operation.name, params, timeout), operation.result)
        return answer, AsyncFrames(self, self._stream, self._conversation.rest(), self._keepalive)

    async def next_message(self, timeout: float | None = None) -> jsonrpc.Message:
        """Wait for a message. Raises `ConnectionLost` at the end, `RequestTimeout` after `timeout` seconds."""
        vigil = Vigil("events", timeout, self._keepalive, now())
        while (message := self._conversation.take()) is None:
            await self._fill_within(vigil)
        return message

    # -- inside ---------------------------------------------------------------------------------------------

    async def _exchange(self, method: str, params: object, timeout: float | None) -> msgspec.Raw:
        line = self._conversation.request(method, params)
        try:
            outcome = await self._answer_to(line, Vigil(method, timeout, self._keepalive, now()))
        except BaseException:
            await self.aclose()
            raise
        if isinstance(outcome, PtybridgeError):
            raise outcome
        return outcome

    async def _answer_to(self, line: bytes, vigil: Vigil) -> msgspec.Raw | PtybridgeError:
        # The daemon may have said why before it closed.
        with contextlib.suppress(anyio.BrokenResourceError), anyio.move_on_after(vigil.left(now())):
            await self._stream.send(line)
        while (outcome := self._conversation.outcome()) is None:
            await self._fill_within(vigil)
        return outcome

    async def _fill_within(self, vigil: Vigil) -> None:
        data = b""
        limits = [one for one in (vigil.patience(now()), self._look) if one is not None]
        with anyio.move_on_after(min(limits, default=None)):
            data = await _receive(self._stream)
        if data:
            self._look = None
            self._conversation.feed(data)
            vigil.heard(now())
            return
        if self._look is not None:
            self._look = min(2 * self._look, LOOK_MOST_SECONDS)
            if self._name:
                await in_thread(self._see_to_a_daemon)
        if vigil.silence(now()):
            await _send(self._stream, self._conversation.ping())

    def _see_to_a_daemon(self) -> None:
        if is_served(self._name):
            return
        if self.revive is None:
            raise ConnectionLost("the daemon has gone away before it answered; its sessions are kept", kept=True)
        self.revive()


class AsyncStream(Generic[R, T]):
    """An open stream: `opened` is its answer."""

    def __init__(self, connection: AsyncConnection, opened: R, reader: EventReader[T]) -> None:
        self.opened = opened
        self._connection = connection
        self._reader = reader

    @property
    def reason(self) -> str:
        """Why the stream has ended; empty before."""
        return self._reader.reason

    async def next(self, timeout: float | None = None) -> T | None:
        """Wait for an event, None at the end. Raises `RequestTimeout` when none comes for `timeout` seconds."""
        while not self.reason:
            event = self._reader.understand(await self._connection.next_message(timeout))
            if event is not None:
                return event
        return None


class AsyncFrames:
    """Binary frames over a connection that has become a channel."""

    def __init__(self, owner: AsyncConnection, stream: ByteStream, first: bytes, keepalive: Keepalive | None) -> None:
        self._owner = owner
        self._stream = stream
        self._keepalive = keepalive
        self._buffer = frames.FrameBuffer()
        self._ready = self._buffer.feed(first)

    def taken(self) -> frames.Frame | None:
        """Return a frame that has been received already, if there is one."""
        return self._ready.pop(0) if self._ready else None

    async def next(self, timeout: float | None = None) -> frames.Frame:
        """Wait for a frame. Raises `ConnectionLost` at the end, `RequestTimeout` after `timeout` seconds."""
        vigil = Vigil("frames", timeout, self._keepalive, now())
        while not self._ready:
            data = b""
            with anyio.move_on_after(vigil.patience(now())):
                data = await _receive(self._stream)
            if data:
                self._ready = self._buffer.feed(data)
                vigil.heard(now())
            elif vigil.silence(now()):
                await _send(self._stream, frames.encode(frames.Ping()))
        return self._ready.pop(0)

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        """Send an encoded frame. Raises `ConnectionLost`."""
        await _send(self._stream, head)
        if payload:
            await _send(self._stream, payload)

    async def aclose(self) -> None:
        """Close the channel's connection."""
        await self._owner.aclose()


async def _receive(stream: ByteStream) -> bytes:
    try:
        return await stream.receive(READ_BYTES)
    except anyio.EndOfStream:
        raise ConnectionLost("the daemon has closed the connection") from None
    except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
        raise ConnectionLost("the daemon has gone away") from exc


async def _send(stream: ByteStream, data: bytes) -> None:
    try:
        await stream.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
        raise ConnectionLost("the daemon has gone away") from exc
