"""The SDK's two streams of messages over a channel of bytes: one JSON object a line.

How it works: what is no message at all (bad JSON, a batch, a bare value) is answered here with one JSON-RPC error, and
the connection goes on; the SDK would drop it without a word. A checkpoint after each message lets the task that serves
it begin before the next message is looked at, so that input sent by two calls in a row arrives in that order.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import mcp_types as types
import msgspec
import trio
from mcp.shared.message import SessionMessage

from ptybridge.api.endpoint import Channel
from ptybridge.errors import InvalidRequest, ParseError, PtybridgeError, RequestTooLarge
from ptybridge.wire.jsonrpc import encode_error
from ptybridge.wire.lines import LineBuffer


class Incoming:
    """What the client sends, as the SDK wants to read it, less what `take` takes.

    `max_line` bounds a message in bytes.
    """

    def __init__(self, channel: Channel, max_line: int, take: Callable[[bytes], bool]) -> None:
        self._channel = channel
        self._take = take
        self._lines = LineBuffer(max_line)
        self._ready: list[bytes] = []

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message. Raises `anyio.EndOfStream` at the end."""
        await trio.lowlevel.checkpoint()
        while True:
            while self._ready:
                line = self._ready.pop(0)
                if self._take(line):
                    await trio.lowlevel.checkpoint()
                    continue
                message = await self._understand(line)
                if message is not None:
                    return message
            data = await self._channel.receive()
            if not data:
                raise anyio.EndOfStream
            await self._split(data)

    async def _split(self, data: bytes) -> None:
        while True:
            try:
                self._ready += self._lines.feed(data)
                return
            except RequestTooLarge as exc:
                await self._refuse(exc)
                data = b""

    async def _understand(self, line: bytes) -> SessionMessage | None:
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            pass
        else:
            if isinstance(message, types.JSONRPCNotification) and _asks(message, line):
                await self._refuse(InvalidRequest("the id of a request must be text or a whole number"))
                return None
            return SessionMessage(message)
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            await self._refuse(ParseError("this line is not JSON; each message is one line"))
            return None
        given = found.get("id") if isinstance(found, dict) else None
        hint = "batches are not part of MCP; send each message on a line of its own"
        await self._refuse(
            InvalidRequest("this is no JSON-RPC 2.0 message", hint=hint if isinstance(found, list) else None),
            given if isinstance(given, str | int) and not isinstance(given, bool) else None,
        )
        return None

    async def _refuse(self, error: PtybridgeError, message_id: str | int | None = None) -> None:
        await self._channel.send(encode_error(message_id, error))

    async def aclose(self) -> None:
        """Do nothing: the channel belongs to the connection."""
        await trio.lowlevel.checkpoint()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _asks(message: types.JSONRPCNotification, line: bytes) -> bool:
    """Tell whether what was understood as a notification is a request whose id is none: it would wait for ever."""
    # Clients that write out every member give notifications "id": null, and wait for nothing.
    if message.method.startswith("notifications/") or b'"id"' not in line:
        return False
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(found, dict) and "id" in found


class Outgoing:
    """What the SDK sends. Waits for the client; may be cancelled without tearing a message."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, item: SessionMessage, /) -> None:
        """Send one message. Raises `anyio.BrokenResourceError` when the client is gone, which the SDK understands."""
        # `id` stands before `result`: `ptybridge mcp` finds it without reading the whole message.
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            await self._channel.send(text.encode() + b"\n")
        except trio.BrokenResourceError as exc:
            raise anyio.BrokenResourceError from exc

    async def aclose(self) -> None:
        """Do nothing: the channel belongs to the connection."""
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
