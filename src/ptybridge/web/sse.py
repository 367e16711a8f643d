"""Streams as server-sent events (html.spec.whatwg.org, "Server-sent events").

An `opened` event carries the operation's answer, then each event comes under its type, and `end` says why it is over.
`id:` is the offset behind an event's output, or the event's number; a browser sends the last one back as
`Last-Event-ID` and the stream goes on from there. A comment every 15 s of silence keeps proxies from giving up.
Nothing is queued: the next event is asked for when the peer has taken the last one.
"""

from typing import Any, Final

import msgspec
import trio

from ptybridge.api.openapi_streams import RESUMED
from ptybridge.api.registry import AnyOperation
from ptybridge.errors import InvalidRequest, PtybridgeError
from ptybridge.model import Caller
from ptybridge.web.answers import error_json
from ptybridge.web.context import Send, Web

HEARTBEAT_SECONDS: Final = 15.0
# A browser comes back after so long.
RETRY_MS: Final = 1000


def resume(operation: AnyOperation, params: dict[str, object], last_event_id: bytes | None) -> None:
    """Let the stream go on behind the last event the peer has had."""
    field = RESUMED.get(operation.name)
    if field is None or not last_event_id:
        return
    if not last_event_id.isdigit() or len(last_event_id) > 19:
        raise InvalidRequest("Last-Event-ID is not an id of this stream")
    params[field] = int(last_event_id)


class EventStream:
    """One stream's response. It is the sink that the operation's handler sends to."""

    def __init__(self, operation: AnyOperation, send: Send) -> None:
        self._by_number = RESUMED.get(operation.name) == "after"
        self._resumable = operation.name in RESUMED
        self._send = send
        self._turn = trio.Lock()  # a heartbeat must not come into the middle of an event
        self._sent_at = trio.current_time()
        self.started = False

    async def opened(self, answer: msgspec.Struct) -> None:
        """Begin the response."""
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            # nginx would collect events otherwise.
            (b"x-accel-buffering", b"no"),
        ]
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        position = self._position(answer, "number" if self._by_number else "offset")
        await self._put(b"opened", msgspec.json.encode(answer), position, b"retry: %d\n" % RETRY_MS)

    async def send(self, event: msgspec.Struct) -> None:
        """Send one event, once the peer has taken those before it."""
        kind = str(event.__struct_config__.tag or "event").encode()
        position = self._position(event, "number") if self._by_number else self._behind(event)
        await self._put(kind, msgspec.json.encode(event), position)

    async def end(self, reason: str, error: PtybridgeError | None = None) -> None:
        """Say why it is over, and end the response."""
        body: dict[str, Any] = {"reason": reason}
        if error is not None:
            described = error_json(error.code, error.message, hint=error.hint, retryable=error.retryable)
            body["error"] = msgspec.json.decode(described)["error"]
        await self._put(b"end", msgspec.json.encode(body), None)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def beat(self) -> None:
        """Send a comment whenever nothing else was sent for a while, for ever."""
        while True:
            await trio.sleep_until(self._sent_at + HEARTBEAT_SECONDS)
            if trio.current_time() >= self._sent_at + HEARTBEAT_SECONDS and self.started:
                await self._write(b": heartbeat\n\n")

    def _behind(self, event: msgspec.Struct) -> int | None:
        """Return the offset from which a follower that has had this event goes on."""
        for field in ("next_offset", "to_offset", "end_offset", "offset"):
            if hasattr(event, field):
                return self._position(event, field)
        return None

    def _position(self, event: msgspec.Struct, field: str) -> int | None:
        found = getattr(event, field, None) if self._resumable else None
        return found if isinstance(found, int) else None

    async def _put(self, kind: bytes, data: bytes, position: int | None, head: bytes = b"") -> None:
        place = b"" if position is None else b"id: %d\n" % position
        # JSON has no line breaks, so one `data:` is enough.
        await self._write(b"%s%sevent: %s\ndata: %s\n\n" % (head, place, kind, data))

    async def _write(self, data: bytes) -> None:
        async with self._turn:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self._sent_at = trio.current_time()


async def serve(web: Web, caller: Caller, operation: AnyOperation, params: msgspec.Raw, send: Send) -> None:
    """Answer with a stream. Raises what happens before it has begun; later failures are its last event."""
    stream = EventStream(operation, send)
    problem: PtybridgeError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.beat)
        try:
            await stream.end(await web.endpoint.stream(caller, operation.name, params, stream))
        except PtybridgeError as exc:
            problem = exc
            if stream.started:
                await stream.end("failed", exc)
        nursery.cancel_scope.cancel()
    if problem is not None and not stream.started:
        raise problem
