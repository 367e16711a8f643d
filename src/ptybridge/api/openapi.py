"""The contract as an OpenAPI 3.1 document (spec.openapis.org): every route, made from the declarations."""

import re
from typing import Any, Final

import msgspec

from ptybridge import __version__
from ptybridge.api.describe import REFERENCE, schemas_of
from ptybridge.api.operation import Effect
from ptybridge.api.registry import AnyOperation, Registry

_OPAQUE: Final = {"type": "string", "contentMediaType": "application/octet-stream"}
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint", "retryable", "data"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "hint": {"type": ["string", "null"]},
                "retryable": {"type": "boolean"},
                "data": {"type": "object"},
            },
        }
    },
}


def openapi(registry: Registry) -> dict[str, Any]:
    """Describe the operations as they are over HTTP."""
    components = schemas_of(list(registry))
    paths: dict[str, dict[str, Any]] = {}
    for operation in registry:
        if operation.http is not None:
            method, _, path = operation.http.partition(" ")
            paths.setdefault(path, {})[method.lower()] = _described(operation, path, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ptybridge",
            "version": __version__,
            "description": (
                "Sessions over HTTP. Every operation can also be called as `POST /v1/call/NAME`. Streams are "
                "server-sent events; terminals are WebSockets (docs/protocol.md)."
            ),
        },
        "security": [{"key": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Failure": _ERROR},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "ptybridge"},
            },
        },
    }


def _described(operation: AnyOperation, path: str, components: dict[str, Any]) -> dict[str, Any]:
    schema = components[operation.params.__name__]
    fields: dict[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", []))
    in_path = re.findall(r"{(\w+)}", path)
    content = operation.name in {"file.upload", "file.download"}
    in_query = operation.effect is Effect.READS or content or operation.kind == "channel"
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
        "responses": {"200": _answer(operation), "default": _failure("What went wrong; the status says what kind.")},
        "x-scope": operation.scope,
        "x-since": operation.since,
    }
    if operation.name == "session.attach":
        result["responses"] = {"101": {"description": "A WebSocket of binary frames (docs/protocol.md)."}}
    for status, codes in sorted(_statuses(operation).items()):
        result["responses"][str(status)] = _failure(", ".join(codes))
    if operation.name == "file.upload":
        result["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": _OPAQUE}}}
    elif not in_query:
        body = {name: field for name, field in fields.items() if name not in in_path}
        needed = [name for name in body if name in required]
        inner: dict[str, Any] = {"type": "object", "properties": body, "additionalProperties": False}
        if needed:
            inner["required"] = needed
        result["requestBody"] = {"required": bool(needed), "content": {"application/json": {"schema": inner}}}
    return result


def _statuses(operation: AnyOperation) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for error in operation.errors:
        found.setdefault(error.http_status, []).append(f"`{error.code}`")
    return found


def _failure(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": REFERENCE.format(name="Failure")}}},
    }


def _answer(operation: AnyOperation) -> dict[str, Any]:
    text = " ".join((operation.result.__doc__ or "").split())
    if operation.kind == "stream":
        events = [event.__name__ for event in (operation.result, *operation.events)]
        schema: dict[str, Any] = {"type": "string", "description": f"events: {', '.join(events)}"}
        return {"description": text, "content": {"text/event-stream": {"schema": schema}}}
    if operation.name == "file.download":
        return {"description": "The file.", "content": {"application/octet-stream": {"schema": _OPAQUE}}}
    channel = operation.kind == "channel"
    reference = {"type": "object"} if channel else {"$ref": REFERENCE.format(name=operation.result.__name__)}
    return {"description": text, "content": {"application/json": {"schema": reference}}}


def document(registry: Registry) -> bytes:
    """Return the document as it is served and checked in."""
    return msgspec.json.format(msgspec.json.encode(openapi(registry)), indent=2) + b"\n"
