"""What the OpenAPI document says beside the operations: routes that are none, how one gets in, what any may answer."""

from typing import Any, Final

from ptybridge.api.describe import REFERENCE
from ptybridge.api.openapi_streams import END

RESPONSE: Final = "#/components/responses/{name}"
FAILURE: Final = "Failure"

_PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "type": "object",
    "description": "What went wrong: `code` for programs, `message` and `hint` for people, `data` with details.",
    "required": ["code", "message", "hint", "retryable", "data"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "hint": {"type": ["string", "null"]},
        "retryable": {"type": "boolean"},
        "data": {"type": "object"},
    },
}
SCHEMAS: Final[dict[str, Any]] = {
    "Problem": _PROBLEM,
    FAILURE: {
        "title": FAILURE,
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"$ref": REFERENCE.format(name="Problem")}},
    },
    "StreamEnd": END,
    "StoredFile": {
        "title": "StoredFile",
        "type": "object",
        "description": "The file that was sent is complete and has its name.",
        "required": ["path", "size", "etag", "sha256"],
        "properties": {
            "path": {"type": "string"},
            "size": {"type": "integer"},
            "etag": {"type": "string"},
            "sha256": {"type": "string"},
        },
    },
}


def failure(text: str) -> dict[str, Any]:
    """Return the response that every error is."""
    return {"description": text, "content": {"application/json": {"schema": {"$ref": REFERENCE.format(name=FAILURE)}}}}


# What any operation may answer beside what it declares.
COMMON: Final[dict[str, Any]] = {
    "400": failure("`invalid_params`, `invalid_request`: the parameters do not fit; the message names the field."),
    "401": failure("`unauthenticated`: this needs a login or a key, and what was shown is not good (any more)."),
    "403": failure("`denied`: not allowed to this caller, or to the page that asks; `confirmation_required`."),
    "404": failure("`not_found`, `method_not_found`."),
    "405": failure("`method_not_allowed`: `Allow` says what this path takes."),
    "409": failure("`conflict`: the state does not allow this now."),
    "413": failure("`request_too_large`."),
    "421": failure("`misdirected`: the request names a host that is not this node."),
    "429": failure("`rate_limited`, `too_many_requests`; `Retry-After` says when to try again."),
    "500": failure("`internal_error`: a defect in ptybridge; the log has the details."),
    "503": failure("`unavailable`: not now; it can be tried again."),
}


def security(cookie: str) -> dict[str, Any]:
    """Return how one shows who one is; `cookie` is the name that a login's has here."""
    return {
        "key": {"type": "http", "scheme": "bearer", "description": "A key of `ptybridge key new`."},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": (
                "A browser's login. Its name has the port in it, and begins with `__Host-` under TLS. Changes need "
                "a page's `Origin`, and JSON or the header `X-Ptybridge: 1`."
            ),
        },
    }


def paths(calls: list[str]) -> dict[str, Any]:
    """Return the routes that are no operations. `calls`: the names for `/v1/call/`."""
    return {
        "/v1/login": {"post": _LOGIN},
        "/v1/logout": {"post": _LOGOUT},
        "/v1/tickets": {"post": _TICKETS},
        "/v1/call/{name}": {"post": _call(calls)},
        "/health": {"get": _HEALTH},
        "/metrics": {"get": _METRICS},
        "/openapi.json": {"get": _DOCUMENT},
        "/docs": {"get": _page("web.docs", "This description as a page.")},
        "/docs/websocket": {"get": _page("web.docs_websocket", "The frames and close codes of terminals' WebSockets.")},
        "/mcp": {
            "post": _mcp("post", "Send messages of the Model Context Protocol.", {"200", "202"}),
            "get": _mcp("get", "Listen to what the server says by itself.", {"200"}),
            "delete": _mcp("delete", "End the MCP session.", {"200"}),
        },
    }


