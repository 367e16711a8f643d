"""The contract as an OpenAPI 3.1 document (spec.openapis.org): every route, made from the declarations.

What is no operation (logging in, metrics, MCP …) is described by hand in `openapi_routes.py`.
"""

import re
from typing import Any, Final

import msgspec

from ptybridge import __version__
from ptybridge.api import openapi_routes, openapi_streams
from ptybridge.api.describe import REFERENCE, schemas_of
from ptybridge.api.openapi_routes import COMMON, RESPONSE, failure
from ptybridge.api.operation import Params
from ptybridge.api.registry import AnyOperation, Registry

_OPAQUE: Final = {"type": "string", "contentMediaType": "application/octet-stream"}
_CHANNELS: Final = ("file.upload", "file.download")
# The default port's, without TLS; who serves the document knows better.
COOKIE: Final = "ptybridge-7373"


def openapi(registry: Registry, *, cookie: str = COOKIE, base: str = "/") -> dict[str, Any]:
    """Describe the operations as they are over HTTP. `cookie`: the name of the login's; `base`: before all paths."""
    components = schemas_of(list(registry))
    paths: dict[str, dict[str, Any]] = {}
    for operation in registry:
        if operation.http is not None:
            method, _, path = operation.http.partition(" ")
            paths.setdefault(path, {})[method.lower()] = _described(operation, method, path, components)
    for path, methods in openapi_routes.paths([one.name for one in registry if one.kind != "channel"]).items():
        paths.setdefault(path, {}).update(methods)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ptybridge",
            "version": __version__,
            "description": (
                "Sessions over HTTP. Every operation can also be called as `POST /v1/call/NAME`. Streams are "
                "server-sent events; terminals are WebSockets (`/docs/websocket`)."
            ),
        },
        "servers": [{"url": base}],
        "security": [{"key": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, **openapi_routes.SCHEMAS},
            "responses": COMMON,
            "securitySchemes": openapi_routes.security(cookie),
        },
    }


def _described(operation: AnyOperation, method: str, path: str, components: dict[str, Any]) -> dict[str, Any]:
    schema = components[operation.params.__name__]
    fields: dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", []))
    in_path = re.findall(r"{(\w+)}", path)
    in_query = method == "GET" or operation.name in _CHANNELS
    result: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.name.partition(".")[0]],
        "parameters": [
            {
                "name": name,
                "in": "path" if name in in_path else "query",
                "required": name in in_path or name in required,
                "schema": field,
            }
            for name, field in fields.items()
            if name in in_path or in_query
        ],
        "responses": {**_answers(operation), **_failures(operation)},
        "x-scope": operation.scope,
        "x-since": operation.since,
    }
    if operation.name in openapi_streams.RESUMED:
        result["parameters"].append(openapi_streams.LAST_EVENT_ID)
    if operation.name == "session.attach":
        result["externalDocs"] = {"description": "The WebSocket's frames and close codes", "url": "docs/websocket"}
    if operation.name == "file.upload":
        result["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": _OPAQUE}}}
    elif not in_query:
        result |= _body(operation.params, fields, required, in_path)
    return result


def _body(params: type[Params], fields: dict[str, Any], required: set[str], in_path: list[str]) -> dict[str, Any]:
    body = {name: field for name, field in fields.items() if name not in in_path}
    needed = [name for name in body if name in required]
    inner: dict[str, Any] = {"type": "object", "properties": body, "additionalProperties": False}
    if needed:
        inner["required"] = needed
    return {"requestBody": {"required": bool(needed), "content": {"application/json": {"schema": inner}}}}


def _failures(operation: AnyOperation) -> dict[str, Any]:
    """Return what may go wrong: with each operation, and with this one."""
    found: dict[int, list[str]] = {}
    for error in operation.errors:
        found.setdefault(error.http_status, []).append(f"`{error.code}`")
    own = {str(status): failure(", ".join(codes)) for status, codes in found.items()}
    common = {status: {"$ref": RESPONSE.format(name=status)} for status in COMMON if status not in own}
    return dict(sorted((own | common).items()))


def _answers(operation: AnyOperation) -> dict[str, Any]:
    text = " ".join((operation.result.__doc__ or "").split())
    if operation.name == "session.attach":
        return {
            "101": {"description": "A WebSocket of the subprotocol `ptybridge.v1`."},
            "426": failure("`upgrade_required`: this path is a WebSocket (over HTTP/2 it is `invalid_request`)."),
        }
    if operation.kind == "stream":
        return {"200": {"description": text, "content": openapi_streams.content(operation)}}
    if operation.name == "file.download":
        content = {"application/octet-stream": {"schema": _OPAQUE}}
        return {
            "200": {"description": "The file.", "content": content},
            "206": {"description": "What is left of it after `Range: bytes=N-`.", "content": content},
        }
    reference = {
        "$ref": REFERENCE.format(name="StoredFile" if operation.kind == "channel" else operation.result.__name__)
    }
    return {"200": {"description": text, "content": {"application/json": {"schema": reference}}}}


def document(registry: Registry, *, cookie: str = COOKIE, base: str = "/") -> bytes:
    """Return the document as it is served and checked in."""
    described = openapi(registry, cookie=cookie, base=base)
    return msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"
