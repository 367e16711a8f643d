"""What front ends get: an `Endpoint`, and the small interfaces between handlers and whoever carries their answers.

A front end knows only these. Whether the other side is the local dispatcher, a socket or a relay link is not its
business. Sending waits for the receiver, so a handler that streams is slowed by its reader and nothing is queued.
"""

from typing import Protocol

import msgspec

from ptybridge.model import Caller


class EventSink(Protocol):
    """Where the handler of a stream sends to. `opened` comes first and once; `send` waits for the receiver."""

    async def opened(self, answer: msgspec.Struct) -> None: ...
    async def send(self, event: msgspec.Struct) -> None: ...


class Channel(Protocol):
    """Duplex bytes between the handler of a channel operation and its client, carrying whole frames.

    `send` may be cancelled at any time without tearing a frame. `offer_nowait` is the inline lane: it takes the frame
    `head + payload` at once or takes nothing. `receive` returns b"" at the end.
    """

    async def opened(self, answer: msgspec.Struct) -> None: ...
    async def send(self, head: bytes, payload: bytes = b"") -> None: ...
    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool: ...
    async def receive(self) -> bytes: ...


class Endpoint(Protocol):
    """A place where operations can be called: the local dispatcher, a connection over the socket, a relay link."""

    async def call(self, caller: Caller, method: str, params: msgspec.Raw | None) -> msgspec.Struct:
        """Call an operation by name. Raises `PtybridgeError` (and nothing else)."""
        ...

    def call_nowait(self, caller: Caller, method: str, params: msgspec.Raw | None) -> msgspec.Struct | None:
        """Answer at once if the operation never waits; None when `call` must be used."""
        ...

    async def stream(self, caller: Caller, method: str, params: msgspec.Raw | None, sink: EventSink) -> str:
        """Run a stream into `sink`; return the reason it ended."""
        ...

    async def open(self, caller: Caller, method: str, params: msgspec.Raw | None, channel: Channel) -> None:
        """Run a channel until either side ends it."""
        ...

    def kind(self, method: str) -> str:
        """Return "call", "stream" or "channel". Raises `MethodNotFound`."""
        ...
