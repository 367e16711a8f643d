"""The terminal's WebSocket, `/v1/sessions/{id}/attach`: the frames of `session.attach`, one in each binary message.

How it works: a raw ASGI handler in front of the Quart app. It accepts, says as text what the channel operation
answers, and hands the operation a channel over the WebSocket; what attaching is (snapshots, gaps, flow control, who
may type) is all behind the endpoint. Beside it stand the watchers: of a peer that has died, of the login that is
revoked, of a server that stops. See docs/websocket.md.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec
import trio

from ptybridge.api.attach import ATTACH
from ptybridge.errors import InvalidParams, PtybridgeError, Unauthenticated
from ptybridge.mistakes import told
from ptybridge.model import Caller, Cols, Offset, Rows
from ptybridge.web import websocket
from ptybridge.web.answers import error_body
from ptybridge.web.context import Asgi, Receive, Scope, Send, Web, caller_of
from ptybridge.web.textmode import TextTalk
from ptybridge.web.websocket import WebSocket
from ptybridge.wire import attach as frames

SUBPROTOCOL: Final = "ptybridge.v1"
# What may be on its way to a client that has not said how much, beyond what it has acknowledged.
WINDOW_BYTES: Final = 1 << 20
# A peer is asked for a sign of life this often, and given up after so long without one.
PING_SECONDS: Final = 20.0
DEAD_SECONDS: Final = 60.0
# How long somebody who has to go may take for what cannot be interrupted.
LEAVING_SECONDS: Final = 0.5

_PATH: Final = re.compile(r"/v1/sessions/([^/]+)/attach")
_PING: Final = frames.encode(frames.Ping())


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands behind the question mark."""

    rows: Rows = 24
    cols: Cols = 80
    mode: Literal["writer", "viewer", "text"] | None = None
    read_only: bool = False
    offset: Offset | None = None
    scrollback_lines: int | None = None
    window: Annotated[int, msgspec.Meta(ge=0)] = WINDOW_BYTES
    client_id: str | None = None
    marks: bool = False
    ansi: Literal["colour", "raw", "none"] = "colour"


class Ending:
    """Why a connection ends, and the scope that ends it."""

    def __init__(self) -> None:
        self.code, self.reason = websocket.GOING_AWAY, "the server stops"
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    def because(self, code: int, reason: str) -> None:
        """Set the reason; the first one counts."""
        if not self.scope.cancel_called:
            self.code, self.reason = code, reason


class Terminals:
    """Pure ASGI: serves terminals' WebSockets; everything else is `inner`'s."""

    def __init__(self, web: Web, inner: Asgi) -> None:
        self._web = web
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "websocket" else None
        if found is None:
            await self._inner(scope, receive, send)
            return
        offered = scope.get("subprotocols") or ()
        socket = await websocket.accept(scope, receive, send, SUBPROTOCOL if SUBPROTOCOL in offered else None)
        if socket is None:
            return
        ending = Ending()
        try:
            await self._serve(scope, socket, found[1], ending)
        except trio.Cancelled:
            raise
        except BaseException:
            ending.because(1011, "a defect in ptybridge; the log has the details")
            raise
        finally:
            with trio.move_on_after(websocket.CLOSE_SECONDS + 1, shield=True):
                await socket.close(ending.code, ending.reason)

    async def _serve(self, scope: Scope, socket: WebSocket, session_id: str, ending: Ending) -> None:
        with ending.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(socket.run)
                terminated = scope["state"].get("terminated")
                if terminated is not None:
                    stopping = (websocket.GOING_AWAY, "the server stops")
                    nursery.start_soon(_until, terminated, socket, ending, stopping)
                try:
                    await self._talk(scope, socket, session_id, ending, nursery)
                except PtybridgeError as exc:
                    await _refuse(socket, exc, ending)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    ending.because(websocket.NORMAL, "gone")
                finally:
                    ending.over.set()
                nursery.cancel_scope.cancel()

    async def _talk(
        self, scope: Scope, socket: WebSocket, session_id: str, ending: Ending, nursery: trio.Nursery
    ) -> None:
        caller = caller_of(scope)
        query = _query(scope)
        if self._web.auth is not None:
            revoked = self._web.auth.watch(caller)
            nursery.start_soon(_until, revoked.wait, socket, ending, (websocket.UNAUTHENTICATED, "revoked"))
        text = query.mode == "text"
        nursery.start_soon(_heartbeat, socket, ending, b"" if text else _PING)
        writer = query.mode != "viewer" and not query.read_only
        if text:
            code, reason = await TextTalk(
                self._web.endpoint, caller, socket, session_id, query.offset, query.ansi, writer, query.client_id
            ).run()
            ending.because(code, reason)
            return
        channel = SocketChannel(socket)
        await self._web.endpoint.open(caller, ATTACH.name, _params(session_id, query, caller, writer), channel)
        ending.because(*channel.ended)


