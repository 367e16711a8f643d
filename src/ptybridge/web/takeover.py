"""Our version of Hypercorn's connection: sending has a deadline, and there is a most of connections.

How it works: Hypercorn shields its sends from cancellation, because a frame of HTTP/2 must not be torn; so a peer that
takes nothing would hold up whoever waits for that send, shutting down included. Here a send that gets nowhere for
`seconds` ends the connection, and `hurry` makes the time that is left short for all of them.
This is the one place that reaches into Hypercorn (`hypercorn.trio.run.TCPServer`); its version is pinned, and
`tests/web/test_takeover.py` guards what is relied on.
"""

from __future__ import annotations

from typing import Any, Final

import hypercorn.trio.run
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import TCPServer

# A slow peer that does take something is waited for anew after each piece.
PIECE_BYTES: Final = 64 * 1024


class Sends:
    """The deadlines of everything that is being sent on one server."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._under_way: set[trio.CancelScope] = set()
        self._at_most = float("inf")

    async def send_all(self, stream: trio.abc.SendStream, data: bytes) -> bool:
        """Send, shielded; False when the peer took nothing for too long, and then the stream is of no more use."""
        with trio.CancelScope(shield=True) as scope:
            self._under_way.add(scope)
            try:
                view = memoryview(data)
                for at in range(0, len(view), PIECE_BYTES):
                    scope.deadline = min(trio.current_time() + self._seconds, self._at_most)
                    await stream.send_all(view[at : at + PIECE_BYTES])
            finally:
                self._under_way.discard(scope)
        return not scope.cancelled_caught

    def hurry(self, seconds: float) -> None:
        """Let no send take longer than this from now on: the server stops."""
        self._at_most = trio.current_time() + seconds
        for scope in self._under_way:
            scope.deadline = min(scope.deadline, self._at_most)


class ServerConfig(HypercornConfig):
    """Hypercorn's configuration, with what our connections share."""

    sends: Sends
    max_connections: int = 1024
    connections: int = 0


class Takeover(TCPServer):
    """One connection."""

    config: ServerConfig

    async def run(self) -> None:
        """Serve it until it ends."""
        if self.config.connections >= self.config.max_connections:
            await trio.aclose_forcefully(self.stream)
            return
        self.config.connections += 1
        try:
            await super().run()
        finally:
            self.config.connections -= 1

    async def protocol_send(self, event: Event) -> None:
        """Send what the protocol has to send, but not for ever."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                if await self.config.sends.send_all(self.stream, event.data):
                    return
                await trio.aclose_forcefully(self.stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        await self.protocol.handle(Closed())


def install() -> None:
    """Let Hypercorn make its connections of our kind."""
    module: Any = hypercorn.trio.run
    module.TCPServer = Takeover
