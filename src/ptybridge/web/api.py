"""Operations over HTTP: each at its own route and at `POST /v1/call/NAME`, streams as server-sent events.

Raw ASGI, before Quart: a body is read up to a limit and no further than it is wanted, a peer that goes ends what was
done for it, and sending waits for the peer (Quart does none of these). What is no operation is passed on.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio
from werkzeug.exceptions import MethodNotAllowed

from ptybridge.api.operation import Effect
from ptybridge.api.registry import AnyOperation
from ptybridge.errors import InvalidParams, InvalidRequest, PtybridgeError
from ptybridge.model import Caller
from ptybridge.web import parameters, sse
from ptybridge.web.answers import answer, answer_error, refuse_method, require_upgrade
from ptybridge.web.coding import packed
from ptybridge.web.context import Asgi, Receive, Scope, Send, Web, caller_of
from ptybridge.web.parameters import Disconnected
from ptybridge.web.routes import Routes

log = logging.getLogger(__name__)

Handler = Callable[[Caller, AnyOperation, dict[str, object], Scope, Receive, Send], Awaitable[None]]

# Without a body that may be sent later there is no reason to wait for long.
BODY_SECONDS: Final = 30.0
# What these nouns' operations answer may be somebody's way in.
_SECRET: Final = frozenset({"secret", "key", "web", "share"})


class Api:
    """Pure ASGI; `inner` gets what is no operation, `channels` what is a file's content."""

    def __init__(self, web: Web, inner: Asgi, channels: dict[str, Handler]) -> None:
        self._web = web
        self._inner = inner
        self._channels = channels
        self._routes = Routes(web.registry)
        self._most = web.config.daemon.max_line_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        try:
            found = self._routes.find(scope["method"], scope["path"])
            if found is None:
                await self._inner(scope, receive, send)
                return
            await self._serve(*found, scope, receive, send)
        except MethodNotAllowed as exc:
            await refuse_method(send, exc.valid_methods or ())
        except PtybridgeError as exc:
            await answer_error(send, exc)
        except Disconnected:
            pass

    async def _serve(
        self, operation: AnyOperation, path: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        caller = caller_of(scope)
        params = parameters.from_text(operation.params, {name: [value] for name, value in path.items()})
        query = parameters.query_of(scope)
        if operation.name in self._channels:
            _merge(params, parameters.from_text(operation.params, query))
            await self._channels[operation.name](caller, operation, params, scope, receive, send)
            return
        if operation.kind == "channel":
            # HTTP/2 has no header to say so with (RFC 9113 section 8.2.2), and a call by name is no WebSocket.
            if scope["method"] in {"GET", "HEAD"} and scope["http_version"].startswith("1"):
                await require_upgrade(send)
                return
            raise InvalidRequest(f"{operation.name} is a channel of frames", hint="it needs a WebSocket")
        if query and operation.effect is not Effect.READS:
            raise InvalidRequest(f"{operation.name} changes something: its parameters go into the body, as JSON")
        _merge(params, parameters.from_text(operation.params, query))
        with trio.move_on_after(BODY_SECONDS) as patience:
            body = await parameters.body_of(scope, receive, self._most)
        if patience.cancelled_caught:
            raise InvalidRequest(f"the body did not come within {BODY_SECONDS:.0f} s")
        _merge(params, parameters.from_body(scope, body))
        if operation.kind == "stream":
            sse.resume(operation, params, parameters.headers_of(scope).get(b"last-event-id"))
        await self._until_gone(receive, lambda: self._answer(caller, operation, params, scope, send))

    async def _until_gone(self, receive: Receive, serve: Callable[[], Awaitable[None]]) -> None:
        """Serve; when the peer goes, give up."""
        problem: PtybridgeError | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await serve()
            except PtybridgeError as exc:
                problem = exc
            nursery.cancel_scope.cancel()
        if problem is not None:
            raise problem

    async def _answer(
        self, caller: Caller, operation: AnyOperation, params: dict[str, object], scope: Scope, send: Send
    ) -> None:
        raw = msgspec.Raw(msgspec.json.encode(params))
        if operation.kind == "stream":
            await sse.serve(self._web, caller, operation, raw, send)
            return
        result = self._web.endpoint.call_nowait(caller, operation.name, raw)
        if result is None:
            result = await self._web.endpoint.call(caller, operation.name, raw)
        secret = operation.scope.partition(":")[0] in _SECRET
        await answer_json(scope, send, msgspec.json.encode(result), secret=secret)


def _merge(params: dict[str, object], more: dict[str, object]) -> None:
    for name, value in more.items():
        if name in params and msgspec.json.encode(params[name]) != msgspec.json.encode(value):
            raise InvalidParams(f"{name} is given twice, and not the same")
        params[name] = value


async def answer_json(scope: Scope, send: Send, body: bytes, *, secret: bool = False) -> None:
    """Send JSON; for who only reads with the hash of its content, and as "not modified" when it has it already.

    What is `secret` is neither stored nor compressed: a length tells something of a content.
    """
    headers = parameters.headers_of(scope)
    extra: list[tuple[bytes, bytes]] = [(b"cache-control", b"no-store")]
    if not secret:
        extra = [(b"cache-control", b"private, no-cache"), (b"vary", b"accept-encoding")]
    if scope["method"] in {"GET", "HEAD"} and not secret:
        # Weak: the same content, compressed or not.
        etag = b'W/"%s"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        extra.append((b"etag", etag))
        if etag.removeprefix(b"W/") in {tag.strip().removeprefix(b"W/") for tag in _if_none_match(headers)}:
            await send({"type": "http.response.start", "status": 304, "headers": extra})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
    if not secret:
        body, coding = await packed(headers.get(b"accept-encoding", b""), body)
        if coding is not None:
            extra.append((b"content-encoding", coding))
    await answer(send, 200, body, headers=extra)


def _if_none_match(headers: dict[bytes, bytes]) -> list[bytes]:
    return headers.get(b"if-none-match", b"").split(b",")
