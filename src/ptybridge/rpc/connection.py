"""One peer on the socket: requests in, answers and stream events out, until it goes or becomes a channel.

How it works: the reader task decodes lines. Operations that never wait are answered in place, and all answers to one
chunk leave in one write; the others get a task each, so no request waits for another. But each task takes its first
step before the next request is looked at, so that pipelined input stays in order. Everything written goes through
`Writer`, whose lock keeps lines whole and whose waiting slows a handler down to the speed of its peer. When the peer
goes, the connection's nursery is cancelled and with it everything that was running for it.
"""

import logging
import select
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import trio

from ptybridge.api import node
from ptybridge.api.endpoint import Endpoint
from ptybridge.errors import (
    InvalidParams,
    InvalidRequest,
    PtybridgeError,
    RequestCancelled,
    RequestTooLarge,
    TooManyRequests,
)
from ptybridge.mistakes import misread
from ptybridge.model import Caller
from ptybridge.rpc.channel import SocketChannel
from ptybridge.wire import jsonrpc

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
HALF_CLOSED_POLL_SECONDS = 0.05
_CANCEL = node.CANCEL.name
_cancel_params = msgspec.json.Decoder(node.Cancel)


class Writer:
    """The only writer of the stream. `queue` is for answers made in place, `send` waits for the peer."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket
        self._lock = trio.Lock()
        self._queued = bytearray()
        self._unsent = memoryview(b"")

    def queue(self, line: bytes) -> None:
        """Add a line to the next write."""
        self._queued += line

    async def flush(self) -> None:
        """Write what is queued, by whomever. Cancelled, it leaves the rest to the next flush: no line is lost or torn.

        Raises `trio.BrokenResourceError` when the peer is gone.
        """
        async with self._lock:
            while self._queued or self._unsent:
                if not self._unsent:
                    self._unsent, self._queued = memoryview(bytes(self._queued)), bytearray()
                try:
                    sent = await self._socket.send(self._unsent)
                except OSError as exc:
                    raise trio.BrokenResourceError("the peer is gone") from exc
                self._unsent = self._unsent[sent:]

    async def send(self, line: bytes) -> None:
        """Write a line, after those already queued."""
        self.queue(line)
        await self.flush()


class _StreamSink:
    """Carries one stream's events as notifications."""

    def __init__(self, writer: Writer, request_id: jsonrpc.Id, stream_id: str) -> None:
        self._writer = writer
        self._request_id = request_id
        self.stream_id = stream_id
        self.is_open = False

    async def opened(self, answer: msgspec.Struct) -> None:
        """Answer the request: `{stream_id, …}`."""
        self.is_open = True
        fields = {"stream_id": self.stream_id, **msgspec.structs.asdict(answer)}
        await self._writer.send(jsonrpc.encode_result(self._request_id, fields))

    async def send(self, event: msgspec.Struct) -> None:
        """Send `stream.event {stream_id, event}`."""
        await self._writer.send(
            jsonrpc.encode_notification("stream.event", {"stream_id": self.stream_id, "event": event})
        )


