"""Answers of raw ASGI handlers, and the one shape that all errors have."""

from collections.abc import Iterable

import msgspec

from ptybridge.errors import PtybridgeError
from ptybridge.web.context import Send

Headers = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"


def error_body(error: PtybridgeError) -> bytes:
    """Return an error as JSON: what happened, what to do about it, and whether trying again helps."""
    details = {key: value for key, value in error.describe().items() if key not in {"code", "retryable", "hint"}}
    return error_json(error.code, error.message, hint=error.hint, retryable=error.retryable, data=details)


def error_json(
    code: str, message: str, *, hint: str | None = None, retryable: bool = False, data: dict[str, object] | None = None
) -> bytes:
    """Return the JSON that every error is."""
    body = {"code": code, "message": message, "hint": hint, "retryable": retryable, "data": data or {}}
    return msgspec.json.encode({"error": body}, enc_hook=str)


def error_headers(error: PtybridgeError) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to an error's status."""
    retry_after_ms = error.data.get("retry_after_ms")
    if isinstance(retry_after_ms, int):
        return [(b"retry-after", b"%d" % max(1, -(-retry_after_ms // 1000)))]
    return [(b"www-authenticate", b"Bearer")] if error.http_status == 401 else []


async def answer(send: Send, status: int, body: bytes, content_type: bytes = JSON, headers: Headers = ()) -> None:
    """Send a whole response."""
    start = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def answer_error(send: Send, error: PtybridgeError) -> None:
    """Send an error as the whole response."""
    await answer(send, error.http_status, error_body(error), headers=error_headers(error))


async def refuse_method(send: Send, allowed: Iterable[str]) -> None:
    """Say which methods a path takes."""
    methods = ", ".join(sorted(allowed))
    body = error_json("method_not_allowed", f"this path takes {methods}")
    await answer(send, 405, body, headers=[(b"allow", methods.encode())])


async def require_upgrade(send: Send) -> None:
    """Say that a path is a WebSocket's: RFC 9110 section 15.5.22, with the headers of 7.8."""
    body = error_json("upgrade_required", "this path is a WebSocket", hint="docs/websocket.md tells how it is used")
    await answer(send, 426, body, headers=[(b"upgrade", b"websocket"), (b"connection", b"upgrade")])
