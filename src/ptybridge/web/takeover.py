"""Our version of Hypercorn's connection: sending has a deadline, there is a most of connections, and a WebSocket gets
the bare stream.

How it works: Hypercorn shields its sends from cancellation, because a frame of HTTP/2 must not be torn; so a peer that
takes nothing would hold up whoever waits for that send, shutting down included. Here a send that gets nowhere for
`seconds` ends the connection, and `hurry` makes the time that is left short for all of them.
A handler finds `take_over` in `scope["state"]`. On HTTP/1.1 it stops Hypercorn's reading and gives out the stream, with
or without TLS; from then on everything Hypercorn would send is dropped, and when the handler ends it closes the stream.
This is the one place that reaches into Hypercorn (`hypercorn.trio.run.TCPServer`); its version is pinned, and
`tests/web/test_takeover.py` guards what is relied on.
The end of an answer cancels its handler, in whose task Hypercorn then still has to close the connection, or to set the
clock of one that is kept: both are shielded here, or connections would stay open for ever.
What goes wrong on a connection ends that one; Hypercorn would end the server.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final

import h2.exceptions
import h11
import hypercorn.trio.run
import trio
import wsproto.utilities
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, LifespanState

log = logging.getLogger(__name__)

# What the libraries raise when what is sent does not fit the state, which strangers can bring about.
RULES: Final = (h11.ProtocolError, h2.exceptions.ProtocolError, wsproto.utilities.ProtocolError)
# A slow peer that does take something is waited for anew after each piece.
PIECE_BYTES: Final = 64 * 1024
# Closing waits for nobody; should a stream's do so after all, the connection's end closes it once more.
CLOSE_SECONDS: Final = 5.0


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
    tls: ssl.SSLContext | None = None
    max_connections: int = 1024
    connections: int = 0
    # A first request comes within `keep_alive_timeout`, which is short; whoever has made one may think about the next.
    between_timeout: float = 75.0

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return ours, whose certificate can be renewed, if there is one."""
        return super().create_ssl_context() if self.tls is None else self.tls


class Takeover(TCPServer):
    """One connection."""

    config: ServerConfig

    def __init__(
        self, app: AppWrapper, config: ServerConfig, context: WorkerContext, state: LifespanState, stream: Any
    ) -> None:
        own = {"take_over": self.take_over, "terminated": context.terminated.wait}
        super().__init__(app, config, context, LifespanState({**state, **own}), stream)
        self._taken = False
        self._asked = False
        self._reading = trio.CancelScope()
        self._stopped = trio.Event()

    async def take_over(self) -> trio.SocketStream | trio.SSLStream[trio.SocketStream] | None:
        """Return the stream, once nobody else reads it; None if this is no connection of HTTP/1.1."""
        if self._taken or not isinstance(self.protocol.protocol, H11Protocol):
            return None
        self._taken = True
        self._reading.cancel()
        await self._stopped.wait()
        return self.stream

    async def _read_data(self) -> None:
        try:
            with self._reading:
                await super()._read_data()
        finally:
            self._stopped.set()
        # Whoever has gone asks for nothing more; waited out, the clock would keep the connection for its time.
        await self.idle_task.stop()

    async def run(self) -> None:
        """Serve it until it ends."""
        if self.config.connections >= self.config.max_connections:
            await trio.aclose_forcefully(self.stream)
            return
        self.config.connections += 1
        try:
            await super().run()
        except* RULES as broken:
            # Such as a WebSocket's frames before there is an answer: Hypercorn's two answers get into each other's way.
            log.info("a connection ended because its rules were broken: %s", broken.exceptions[0])
        except* Exception:
            # What ends one connection must not end the others, and the daemon with them.
            log.exception("a connection ended by a defect")
        finally:
            self.config.connections -= 1

    async def protocol_send(self, event: Event) -> None:
        """Send what the protocol has to send, but not for ever; nothing once the stream is another's."""
        if self._taken:
            return
        if isinstance(event, Closed):
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._close()
            await self.protocol.handle(Closed())
            return
        if not isinstance(event, RawData):
            self._asked = True
            if not self._stopped.is_set():
                with trio.CancelScope(shield=True):  # nothing in there waits for anybody
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
        # Reading may stand still until an answer is out to the request before: this one never will be.
        self._reading.cancel()

    async def _idle_timeout(self) -> None:
        """End a connection on which nothing is asked; Hypercorn starts this anew whenever that begins."""
        with trio.move_on_after(self.config.between_timeout if self._asked else self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()


def install() -> None:
    """Let Hypercorn make its connections of our kind."""
    module: Any = hypercorn.trio.run
    module.TCPServer = Takeover
