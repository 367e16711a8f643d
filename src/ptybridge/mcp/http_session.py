"""One MCP session over HTTP: the channel of `mcp.open` in the shape the SDK's HTTP server wants.

How it works: the SDK's session manager reads requests and writes answers and event streams (protocol versions up to
2025-11-25 with a session id, later ones without any). It serves a single server object, while each of our clients has
one of its own, with its own settings, owner and memory; so each session has a manager of its own.
"""

import math
from typing import Any

import msgspec
import trio
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from ptybridge.errors import TooManyRequests
from ptybridge.mcp.asgi import Receive, Scope, Send
from ptybridge.wire.lines import MAX_LINE_BYTES

# Requests of one session at a time; an open event stream is one of them.
MAX_IN_FLIGHT = 128


class HttpSession:
    """A session until it is ended, or nobody has asked for anything for `idle_seconds`."""

    def __init__(self, idle_seconds: float) -> None:
        self.ended = False
        self._idle_seconds = idle_seconds
        self._scope = trio.CancelScope()
        self._in_flight = 0
        self._manager: StreamableHTTPSessionManager | None = None
        self._ready = trio.Event()

    # -- the channel: what it carries goes through the SDK, so only its beginning is of use ------------------

    async def opened(self, answer: msgspec.Struct) -> None:
        """Do nothing: an HTTP client learns of it by the answer to its request."""
        await trio.lowlevel.checkpoint()

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        """Refuse: see `carry`."""
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("messages over HTTP are carried by the SDK")

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        """Take nothing: see `carry`."""
        return False

    async def receive(self) -> bytes:
        """Return the end: see `carry`."""
        await trio.lowlevel.checkpoint()
        return b""

    async def carry(self, server: Server[Any]) -> None:
        """Let the SDK serve requests with `server` until the session ends."""
        manager = StreamableHTTPSessionManager(
            server, max_request_body_size=MAX_LINE_BYTES, session_idle_timeout=None, max_sessions=1
        )
        with self._scope:
            async with manager.run():
                self._manager = manager
                self._rest()
                self._ready.set()
                await trio.sleep_forever()
        self.ended = True

    # -- requests -------------------------------------------------------------------------------------------

    async def wait_ready(self) -> None:
        """Wait until requests can be served."""
        await self._ready.wait()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises `TooManyRequests`."""
        assert self._manager is not None
        if self._in_flight >= MAX_IN_FLIGHT:
            raise TooManyRequests(f"this session has {MAX_IN_FLIGHT} requests in progress")
        self._in_flight += 1
        self._scope.deadline = math.inf
        try:
            await self._manager.handle_request(scope, receive, send)
        finally:
            self._in_flight -= 1
            self._rest()

    def end(self) -> None:
        """End it: its streams end, and what was begun for it is cancelled; the terminals' sessions go on."""
        self.ended = True
        self._scope.cancel()

    def _rest(self) -> None:
        if not self._in_flight:
            self._scope.deadline = trio.current_time() + self._idle_seconds
