"""A server of terminals' WebSockets in front of a daemon, and clients on it over real sockets."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
import trio
from hypercorn.config import Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app
from tests.contract.endpoints import Link
from tests.web.http import PATIENCE_SECONDS
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket

from ptybridge.model import Caller
from ptybridge.web.context import Receive, Scope, Send, Web
from ptybridge.web.takeover import Sends, ServerConfig, install
from ptybridge.web.terminal import SUBPROTOCOL, Terminals

EVERYBODY = Caller(principal="uid:0", connection_id="w1")


class Doorkeeper:
    """An `Authority` whose logins a test revokes."""

    def __init__(self) -> None:
        self.revoked = trio.Event()

    def one_time_code(self, caller: Caller) -> str:
        return "code"

    def watch(self, caller: Caller) -> trio.Event:
        return self.revoked


class Front:
    """The server; `caller` is who everybody is, None for nobody."""

    def __init__(self, web: Web) -> None:
        self.authority = Doorkeeper()
        authority: Any = self.authority
        self.web = Web(web.config, web.registry, web.endpoint, authority)
        self.caller: Caller | None = EVERYBODY
        self.over_asgi = False
        self.kinds: list[bool] = []
        self.port = 0
        self.certificate: tuple[str, str] | None = None
        self.settings: dict[str, Any] = {}
        self.tls: ssl.SSLContext | None = None
        self.stopping = trio.Event()
        self.stopped = trio.Event()
        self._terminals = Terminals(self.web, self._answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        scope["state"]["caller"] = self.caller
        if scope["type"] == "websocket":
            if self.over_asgi:
                del scope["state"]["take_over"]
            elif (take_over := scope["state"].get("take_over")) is not None:

                async def watched() -> Any:
                    stream = await take_over()
                    self.kinds.append(stream is not None)
                    return stream

                scope["state"]["take_over"] = watched
        await self._terminals(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello", "more_body": False})

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stopping`."""
        install()
        sock = socket.create_server(("127.0.0.1", 0), backlog=512)
        sock.setblocking(False)
        self.port = sock.getsockname()[1]
        config = ServerConfig()
        config.sends = Sends(30)
        config.graceful_timeout = 3
        config.accesslog = config.errorlog = None
        for name, value in self.settings.items():
            setattr(config, name, value)
        if self.certificate is not None:
            config.certfile, config.keyfile = self.certificate
            self.tls = ssl.create_default_context(cafile=self.certificate[0])
        secure, plain = ([sock], []) if self.certificate is not None else ([], [sock])

        serve = partial(
            worker_serve,
            wrap_app(self, 1 << 20, "asgi"),  # type: ignore[arg-type]
            config,
            sockets=Sockets(secure, plain, []),
            shutdown_trigger=self.stopping.wait,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            task_status.started()
        self.stopped.set()

    # -- clients --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, path: str, offered: tuple[str, ...] = (SUBPROTOCOL,)) -> AsyncIterator[WebSocketConnection]:
        """Open a WebSocket; it is closed at the end of the block."""
        async with trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE_SECONDS):
                connection = await connect_websocket(
                    nursery,
                    "localhost" if self.tls else "127.0.0.1",
                    self.port,
                    path,
                    use_ssl=self.tls or False,
                    subprotocols=offered,
                    message_queue_size=0,
                    receive_buffer_size=65536,
                )
            try:
                yield connection
            finally:
                with trio.move_on_after(5, shield=True):
                    await connection.aclose()
                # It leaves its stream open when the peer has closed first.
                await trio.aclose_forcefully(connection._stream)
                nursery.cancel_scope.cancel()

    def attach(self, session_id: str, **query: Any) -> "AbstractAsyncContextManager[WebLink]":
        """Attach."""
        return attached(self, session_id, **query)

    @asynccontextmanager
    async def text(self, session_id: str, **query: Any) -> AsyncIterator["Text"]:
        """Open a session in text mode."""
        async with self.open(path_of(session_id, mode="text", **query)) as connection:
            yield Text(connection)

    async def code(self, connection: WebSocketConnection) -> int:
        """Wait for the close; return its code. What comes before it is dropped."""
        return (await ended(connection))[0]


class WebLink(Link):
    """An attachment over a WebSocket."""

    def __init__(self, connection: WebSocketConnection, opened: Any) -> None:
        super().__init__(opened)
        self.connection = connection

    async def send_bytes(self, data: bytes) -> None:
        await self.connection.send_message(data)

    async def receive_bytes(self) -> bytes:
        try:
            message = await self.connection.get_message()
        except ConnectionClosed:
            return b""
        assert isinstance(message, bytes)
        return message


class Text:
    """A client of the text mode."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def say(self, **message: Any) -> None:
        await self.connection.send_message(msgspec.json.encode(message).decode())

    async def next(self) -> dict[str, Any]:
        """Return the next message. Raises `EOFError` at the end."""
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                message = await self.connection.get_message()
            except ConnectionClosed:
                raise EOFError from None
        assert isinstance(message, str)
        found: dict[str, Any] = msgspec.json.decode(message)
        return found

    async def until(self, needle: str, stream: str = "stdout") -> str:
        """Collect a stream until `needle` is in it."""
        seen = ""
        while needle not in seen:
            seen += (await self.next()).get(stream, "")
        return seen

    async def next_with(self, key: str) -> dict[str, Any]:
        """Return the next message that has `key`."""
        while key not in (message := await self.next()):
            pass
        return message


@asynccontextmanager
async def attached(front: Front, session_id: str, **query: Any) -> AsyncIterator[WebLink]:
    async with front.open(path_of(session_id, **query)) as connection:
        with trio.fail_after(PATIENCE_SECONDS):
            first = await connection.get_message()
        assert isinstance(first, str)
        answer = msgspec.json.decode(first)
        assert "attached" in answer, answer
        yield WebLink(connection, answer["attached"])


def path_of(session_id: str, **query: Any) -> str:
    if "mode" not in query or query["mode"] != "text":
        query = {"rows": 30, "cols": 120, **query}
    return f"/v1/sessions/{session_id}/attach?{urlencode(query)}"


async def ended(connection: WebSocketConnection) -> tuple[int, str]:
    """Wait for the close; return its code and reason."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                await connection.get_message()
            except ConnectionClosed:
                closed = connection.closed
                assert closed is not None
                return int(closed.code), closed.reason or ""


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