class SocketChannel:
    """An `api.endpoint.Channel` over a WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.ended = (websocket.NORMAL, "")

    async def opened(self, answer: msgspec.Struct) -> None:
        """Say what the operation answers, as text."""
        await self._socket.send(msgspec.json.encode({"attached": answer}), text=True)

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        """Send one frame as one message."""
        await self._socket.send(head, payload)
        if head[0] == frames.Detached.type:
            (last,) = frames.FrameBuffer().feed(head)
            assert isinstance(last, frames.Detached)
            if last.reason != "gone":
                self.ended = (4400 if last.reason == "protocol_error" else websocket.NORMAL, last.reason)

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        """The inline lane."""
        return self._socket.offer_nowait(head, payload)

    async def receive(self) -> bytes:
        """Return what has come, b"" at the end."""
        while True:
            message = await self._socket.receive()
            if isinstance(message, str):
                self.ended = (websocket.UNSUPPORTED, "only binary messages; ?mode=text is for text")
                return b""
            if message is None:
                return b""
            if message:
                return message


def _query(scope: Scope) -> Query:
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    try:
        return msgspec.convert(dict(pairs), Query, strict=False)
    except msgspec.ValidationError as exc:
        known = Query.__struct_fields__
        raise InvalidParams(told(exc, known), hint=f"the query takes {', '.join(known)}") from exc


def _params(session_id: str, query: Query, caller: Caller, writer: bool) -> msgspec.Raw:
    """Return the parameters of `session.attach`. Who may only read and has not asked for more becomes a viewer."""
    may_write = bool({"*", "session:write"} & caller.scopes)
    params: dict[str, Any] = {
        "session_id": session_id,
        "rows": query.rows,
        "cols": query.cols,
        "mode": "writer" if writer and (may_write or query.mode == "writer") else "viewer",
        "offset": query.offset,
        "scrollback_lines": query.scrollback_lines,
        "ack_window_bytes": query.window or None,
        "client_id": query.client_id,
        "marks": query.marks,
    }
    return msgspec.Raw(msgspec.json.encode(params))


async def _refuse(socket: WebSocket, exc: PtybridgeError, ending: Ending) -> None:
    ending.because(websocket.UNAUTHENTICATED if isinstance(exc, Unauthenticated) else 4000 + exc.http_status, exc.code)
    try:
        await socket.send(error_body(exc), text=True)
    except trio.BrokenResourceError:
        pass  # it did not wait for the answer


# -- watchers -----------------------------------------------------------------------------------------------


async def _until(wait: Callable[[], Awaitable[None]], socket: WebSocket, ending: Ending, why: tuple[int, str]) -> None:
    """End the connection when something happens, whatever is being sent at that moment."""
    await wait()
    ending.because(*why)
    ending.scope.cancel()
    with trio.move_on_after(LEAVING_SECONDS, shield=True) as waiting:
        await ending.over.wait()
    if waiting.cancelled_caught:
        socket.abort()


async def _heartbeat(socket: WebSocket, ending: Ending, message: bytes) -> None:
    """Ask for signs of life, and give up a peer that gives none (R25). A page asks from its side, by PING frames."""
    while True:
        await trio.sleep(PING_SECONDS)
        if trio.current_time() - socket.heard_at >= DEAD_SECONDS:
            ending.because(websocket.NORMAL, "gone")
            ending.scope.cancel()
            socket.abort()
            return
        with trio.move_on_after(PING_SECONDS):
            if not await socket.ping(message):
                return  # nothing it is obliged to answer
