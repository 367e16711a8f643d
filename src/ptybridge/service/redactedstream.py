"""What agents get of streams: no secret in any event, nor in several put together."""

import base64
from typing import Any, Protocol

import msgspec
import trio

from ptybridge.api import attach as attach_api
from ptybridge.core.redaction import MAX_HELD_BYTES, Redactor, Secrets
from ptybridge.core.session import Session
from ptybridge.service.without import without


class Sink(Protocol):
    """What takes a stream's events."""

    async def opened(self, answer: Any) -> None: ...
    async def send(self, event: Any) -> None: ...


class RedactedSink:
    """A stream's receiver behind the redaction.

    Output that may be the beginning of a secret waits until more of it has come; so its event has other offsets than
    it had, and an event that is no output may come before it.
    """

    def __init__(self, sink: Sink, secrets: Secrets, session: Session | None) -> None:
        self._sink = sink
        self._secrets = secrets
        self._session = session
        self._streams: dict[str | None, Redactor] = {}
        self._held: dict[str | None, attach_api.OutputEvent] = {}

    async def opened(self, answer: msgspec.Struct) -> None:
        """Pass on the opening answer."""
        await self._sink.opened(without(answer, self._secrets.values))

    async def send(self, event: msgspec.Struct) -> None:
        """Pass on an event, or hold its output."""
        if isinstance(event, attach_api.OutputEvent):
            await self._output(event)
            return
        if not isinstance(event, attach_api.ResizedEvent):
            await self._release()
        values = self._secrets.values
        await self._sink.send(without(event, values) if values else event)

    async def _output(self, event: attach_api.OutputEvent) -> None:
        one = self._streams.get(event.stream)
        if one is None:
            one = self._streams[event.stream] = Redactor(self._secrets, forms=False)
            one.prime(self._before(event))
        data = base64.b64decode(event.data) if event.encoding == "base64" else event.data.encode("utf-8", "replace")
        held = self._held.pop(event.stream, None)
        clean = one.feed(data)
        first = held or event
        if one.pending_bytes:
            rest = max(first.offset, event.next_offset - one.pending_bytes)
            self._held[event.stream] = msgspec.structs.replace(event, offset=rest)
            event = msgspec.structs.replace(event, next_offset=rest)
        if not clean:
            await trio.lowlevel.checkpoint()
            return
        await self._send(first, event, clean)

    async def _release(self) -> None:
        """Give out what was held: nothing follows, or not what would have."""
        for stream, held in list(self._held.items()):
            clean = self._streams.pop(stream).finish()
            del self._held[stream]
            if clean:
                await self._send(held, held, clean)

    async def _send(self, first: attach_api.OutputEvent, last: attach_api.OutputEvent, data: bytes) -> None:
        text = base64.b64encode(data).decode() if last.encoding == "base64" else data.decode("utf-8", "replace")
        event = msgspec.structs.replace(last, data=text, offset=first.offset)
        await self._sink.send(without(event, self._secrets.values))

    def _before(self, event: attach_api.OutputEvent) -> bytes:
        """Return what stands before the stream's first event: a secret may have begun there."""
        if self._session is None or event.stream is not None:
            return b""
        log = self._session.log
        first = max(log.start, event.offset - MAX_HELD_BYTES)
        at, data = log.read(first, event.offset - first)
        return data[: max(0, event.offset - at)]
