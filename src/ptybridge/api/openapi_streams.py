"""Streams of server-sent events in the OpenAPI document: what each event of a stream looks like.

OpenAPI 3.1 says nothing of streams; as its tools have it, the schema of `text/event-stream` is that of one event with
its fields (html.spec.whatwg.org, "Server-sent events"), and `contentSchema` (JSON Schema 2020-12) that of its `data`.
"""

from typing import Any, Final

from ptybridge.api.describe import REFERENCE
from ptybridge.api.registry import AnyOperation

# The parameter of each stream that can be resumed, which is what its events' ids are for.
RESUMED: Final = {"event.follow": "after", "session.follow": "offset"}
LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The `id` of the last event that was seen: the stream goes on behind it.",
    "schema": {"type": "string", "pattern": "^[0-9]{0,19}$"},
}
END: Final[dict[str, Any]] = {
    "title": "StreamEnd",
    "type": "object",
    "description": "Why a stream is over; with the reason `failed` also the error.",
    "required": ["reason"],
    "properties": {"reason": {"type": "string"}, "error": {"$ref": REFERENCE.format(name="Problem")}},
}


def content(operation: AnyOperation) -> dict[str, Any]:
    """Return the content of a stream's answer."""
    resumable = operation.name in RESUMED
    kinds = [_event("opened", operation.result.__name__, has_id=resumable, retry=True)]
    kinds += [_event(str(event.__struct_config__.tag), event.__name__, has_id=resumable) for event in operation.events]
    kinds.append(_event("end", "StreamEnd", has_id=False))
    return {"text/event-stream": {"schema": {"oneOf": kinds}}}


def _event(kind: str, schema: str, *, has_id: bool, retry: bool = False) -> dict[str, Any]:
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": REFERENCE.format(name=schema)},
    }
    fields: dict[str, Any] = {"event": {"const": kind}, "data": data}
    if has_id:
        fields["id"] = {"type": "string", "pattern": "^[0-9]+$"}
    if retry:
        fields["retry"] = {"type": "integer"}
    return {"type": "object", "required": ["event", "data"], "properties": fields}