class _Batch:
    """Collects a batch's answers; they leave together when the last one is there."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._answers: list[bytes] = []
        self.pending = 0
        self.complete = False

    def add(self, answer: bytes) -> None:
        self._answers.append(answer)

    async def finish_one(self, answer: bytes) -> None:
        """Take the answer of a member that had a task of its own."""
        self.add(answer)
        self.pending -= 1
        if self.complete and not self.pending:
            await self._writer.send(self.line())

    def line(self) -> bytes:
        """The whole batch; empty when all were notifications."""
        return jsonrpc.join_batch(self._answers)


Reply = Callable[[bytes], Awaitable[None]]


class Connection:
    """Serves one peer."""

    def __init__(
        self, stream: trio.SocketStream, endpoint: Endpoint, caller: Caller, *, max_line: int, max_in_flight: int
    ) -> None:
        self._stream = stream
        self._endpoint = endpoint
        self._caller = caller
        self._lines = jsonrpc.LineBuffer(max_line)
        self._writer = Writer(stream)
        self._max_in_flight = max_in_flight
        self._in_flight: dict[jsonrpc.Id, trio.CancelScope] = {}
        self._notifications = 0
        self._streams = 0
        self._more_follows = False
        self._channel_request: jsonrpc.Request | None = None

    async def run(self) -> None:
        """Serve until the peer goes or, when it asks for a channel, until that ends."""
        while True:
            async with trio.open_nursery() as nursery:
                await self._serve_lines(nursery)
                if self._channel_request is None:
                    await self._finish_half_closed()
                # Nothing that still runs for a peer that is gone can reach it.
                nursery.cancel_scope.cancel()
            request, self._channel_request = self._channel_request, None
            if request is None or await self._run_channel(request):
                return

    async def _serve_lines(self, nursery: trio.Nursery) -> None:
        while True:
            data = bytes(await self._stream.receive_some(READ_BYTES))
            # A last line may lack its newline (`printf '…' | socat`).
            lines = self._split(data) if data else list(filter(None, (self._lines.finish(),)))
            for at, line in enumerate(lines, start=1):
                self._more_follows = at < len(lines) or self._lines.pending
                await self._take(jsonrpc.decode_message(line), nursery)
                if self._channel_request is not None:
                    break
            await self._writer.flush()
            if not data or self._channel_request is not None:
                return

    async def _finish_half_closed(self) -> None:
        """A peer that only ended its sending (`echo … | socat`) still waits for its answers; one that is gone does not.

        The kernel tells them apart by POLLHUP, for which nothing can be awaited, as the socket stays readable.
        """
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), 0)
        while self._in_flight and not poll.poll(0):  # noqa: ASYNC110 - nothing announces it
            await trio.sleep(HALF_CLOSED_POLL_SECONDS)

    def _split(self, data: bytes) -> list[bytes]:
        while True:
            try:
                return self._lines.feed(data)
            except RequestTooLarge as exc:
                self._writer.queue(jsonrpc.encode_error(None, exc))
                data = b""

    # -- one message ----------------------------------------------------------------------------------------

    async def _take(self, message: jsonrpc.Message | list[jsonrpc.Message], nursery: trio.Nursery) -> None:
        if isinstance(message, list):
            batch = _Batch(self._writer)
            for member in message:
                answer = self._begin(member, nursery, batch.finish_one, batch)
                if answer is not None:
                    batch.add(answer)
                else:
                    await trio.lowlevel.checkpoint()
            batch.complete = True
            if not batch.pending:
                self._writer.queue(batch.line())
            return
        answer = self._begin(message, nursery, self._writer.send, None)
        if answer is not None:
            self._writer.queue(answer)
        elif self._more_follows:
            # Trio starts tasks in any order, but after a checkpoint those spawned before it have begun.
            await trio.lowlevel.checkpoint()

    def _begin(
        self, message: jsonrpc.Message, nursery: trio.Nursery, reply: Reply, batch: _Batch | None
    ) -> bytes | None:
        """Answer in place, or start a task that will; None when there is nothing to write now."""
        match message:
            case jsonrpc.Request():
                try:
                    return self._begin_request(message, nursery, reply, batch)
                except PtybridgeError as exc:
                    return jsonrpc.encode_error(message.id, exc)
            case jsonrpc.Notification(method=method) if method == _CANCEL:
                with suppress(InvalidParams):
                    self._cancel(message.params)
                return None
            case jsonrpc.Notification():
                # Nobody can be told that there are too many, so those over the limit are dropped.
                if len(self._in_flight) + self._notifications < self._max_in_flight:
                    self._notifications += 1
                    nursery.start_soon(self._run_notification, message)
                return None
            case jsonrpc.Malformed():
                return jsonrpc.encode_error(message.id, message.error) if message.answer else None
            case _:
                return None  # a response: we asked nothing

    def _begin_request(
        self, request: jsonrpc.Request, nursery: trio.Nursery, reply: Reply, batch: _Batch | None
    ) -> bytes | None:
        if request.method == _CANCEL:
            return jsonrpc.encode_result(request.id, self._cancel(request.params))
        answer = self._endpoint.call_nowait(self._caller, request.method, request.params)
        if answer is not None:
            return jsonrpc.encode_result(request.id, answer)
        kind = self._endpoint.kind(request.method)
        if kind != "call" and batch is not None:
            raise InvalidRequest(f"{request.method} cannot be part of a batch")
        if kind == "channel":
            if self._in_flight or self._more_follows:
                raise InvalidRequest(
                    f"{request.method} must be the only request in flight; send nothing until it is answered"
                )
            self._channel_request = request
            return None
        if request.id in self._in_flight:
            raise InvalidRequest(f"the id {request.id!r} is still in flight on this connection")
        if len(self._in_flight) + self._notifications >= self._max_in_flight:
            raise TooManyRequests(f"{self._max_in_flight} requests are in flight on this connection")
        scope = self._in_flight[request.id] = trio.CancelScope()
        if kind == "stream":
            nursery.start_soon(self._run_stream, request, scope)
        else:
            if batch is not None:
                batch.pending += 1
            nursery.start_soon(self._run_call, request, scope, reply)
        return None

    def _cancel(self, params: msgspec.Raw) -> node.Cancelled:
        try:
            wanted = _cancel_params.decode(params)
        except msgspec.DecodeError as exc:
            said = misread(exc, "parameter")
            raise InvalidParams(f"{_CANCEL}: {said}", hint="give the id of the request to cancel") from exc
        scope = self._in_flight.get(wanted.id)
        if scope is not None:
            scope.cancel()
        return node.Cancelled(cancelled=scope is not None)

    # -- tasks ----------------------------------------------------------------------------------------------

    async def _run_call(self, request: jsonrpc.Request, scope: trio.CancelScope, reply: Reply) -> None:
        answer: bytes | None = None
        try:
            with scope:
                result = await self._endpoint.call(self._caller, request.method, request.params)
                answer = jsonrpc.encode_result(request.id, result)
        except PtybridgeError as exc:
            answer = jsonrpc.encode_error(request.id, exc)
        finally:
            self._in_flight.pop(request.id, None)
        if answer is None:
            answer = jsonrpc.encode_error(request.id, RequestCancelled(f"{request.method} was cancelled"))
        await reply(answer)

    async def _run_notification(self, message: jsonrpc.Notification) -> None:
        try:
            if self._endpoint.kind(message.method) == "call":
                await self._endpoint.call(self._caller, message.method, message.params)
        except PtybridgeError as exc:
            log.debug("notification %s: %s", message.method[:80], exc.code)
        finally:
            self._notifications -= 1

    async def _run_stream(self, request: jsonrpc.Request, scope: trio.CancelScope) -> None:
        self._streams += 1
        sink = _StreamSink(self._writer, request.id, f"s{self._streams}")
        ending: dict[str, object] = {"stream_id": sink.stream_id, "reason": "cancelled"}
        try:
            with scope:
                ending["reason"] = await self._endpoint.stream(self._caller, request.method, request.params, sink)
        except PtybridgeError as exc:
            if not sink.is_open:
                await self._writer.send(jsonrpc.encode_error(request.id, exc))
                return
            ending |= {"reason": "error", "error": {"message": exc.message, "data": exc.describe()}}
        finally:
            self._in_flight.pop(request.id, None)
        if not sink.is_open:
            cancelled = RequestCancelled(f"{request.method} was cancelled")
            await self._writer.send(jsonrpc.encode_error(request.id, cancelled))
        else:
            await self._writer.send(jsonrpc.encode_notification("stream.end", ending))

    async def _run_channel(self, request: jsonrpc.Request) -> bool:
        """Run the channel to its end; return whether it was opened at all. If not, lines go on."""
        opened = False

        async def answer(result: msgspec.Struct) -> None:
            nonlocal opened
            opened = True
            await self._writer.send(jsonrpc.encode_result(request.id, result))

        channel = SocketChannel(self._stream, answer)
        try:
            await self._endpoint.open(self._caller, request.method, request.params, channel)
        except PtybridgeError as exc:
            if opened:
                raise
            await self._writer.send(jsonrpc.encode_error(request.id, exc))
        return opened
