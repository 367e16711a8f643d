"""A WebSocket (RFC 6455) of a client, however it is carried: what the terminal needs of it, and no more.

How it works: `accept` takes Hypercorn's connection over where that is possible (HTTP/1.1, with or without TLS) and
answers the handshake itself; frames then go straight between the socket and the terminal (`fastsocket.py`). Over
HTTP/2, or where the hook is missing, ASGI's own messages carry the same (`AsgiSocket`): slower, and nothing else.
Extensions are declined: compression would cost more time than it saves, and decompression is a way to fill memory.
"""

import logging
from typing import Final, Protocol

import trio
from wsproto.utilities import generate_accept_token

from ptybridge.web.context import Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# What a client says in one message; larger input is cut into several (docs/websocket.md).
MAX_MESSAGE_BYTES: Final = 1 << 20
# What a peer that takes nothing may hold up that cannot be interrupted.
SEND_SECONDS: Final = 30.0
# What a refusal or a close may wait for the peer.
CLOSE_SECONDS: Final = 2.0

# Close codes, RFC 6455 section 7.4.1; ours are 4000 + the HTTP status of the error.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED: Final = 1003
INVALID_TEXT: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
UNAUTHENTICATED: Final = 4401


class WebSocket(Protocol):
    """One accepted connection. One task receives, one sends; `run` is a task beside them."""

    heard_at: float
    """When something last came from the peer, on Trio's clock."""

    async def run(self) -> None:
        """Do what has to be done beside sending and receiving, until cancelled."""
        ...

    async def send(self, head: bytes, payload: bytes = b"", *, text: bool = False) -> None:
        """Send `head + payload` as one message. Raises `trio.BrokenResourceError` when the peer is gone.

        May be cancelled at any time; a frame is never torn.
        """
        ...

    def offer_nowait(self, head: bytes, payload: bytes) -> bool:
        """Take the binary message at once, or nothing of it."""
        ...

    async def receive(self) -> bytes | str | None:
        """Return the next message, None at the end."""
        ...

    async def ping(self, message: bytes) -> bool:
        """Ask for a sign of life; `message` is what to send where the carrier has no ping. False: there is no way."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """Close: wait for the peer's close for a short time. Safe in cancelled tasks."""
        ...

    def abort(self) -> None:
        """Cut the connection now; who sends or receives notices."""
        ...


async def accept(scope: Scope, receive: Receive, send: Send, subprotocol: str | None) -> WebSocket | None:
    """Accept the WebSocket of this ASGI scope; None when the peer has gone meanwhile."""
    message = await receive()
    if message["type"] != "websocket.connect":
        return None
    accepted: Message = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": []}
    take_over = scope["state"].get("take_over")
    key = next((value for name, value in scope["headers"] if name == b"sec-websocket-key"), None)
    if take_over is not None and key is not None and scope["http_version"] == "1.1":
        stream = await take_over()
        if stream is not None:
            from ptybridge.web.fastsocket import FastSocket

            try:
                await _answer(stream, key, subprotocol)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            # Nothing of it reaches the peer any more; the access log and Hypercorn learn how it went.
            await send(accepted)
            return FastSocket(stream)
    await send(accepted)
    return AsgiSocket(receive, send)


async def _answer(stream: trio.abc.SendStream, key: bytes, subprotocol: str | None) -> None:
    """Finish the handshake, of which Hypercorn has checked the request."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + generate_accept_token(key),
    ]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
    with trio.move_on_after(SEND_SECONDS) as waiting:
        await stream.send_all(b"\r\n".join([*lines, b"", b""]))
    if waiting.cancelled_caught:
        raise trio.BrokenResourceError("the peer takes nothing")


class AsgiSocket:
    """A `WebSocket` over ASGI's messages. Hypercorn answers pings and limits messages, both by its configuration."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._sending = trio.Lock()
        self._gone = False
        self.heard_at = trio.current_time()

    async def run(self) -> None:
        """Nothing is left to do."""
        await trio.sleep_forever()

    async def send(self, head: bytes, payload: bytes = b"", *, text: bool = False) -> None:
        """Send a message; what carries it keeps its frame whole."""
        data = head + payload
        async with self._sending:
            if self._gone:
                raise trio.BrokenResourceError("the peer is gone")
            await self._send(
                {"type": "websocket.send", "bytes": None, "text": data.decode()}
                if text
                else {"type": "websocket.send", "bytes": data, "text": None}
            )

    def offer_nowait(self, head: bytes, payload: bytes) -> bool:
        """ASGI has no way to send at once."""
        return False

    async def receive(self) -> bytes | str | None:
        """Return the next message."""
        if self._gone:
            return None
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._gone = True
            return None
        self.heard_at = trio.current_time()
        message: bytes | str | None = event.get("bytes")
        if message is None:
            message = str(event.get("text") or "")
        if len(message) > MAX_MESSAGE_BYTES:
            await self.close(TOO_BIG, f"a message may have {MAX_MESSAGE_BYTES} bytes")
            return None
        return message

    async def ping(self, message: bytes) -> bool:
        """Send the given message: pings of the carrier are answered without our seeing it."""
        if message and not self._sending.locked():
            await self.send(message)
        return bool(message)

    async def close(self, code: int, reason: str = "") -> None:
        """Close."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            if not self._gone:
                self._gone = True
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def abort(self) -> None:
        """Send no more; the connection ends with the handler."""
        self._gone = True
