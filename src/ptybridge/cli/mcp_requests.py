"""What `ptybridge mcp` must remember of a conversation so that it can go on with another daemon.

How it works: every request of the client is kept until its answer passes. When the daemon is gone, the handshake and
the subscriptions are said again to the next one, with ids of our own whose answers nobody else sees. Requests that
only look are made again; a tool call that may have done something is answered as failed, because nobody knows.
"""

import json
import re
from typing import Any, Final

# The daemon writes `id` before `result`, so that an answer of megabytes need not be parsed to know whose it is.
_ANSWER: Final = re.compile(rb'\{"jsonrpc":"2\.0","id":("(?:[^"\\]|\\.)*"|-?[0-9]+),"(?:result|error)"')
_OUR_ID: Final = "ptybridge-again-"
_ENVELOPE: Final = "io.modelcontextprotocol/protocolVersion"
LOST: Final = (
    "the daemon restarted during this call: it is not known whether it was done\n"
    "hint: sessions go on; look at the session (pty_status), then retry if it is needed"
)
INTERNAL_ERROR: Final = -32603


def key_of(request_id: object) -> str:
    """Return an id as text; "1" and 1 differ."""
    return str(request_id) if type(request_id) is int else json.dumps(request_id)


class Request:
    """One request of the client that is not answered yet."""

    def __init__(self, message: dict[str, Any], line: bytes) -> None:
        params = message.get("params")
        self.id = message["id"]
        self.line = line
        self.method = message["method"]
        self.params: dict[str, Any] = params if isinstance(params, dict) else {}

    @property
    def key(self) -> str:
        """The id as text; "1" and 1 differ."""
        return key_of(self.id)

    def failed(self, text: str) -> bytes:
        """Return an answer that says why there is none: for a tool call a result, which a model gets to see."""
        if self.method != "tools/call":
            error = {"code": INTERNAL_ERROR, "message": text}
            return json.dumps({"jsonrpc": "2.0", "id": self.id, "error": error}).encode()
        result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
        meta = self.params.get("_meta")
        if isinstance(meta, dict) and _ENVELOPE in meta:
            result["resultType"] = "complete"
        return json.dumps({"jsonrpc": "2.0", "id": self.id, "result": result}).encode()


class Conversation:
    """Both sides of it, as far as they matter after a loss."""

    def __init__(self) -> None:
        self.repeatable: set[str] = set()
        self.in_flight: dict[str, Request] = {}
        self._initialize: Request | None = None
        self._initialized: bytes | None = None
        self._subscribed: dict[str, bytes] = {}
        self._ours: set[str] = set()
        self._count = 0

    def sent(self, line: bytes) -> Request | None:
        """Take note of what the client says; return it if it is a request."""
        try:
            message = json.loads(line.decode())  # it would look for the encoding
        except (ValueError, RecursionError):
            return None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return None
        if not isinstance(message.get("id"), str | int):
            self._notified(message, line)
            return None
        request = Request(message, line)
        self.in_flight[request.key] = request
        uri = request.params.get("uri")
        match request.method:
            case "initialize":
                self._initialize = request
            case "resources/subscribe" if isinstance(uri, str):
                self._subscribed[uri] = line
            case "resources/unsubscribe" if isinstance(uri, str):
                self._subscribed.pop(uri, None)
        return request

    def _notified(self, message: dict[str, Any], line: bytes) -> None:
        params = message.get("params")
        if message["method"] == "notifications/initialized":
            self._initialized = line
        elif message["method"] == "notifications/cancelled" and isinstance(params, dict):
            # It is never answered now.
            self.in_flight.pop(key_of(params.get("requestId")), None)

    def is_for_client(self, line: bytes) -> bool:
        """Take note of what the daemon says; tell whether the client should hear it."""
        found = _ANSWER.match(line)
        if found is None:
            return True
        given = found[1].decode()
        key = key_of(json.loads(given)) if given.startswith('"') else given
        if key in self._ours:
            self._ours.discard(key)
            return False
        self.in_flight.pop(key, None)
        return True

    def begin_again(self, undelivered: set[str]) -> tuple[list[bytes], list[Request]]:
        """Return what to say to the next daemon, and the requests that must be answered as failed.

        `undelivered` are the keys of requests that have not been sent at all; they stay as they are.
        """
        again: list[bytes] = []
        self._ours.clear()
        if self._initialize is not None and self._initialize.key not in self.in_flight:
            again.append(self._with_our_id(self._initialize.line))
        if self._initialized is not None:
            again.append(self._initialized)
        pending = {one.params.get("uri") for one in self.in_flight.values() if one.method == "resources/subscribe"}
        again += [self._with_our_id(line) for uri, line in self._subscribed.items() if uri not in pending]
        failed = []
        for key, request in list(self.in_flight.items()):
            if key in undelivered:
                continue
            if request.method != "tools/call" or request.params.get("name") in self.repeatable:
                again.append(request.line)
            else:
                failed.append(self.in_flight.pop(key))
        return again, failed

    def _with_our_id(self, line: bytes) -> bytes:
        self._count += 1
        message = json.loads(line) | {"id": f"{_OUR_ID}{self._count}"}
        self._ours.add(json.dumps(message["id"]))
        return json.dumps(message).encode()
