"""What a request says, as the parameters of an operation: from the path, from the query, from a JSON body.

Query and path are text, so each value is converted to its parameter's type; a body says its types itself. Queries are
for reading only: addresses are logged and remembered in too many places for anything else.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from ptybridge.api.operation import Params
from ptybridge.errors import InvalidParams, InvalidRequest, RequestTooLarge
from ptybridge.mistakes import misread, plain
from ptybridge.web.context import Receive, Scope

# A query longer than this is no query.
MOST_FIELDS: Final = 100


class Disconnected(Exception):
    """The peer has gone before it had said everything."""


@cache
def types_of(params: type[Params]) -> dict[str, Any]:
    """Return the type of each parameter."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(params)}


def from_text(params: type[Params], values: Mapping[str, list[str]]) -> dict[str, object]:
    """Convert texts to the types of their parameters; those nobody knows are left for the dispatcher to refuse."""
    types = types_of(params)
    return {name: _convert(name, texts, types[name]) if name in types else texts[0] for name, texts in values.items()}


def _convert(name: str, texts: list[str], kind: Any) -> object:
    candidates: list[object] = [texts] if len(texts) > 1 else [texts[0], texts]
    problem = ""
    for candidate in candidates:
        try:
            return msgspec.convert(candidate, kind, strict=False)
        except msgspec.ValidationError as exc:
            problem = problem or plain(exc)
    raise InvalidParams(f"{name} {problem}" if problem.startswith("must ") else f"{name}: {problem}")


def query_of(scope: Scope) -> dict[str, list[str]]:
    """Return what stands in the query."""
    try:
        return parse_qs(
            scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(scope["query_string"]),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as exc:
        raise InvalidRequest(f"the query cannot be read: {exc}") from exc


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers by name; of one that is repeated, the last."""
    return dict(scope["headers"])


async def body_of(scope: Scope, receive: Receive, most: int) -> bytes:
    """Return the whole body. Raises `RequestTooLarge` as soon as it is known to be larger than `most`."""
    declared = headers_of(scope).get(b"content-length", b"")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return bytes(body)


def _too_large(most: int) -> RequestTooLarge:
    return RequestTooLarge(f"a request may have {most} bytes", hint="files of any size go to PUT /v1/files/content")


def from_body(scope: Scope, body: bytes) -> dict[str, object]:
    """Read a JSON object; an empty body is an empty one."""
    if not body:
        return {}
    content_type = headers_of(scope).get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type != b"application/json":
        raise InvalidRequest("the body must be JSON", hint="send `Content-Type: application/json`")
    try:
        # The values stay as they were sent; the dispatcher reads them, once.
        return dict(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidParams(f"the body is no JSON object: {misread(exc)}") from exc
