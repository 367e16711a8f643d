"""The description of the API: `/openapi.json`, and `/docs`, a page of it without any script."""

import hashlib
import re
from functools import cache, lru_cache
from html import escape
from typing import Any, Final

from quart import Response, request
from quart_trio import QuartTrio

from ptybridge.api.openapi import COOKIE, document, openapi
from ptybridge.api.openapi_routes import COMMON
from ptybridge.api.registry import Registry
from ptybridge.web import websocketpage
from ptybridge.web.coding import chosen as coding_of
from ptybridge.web.coding import compress
from ptybridge.web.context import Web, caller

# One style, named by its hash, and nothing else: CSP level 3.
_STYLE: Final = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}code,h3{font-family:ui-monospace,monospace}h3{margin:2rem 0 0;font-size:1rem}"
    "summary{cursor:pointer}dt{font-family:ui-monospace,monospace}dd{margin:0 0 .5rem 1.5rem;opacity:.8}"
    "nav a{margin-right:1rem}.m{display:inline-block;min-width:4.5rem;font-weight:bold}"
)


def add_documents(app: QuartTrio, web: Web) -> None:
    """Give `app` the routes."""

    @app.get("/openapi.json")
    async def openapi_json() -> Response:  # noqa: ASYNC124 - Quart runs others in threads
        caller()  # what this node can do is for those who may use it
        scope: Any = request.scope
        found = document(web.registry, cookie=scope["state"].get("cookie", COOKIE), base=web.prefix or "/")
        return _answer(found, "application/json")

    @app.get("/docs")
    async def docs() -> Response:  # noqa: ASYNC124 - Quart runs others in threads
        caller()
        return _html(_page(web.registry))

    @app.get("/docs/websocket")
    async def websocket() -> Response:  # noqa: ASYNC124 - Quart runs others in threads
        caller()
        return _html(websocketpage.page(_STYLE))


def _html(page: str) -> Response:
    response = _answer(page.encode(), "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src '{_style_hash()}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


def _answer(body: bytes, content_type: str) -> Response:
    """Answer with what changes with the version only: compressed where the client takes it, or with 304."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    if request.if_none_match.contains_weak(etag):
        response = Response(b"", 304)
    else:
        coding = coding_of(request.headers.get("accept-encoding", "").encode("latin-1"))
        response = Response(body if coding is None else _packed(coding, body), content_type=content_type)
        if coding is not None:
            response.headers["Content-Encoding"] = coding.decode()
    response.set_etag(etag, weak=True)
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@lru_cache(maxsize=16)
def _packed(coding: bytes, body: bytes) -> bytes:
    return compress(coding, body)


def _style_hash() -> str:
    import base64

    return f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}"


@cache
def _page(registry: Registry) -> str:
    described = openapi(registry)
    nouns: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            nouns.setdefault(one["tags"][0], []).append(_operation(method, path, one))
    links = "".join(f'<a href="#{noun}">{noun}</a>' for noun in nouns)
    parts = [f'<h2 id="{noun}">{noun}</h2>{"".join(those)}' for noun, those in nouns.items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>ptybridge API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>ptybridge API</h1>'
        f"<p>{_text(described['info']['description'])} <a href='openapi.json'>openapi.json</a> "
        f"<a href='docs/websocket'>WebSocket</a></p>"
        f"<nav>{links}</nav>{''.join(parts)}</html>"
    )


def _operation(method: str, path: str, one: dict[str, Any]) -> str:
    fields = [(field["name"], field["in"], field["required"]) for field in one["parameters"]]
    body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    fields += [(name, "body", name in body.get("required", [])) for name in body.get("properties", {})]
    rows = "".join(f"<dt>{escape(name)}{'' if needed else '?'}</dt><dd>{place}</dd>" for name, place, needed in fields)
    answers = "".join(
        f"<dt>{status}</dt><dd>{_text(_resolved(found)['description'])}</dd>"
        for status, found in one["responses"].items()
    )
    return (
        f'<h3><span class="m">{method.upper()}</span> {escape(path)}</h3><details><summary>{_text(one["summary"])} '
        f"<code>{one['operationId']}</code></summary><p>{_text(one['description'])}</p><dl>{rows}</dl><dl>{answers}</dl>"
        "</details>"
    )


def _resolved(response: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = COMMON[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
    return found


def _text(markdown: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(markdown))
