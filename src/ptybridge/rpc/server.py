"""Accepts peers on the Unix socket: only this user's, at most so many at once, each isolated from the others."""

import errno
import logging
import os
import secrets
import socket
from collections.abc import Callable

import trio

from ptybridge.api.endpoint import Endpoint
from ptybridge.config import Daemon
from ptybridge.errors import Denied, PtybridgeError, TooManyRequests
from ptybridge.model import Caller
from ptybridge.rpc.connection import Connection
from ptybridge.rpc.listener import peer
from ptybridge.wire import jsonrpc

log = logging.getLogger(__name__)

# accept(2) fails for as long as descriptors are short; trying at once would spin.
RETRY_SECONDS = 0.1
# A peer that is refused gets this long to take the reason.
LINGER_SECONDS = 1.0
# Who has connected to a listener by then is accepted before it is closed.
RETIREMENT_SECONDS = 1.0
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


class Server:
    """The front end."""

    def __init__(
        self, endpoint: Endpoint, limits: Daemon, *, gone: Callable[[str], None] = lambda connection_id: None
    ) -> None:
        """`gone` is called with the connection's id when one has ended."""
        self.endpoint = endpoint
        self._gone = gone
        self._limits = limits
        self.connections = 0
        self._idle = trio.Event()
        self._accepting: set[trio.CancelScope] = set()
        self._listening: set[trio.CancelScope] = set()
        self._open = trio.Event()
        self._open.set()

    async def serve(
        self, sock: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept until cancelled or retired; closes the listener, and serves on who has come by it."""
        async with trio.open_nursery() as nursery:
            with trio.socket.from_stdlib_socket(sock) as listener, trio.CancelScope() as listening:
                self._listening.add(listening)
                task_status.started()
                while True:
                    await self._open.wait()
                    with trio.CancelScope() as scope:
                        self._accepting.add(scope)
                        await self._accept(listener, nursery)
                    self._accepting.discard(scope)
            self._listening.discard(listening)

    def retire_listeners(self) -> None:
        """Close the present listeners soon: the path leads to another one, and only who was on the way is left."""
        for listening in self._listening:
            listening.deadline = min(listening.deadline, trio.current_time() + RETIREMENT_SECONDS)

    def stop_accepting(self) -> None:
        """Leave new peers in the listener's queue; those who are here are served on."""
        self._open = trio.Event()
        for scope in self._accepting:
            scope.cancel()

    def resume_accepting(self) -> None:
        """Undo `stop_accepting`."""
        self._open.set()

    async def _accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                accepted, _ = await listener.accept()
            except OSError as exc:
                if exc.errno not in _SHORTAGES:
                    raise
                log.warning("cannot accept a connection: %s", exc.strerror)
                await trio.sleep(RETRY_SECONDS)
                continue
            nursery.start_soon(self._serve_one, accepted)

    async def drain(self) -> None:
        """Wait until the last peer has gone."""
        while self.connections:
            self._idle = trio.Event()
            await self._idle.wait()

    async def _serve_one(self, accepted: trio.socket.SocketType) -> None:
        stream = trio.SocketStream(accepted)
        try:
            async with stream:
                await self._admit(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away in the middle; everything running for it was cancelled
        except* Exception:
            log.exception("a connection failed; the others go on")

    async def _admit(self, stream: trio.SocketStream) -> None:
        pid, uid = peer(stream.socket)
        refusal: PtybridgeError | None = None
        if uid != os.geteuid():
            log.warning("refused a connection of uid %d (pid %d)", uid, pid)
            refusal = Denied("this daemon belongs to another user")
        elif self.connections >= self._limits.max_connections:
            refusal = TooManyRequests(f"{self._limits.max_connections} connections are open, which is the limit")
        if refusal is not None:
            await _refuse(stream, refusal)
            return
        caller = Caller(principal=f"uid:{uid}", connection_id=f"c{secrets.token_hex(4)}", pid=pid)
        self.connections += 1
        try:
            await Connection(
                stream,
                self.endpoint,
                caller,
                max_line=self._limits.max_line_bytes,
                max_in_flight=self._limits.max_requests_in_flight,
            ).run()
        finally:
            self.connections -= 1
            self._gone(caller.connection_id)
            self._idle.set()


async def _refuse(stream: trio.SocketStream, refusal: PtybridgeError) -> None:
    with trio.move_on_after(LINGER_SECONDS):
        await stream.send_all(jsonrpc.encode_error(None, refusal))
        await stream.send_eof()
        # Closing with something unread would be a reset, which a peer that is still sending sees first.
        async for _ in stream:
            pass
