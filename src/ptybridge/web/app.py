"""The application: everything between Hypercorn and an operation, from the outside in.

Entrance (proxies, base path, access log) → Gate (who is it, may it be here) → MCP → terminals' WebSockets → the API
(every operation) → the Quart app (health, login, pages).
"""

import logging
from typing import Any, cast

import msgspec
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from ptybridge.api.key import JOIN
from ptybridge.errors import InternalError, PtybridgeError
from ptybridge.model import Caller
from ptybridge.web.answers import error_body, error_headers, error_json
from ptybridge.web.api import Api
from ptybridge.web.content import Content
from ptybridge.web.context import Asgi, Receive, Scope, Send, Web, caller
from ptybridge.web.documents import add_documents
from ptybridge.web.entrance import Entrance
from ptybridge.web.gate import Gate
from ptybridge.web.metrics import CONTENT_TYPE, exposition
from ptybridge.web.pages import add_pages
from ptybridge.web.programpage import add_program_pages
from ptybridge.web.terminal import Terminals

log = logging.getLogger(__name__)

# We ask for ourselves here, and for no more than this.
_OURSELVES = Caller(principal="web", connection_id="web", scopes=frozenset({"node:read"}))


def create(web: Web) -> Asgi:
    """Return the application."""
    app = QuartTrio("ptybridge.web", static_folder=None)
    # Sending has a deadline of its own, and streams have no end.
    app.config["RESPONSE_TIMEOUT"] = None
    app.register_error_handler(PtybridgeError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    _add_health(app, web)
    add_documents(app, web)
    add_pages(app, invited=_is_invited, prefix=web.prefix)
    add_program_pages(app, web)
    content = Content(web)
    # Typed dictionaries are what Quart wants; ASGI is the same thing without them.
    api = Api(web, cast(Asgi, app), {"file.upload": content.upload, "file.download": content.download})
    return Entrance(web.config.web, Gate(web, _Mounts(web, Terminals(web, api))))


class _Mounts:
    """Leads requests at a mount's path to it, all others to `inner`."""

    def __init__(self, web: Web, inner: Asgi) -> None:
        self._web = web
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        mount = self._web.mounts.get(scope["path"].rstrip("/")) if scope["type"] == "http" else None
        await (self._inner if mount is None else mount)(scope, receive, send)


def _add_health(app: QuartTrio, web: Web) -> None:
    @app.get("/health")
    async def health() -> Response:
        found: Any = await web.endpoint.call(_OURSELVES, "node.health", None)
        # Anybody may ask, so this says no more than a process that watches us needs.
        body = {"status": "ok" if found.ok else "ill", "idle": found.sessions_running == 0}
        return Response(msgspec.json.encode(body), 200 if found.ok else 503, content_type="application/json")

    @app.get("/metrics")
    async def metrics() -> Response:
        found: Any = await web.endpoint.call(caller(), "node.metrics", None)
        return Response(exposition(found), content_type=CONTENT_TYPE.decode())


def _is_invited() -> bool:
    """Tell whether who asks has an invitation to the shared session, and nothing else."""
    scope: Any = request.scope
    who = scope["state"].get("caller")
    return isinstance(who, Caller) and who.session_ids is not None and who.scopes >= JOIN


# -- errors -------------------------------------------------------------------------------------------------


def refusal(error: PtybridgeError) -> Response:
    """Return an error as a response."""
    response = Response(error_body(error), error.http_status, content_type="application/json")
    for name, value in error_headers(error):
        response.headers[name.decode()] = value.decode()
    return response


async def _refuse(error: PtybridgeError) -> Response:  # noqa: ASYNC124 - Quart runs others in threads
    return refusal(error)


async def _refuse_http(error: HTTPException) -> Response:  # noqa: ASYNC124 - Quart runs others in threads
    """Quart's own refusals, such as 404 and 405, in our shape."""
    code = (error.name or "error").lower().replace(" ", "_")
    body = error_json(code, error.description or error.name)
    response = Response(body, error.code or 500, content_type="application/json")
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers[name] = value
    return response


async def _fail(error: Exception) -> Response:  # noqa: ASYNC124 - Quart runs others in threads
    log.error("a request failed", exc_info=error)
    return refusal(InternalError("this failed by a defect in ptybridge; the log has the details"))
