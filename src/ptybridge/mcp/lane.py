"""The fast lane: `tools/call` and `ping` of a client that has shaken hands, answered beside the SDK.

How it works: the SDK validates a message five times over and hands it through four tasks, which takes longer than most
tools. So each line is looked at here first. A call or ping in its plain form, as clients send them, is answered with
the same bytes' worth of JSON as the SDK would have sent (a test compares them for every version); so is the
cancellation of such a call. Whatever is unusual in any way goes to the SDK, which knows what to say to it: other
methods, unknown fields, wrong types, the envelope of protocol 2026-07-28, everything before the handshake.
Knows nothing of the SDK itself.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
import trio

from ptybridge.api.endpoint import Channel
from ptybridge.errors import PtybridgeError
from ptybridge.mcp.toolset import Answer, Report

ERROR_KEY: Final = "ptybridge/error"
CANCELLED: Final = "notifications/cancelled"
# What the SDK answers at the end of a connection, and how long it tries to.
CONNECTION_CLOSED: Final = -32000
FAREWELL_SECONDS: Final = 1.0
# Reserved for the protocol (MCP, "_meta"); what stands there may change what a request means.
RESERVED: Final = "io.modelcontextprotocol/"

Id = int | str
Call = Callable[[str, dict[str, Any] | None, Report], Awaitable[Answer | PtybridgeError]]


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: Literal["2.0"]
    method: str
    id: Id | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Ping(msgspec.Struct, forbid_unknown_fields=True):
    meta: dict[str, Any] = msgspec.field(default_factory=dict, name="_meta")


class _Called(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}
    meta: dict[str, Any] = msgspec.field(default_factory=dict, name="_meta")


class _Cancelled(msgspec.Struct):
    requestId: Id


class _Text(msgspec.Struct, tag="text", tag_field="type"):
    text: str


class Result(msgspec.Struct):
    """A tool's result as MCP has it."""

    content: list[_Text]
    is_error: bool = msgspec.field(name="isError")
    structured: dict[str, Any] | msgspec.UnsetType = msgspec.field(name="structuredContent", default=msgspec.UNSET)
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)


class _Response(msgspec.Struct):
    # `id` stands before `result`: `ptybridge mcp` finds it without reading the whole message.
    jsonrpc: Literal["2.0"]
    id: Id
    result: Result


_read_message = msgspec.json.Decoder(_Message).decode
_read_ping = msgspec.json.Decoder(_Ping).decode
_read_call = msgspec.json.Decoder(_Called).decode
_read_cancelled = msgspec.json.Decoder(_Cancelled).decode
_encoder = msgspec.json.Encoder()


def result_of(answer: Answer | PtybridgeError) -> Result:
    """Return what a client gets to see of a tool's answer, or of its failure."""
    if isinstance(answer, Answer):
        structured = msgspec.UNSET if answer.structured is None else answer.structured
        return Result([_Text(answer.text)], False, structured)
    text = f"{answer.message}\nhint: {answer.hint}" if answer.hint else answer.message
    return Result([_Text(text)], True, meta={ERROR_KEY: msgspec.to_builtins(answer.describe())})


class _InFlight:
    """A call that is being made."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.cancelled = False


class Lane:
    """One connection's fast lane; closed until `opened` is true. Calls run in `nursery`."""

    def __init__(self, nursery: trio.Nursery, channel: Channel, call: Call) -> None:
        self.opened = False
        self._nursery = nursery
        self._channel = channel
        self._call = call
        self._in_flight: dict[Id, _InFlight] = {}

    def take(self, line: bytes) -> bool:
        """Begin to answer a message, or return False for the SDK to do it.

        A call runs in a task: make a checkpoint before the next message, so that it begins before that one.
        """
        if not self.opened:
            return False
        try:
            message = _read_message(line)
            if message.id is msgspec.UNSET:
                return message.method == CANCELLED and self._cancel(_read_cancelled(message.params))
            if message.method == "tools/call":
                return self._begin(message.id, _read_call(message.params))
            if message.method == "ping":
                return self._pong(message.id, _read_ping(message.params))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return False

    def _begin(self, request_id: Id, called: _Called) -> bool:
        if not _is_plain(called.meta):
            return False
        entry = self._in_flight[_key(request_id)] = _InFlight()
        self._nursery.start_soon(self._run, request_id, called, entry)
        return True

    def _pong(self, request_id: Id, ping: _Ping) -> bool:
        if not _is_plain(ping.meta):
            return False
        line = _encoder.encode({"jsonrpc": "2.0", "id": request_id, "result": {}}) + b"\n"
        self._nursery.start_soon(self._send, line)
        return True

    def _cancel(self, cancelled: _Cancelled) -> bool:
        entry = self._in_flight.get(_key(cancelled.requestId))
        if entry is None:
            return False
        entry.cancelled = True
        entry.scope.cancel()
        return True

    async def _run(self, request_id: Id, called: _Called, entry: _InFlight) -> None:
        """Make a call and answer it, unless the client has said that it does not want to know."""
        answering = False
        try:
            with entry.scope:
                try:
                    answer = await self._call(called.name, called.arguments, self._reporter(called.meta))
                finally:
                    # The client may use an id again, even before this one is done.
                    if self._in_flight.get(key := _key(request_id)) is entry:
                        del self._in_flight[key]
                if not entry.cancelled:
                    answering = True
                    await self._send(_encoder.encode(_Response("2.0", request_id, result_of(answer))) + b"\n")
        except (trio.Cancelled, BaseExceptionGroup):
            if not answering and not entry.cancelled:
                error = {"code": CONNECTION_CLOSED, "message": "Connection closed"}
                with trio.move_on_after(FAREWELL_SECONDS, shield=True):
                    await self._send(_encoder.encode({"jsonrpc": "2.0", "id": request_id, "error": error}) + b"\n")
            raise

    def _reporter(self, meta: dict[str, Any]) -> Report:
        token = meta.get("progressToken")

        async def report(done: float, total: float | None, message: str | None) -> None:
            if token is None:
                await trio.lowlevel.checkpoint()
                return
            params = {"progressToken": token, "progress": done}
            if total is not None:
                params["total"] = total
            if message is not None:
                params["message"] = message
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            await self._send(_encoder.encode(note) + b"\n")

        return report

    async def _send(self, line: bytes) -> None:
        # Not `offer_nowait`: it may leave a rest that the next frame takes along, and there may be no next one.
        try:
            await self._channel.send(line)
        except trio.BrokenResourceError:
            pass  # the client is gone; who reads the channel sees it and ends everything


def _key(request_id: Id) -> Id:
    """Return the number that a string stands for, as the SDK does: some clients write the id to cancel as a string."""
    if isinstance(request_id, str):
        try:
            return int(request_id)
        except ValueError:
            pass
    return request_id


def _is_plain(meta: dict[str, Any]) -> bool:
    """Tell whether nothing but perhaps progress is asked for beside a request."""
    if not meta:
        return True
    token = meta.get("progressToken", 0)
    if isinstance(token, bool) or not isinstance(token, int | str):
        return False
    return not any(name.startswith(RESERVED) for name in meta)