def _described(
    name: str, tag: str, summary: str, answer: dict[str, Any], failures: str, *, description: str = "", **more: Any
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": answer}
    responses |= {status: {"$ref": RESPONSE.format(name=status)} for status in failures.split()}
    return {
        "operationId": name,
        "summary": summary,
        "description": description or summary,
        "tags": [tag],
        "parameters": [],
        "responses": responses,
        **more,
    }


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return found | ({"required": required.split()} if required else {})


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _body(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    closed = {**schema, "additionalProperties": False}
    return {"required": required, "content": {"application/json": {"schema": closed}}}


_STRING: Final = {"type": "string"}
_COOKIE: Final = {"Set-Cookie": {"description": "The login's cookie.", "schema": _STRING}}
_NOBODY: Final[list[dict[str, list[str]]]] = []

_LOGIN: Final = _described(
    "web.login",
    "login",
    "Log a browser in with a one-time code or a key.",
    {
        **_json(
            "Logged in; the cookie is in `Set-Cookie`.",
            _object(
                "principal level expires_at_ms",
                principal=_STRING,
                level=_STRING,
                expires_at_ms={"type": ["integer", "null"]},
            ),
        ),
        "headers": _COOKIE,
    },
    "400 401 403 405 413 421 429",
    requestBody=_body(_object(code=_STRING, key=_STRING), required=True),
    security=_NOBODY,
)
_LOGOUT: Final = _described(
    "web.logout",
    "login",
    "End this login; a key that was shown stays.",
    {**_json("The login has ended.", _object()), "headers": _COOKIE},
    "401 403 405 421 429",
)
_TICKETS: Final = _described(
    "web.ticket",
    "login",
    "Make a ticket, which opens one WebSocket within a short time.",
    _json("Offer it as the subprotocol `ticket.VALUE`.", _object(
        "ticket expires_in_ms", ticket=_STRING, expires_in_ms={"type": "integer"}
    )),
    "400 401 403 404 405 413 421 429",
    requestBody=_body(
        _object(
            session_id={"type": ["string", "null"], "default": None}, read_only={"type": "boolean", "default": False}
        ),
        required=False,
    ),
)  # fmt: skip
_HEALTH: Final[dict[str, Any]] = _described(
    "web.health",
    "node",
    "Is the daemon well, and does any session run?",
    _json("All is well.", {"$ref": "#/components/schemas/Health"}),
    "405 421",
    security=_NOBODY,
)
_HEALTH["responses"]["503"] = _json("The daemon is ill.", {"$ref": "#/components/schemas/Health"})
SCHEMAS["Health"] = {
    "title": "Health",
    **_object("status idle", status={"enum": ["ok", "ill"]}, idle={"type": "boolean"}),
}
_METRICS: Final = _described(
    "web.metrics",
    "node",
    "Metrics in Prometheus's text format.",
    {"description": "Metrics.", "content": {"text/plain": {"schema": _STRING}}},
    "401 403 405 421 429",
)
_DOCUMENT: Final = _described(
    "web.openapi",
    "node",
    "This document.",
    _json("The API as OpenAPI 3.1.", {"type": "object"}),
    "401 403 405 421",
)


def _page(name: str, summary: str) -> dict[str, Any]:
    answer = {"description": "The page.", "content": {"text/html": {"schema": _STRING}}}
    return _described(name, "node", summary, answer, "401 403 405 421")


def _call(names: list[str]) -> dict[str, Any]:
    described = _described(
        "web.call",
        "call",
        "Call an operation by its name; body and answer are as at its own route.",
        _json("The operation's result; streams answer with `text/event-stream`.", {"type": "object"}),
        " ".join(COMMON),
        requestBody={"required": False, "content": {"application/json": {"schema": _object()}}},
    )
    described["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": {"enum": names}}]
    described["responses"]["200"]["content"]["text/event-stream"] = {"schema": {"type": "object"}}
    for status, text in {"412": "`etag_mismatch`.", "423": "`lease_held`."}.items():
        described["responses"][status] = failure(text)
    return described


def _mcp(method: str, summary: str, statuses: set[str]) -> dict[str, Any]:
    """Everything else about it is in the protocol's own specification, errors included."""
    schema = {"type": "object", "description": "JSON-RPC 2.0, or server-sent events of it"}
    answer = {
        "description": "As modelcontextprotocol.io says of streamable HTTP.",
        "content": {"application/json": {"schema": schema}, "text/event-stream": {"schema": schema}},
    }
    described = _described(f"web.mcp_{method}", "mcp", summary, answer, "401 403 421 429")
    described["responses"] |= dict.fromkeys(sorted(statuses), answer)
    described["responses"]["default"] = {"description": "An error of the protocol."}
    if method == "post":
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    return described
