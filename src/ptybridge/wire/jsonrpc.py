"""JSON-RPC 2.0, one message a line: lines to messages and back, for both sides (https://www.jsonrpc.org/specification).

Deviations, all on the strict or the helpful side: parameters go by name only; `"params": null` counts as left
out; keys of the envelope may not repeat; NaN, deep nesting and oversized batches are refused. Where the specification
allows an error without an id only because the id cannot be found, we answer with the id whenever it can.
"""

from collections.abc import Iterable

import msgspec

from ptybridge import errors
from ptybridge.errors import InvalidParams, InvalidRequest, ParseError, PtybridgeError
from ptybridge.mistakes import misread
from ptybridge.wire.lines import MAX_LINE_BYTES as MAX_LINE_BYTES
from ptybridge.wire.lines import LineBuffer as LineBuffer
from ptybridge.wire.strictness import check_duplicates, check_nesting, check_text

MAX_BATCH = 1000

# Numbers with fractions are discouraged, null looks odd, but all are legal ids. `true`, lists and objects are not.
Id = int | float | str | None


class Request(msgspec.Struct, frozen=True, gc=False):
    """A call. `params` is the text of a JSON object, valid except for what only decoding by type can tell."""

    id: Id
    method: str
    params: msgspec.Raw


class Notification(msgspec.Struct, frozen=True, gc=False):
    """A call that is never answered, not even with an error."""

    method: str
    params: msgspec.Raw


class Response(msgspec.Struct, frozen=True):
    """The answer to the call `id`: its result as JSON text, or the error."""

    id: Id
    outcome: msgspec.Raw | PtybridgeError


class Malformed(msgspec.Struct, frozen=True):
    """Something that is no message. To be answered with `error` and `id`, unless `answer` is false (a notification)."""

    error: PtybridgeError
    id: Id = None
    answer: bool = True


Message = Request | Response | Notification | Malformed


class _Envelope(msgspec.Struct, gc=False):
    jsonrpc: str = ""
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"")
    id: Id | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _IdOnly(msgspec.Struct):
    id: Id = None


class _ErrorObject(msgspec.Struct):
    code: int
    message: str
    data: object = None


# Field order is the order on the wire. No defaults are left out: `omit_defaults` would drop "jsonrpc" itself.
class _ResultLine(msgspec.Struct, gc=False):
    id: Id
    result: object
    jsonrpc: str = "2.0"


class _ErrorLine(msgspec.Struct):
    id: Id
    error: _ErrorObject
    jsonrpc: str = "2.0"


class _RequestLine(msgspec.Struct, gc=False):
    id: Id
    method: str
    params: object
    jsonrpc: str = "2.0"


class _NotificationLine(msgspec.Struct, gc=False):
    method: str
    params: object
    jsonrpc: str = "2.0"


_OPEN_ARRAY, _OPEN_OBJECT = b"[{"
_NO_PARAMS = msgspec.Raw(b"{}")
# Codes the specification fixes: a peer that is not ptybridge sends no `data.code`.
_BY_NUMBER: dict[int, type[PtybridgeError]] = {
    kind.rpc_code: kind
    for kind in (ParseError, InvalidRequest, errors.MethodNotFound, InvalidParams, errors.InternalError)
}
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_decode_error = msgspec.json.Decoder(_ErrorObject).decode
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode_lines = msgspec.json.Encoder().encode_lines


# -- decoding -----------------------------------------------------------------------------------------------


def decode_message(line: bytes) -> Message | list[Message]:
    """Return what `line` says; a list stands for a batch and is never empty. Raises nothing."""
    try:
        check_text(line)
        check_nesting(line)
        if not line.lstrip(b" \t\r\n").startswith(b"["):
            return _decode_one(line)
        members = _decode_batch(line)
    except msgspec.DecodeError as exc:
        return Malformed(ParseError(str(exc)))
    except PtybridgeError as exc:
        return Malformed(exc)
    if not members:
        return Malformed(InvalidRequest("a batch must not be empty"))
    if len(members) > MAX_BATCH:
        return Malformed(InvalidRequest(f"a batch may have {MAX_BATCH} members"))
    return [_decode_one(bytes(member)) for member in members]


def decode_response(line: bytes) -> tuple[Id, msgspec.Raw | PtybridgeError]:
    """Return id and outcome of a response. Raises ParseError or InvalidRequest if `line` is anything else."""
    message = decode_message(line)
    if isinstance(message, Response):
        return message.id, message.outcome
    raise message.error if isinstance(message, Malformed) else InvalidRequest("this is not a response")


def _decode_one(text: bytes) -> Message:
    try:
        envelope = _decode_envelope(text)
    except msgspec.ValidationError as exc:
        return Malformed(InvalidRequest(misread(exc, whole="a message")), _find_id(text))
    except (msgspec.DecodeError, RecursionError) as exc:
        return Malformed(ParseError(str(exc)))
    id = None if envelope.id is msgspec.UNSET else envelope.id
    if envelope.jsonrpc != "2.0":
        return Malformed(InvalidRequest('`"jsonrpc": "2.0"` is missing'), id)
    if envelope.method is msgspec.UNSET:
        return _decode_outcome(envelope, id)
    if envelope.result is not msgspec.UNSET or envelope.error is not msgspec.UNSET:
        return Malformed(InvalidRequest("a message is either a request or a response"), id)
    params = bytes(envelope.params)
    if params and params[0] == _OPEN_ARRAY:
        return Malformed(InvalidParams("Parameters by name only"), id, answer=envelope.id is not msgspec.UNSET)
    if params == b"null":
        params = b""
    if params and params[0] != _OPEN_OBJECT:
        return Malformed(InvalidRequest("`params` must be an object"), id)
    try:
        check_duplicates(text, params)
    except PtybridgeError as exc:
        return Malformed(exc)  # with two ids there is no telling which is meant
    # A copy, where there was only a view of the whole line: a queued request must not keep its batch alive.
    raw = msgspec.Raw(params) if params else _NO_PARAMS
    if envelope.id is msgspec.UNSET:
        return Notification(envelope.method, raw)
    return Request(envelope.id, envelope.method, raw)


def _decode_outcome(envelope: _Envelope, id: Id) -> Response | Malformed:
    if (envelope.result is msgspec.UNSET) == (envelope.error is msgspec.UNSET):
        return Malformed(InvalidRequest("there is no `method`"), id)
    if envelope.id is msgspec.UNSET:
        return Malformed(InvalidRequest("a response needs an `id`"))
    if envelope.result is not msgspec.UNSET:
        return Response(id, envelope.result)
    assert envelope.error is not msgspec.UNSET
    try:
        error = _decode_error(envelope.error)
    except msgspec.DecodeError as exc:
        return Malformed(InvalidRequest(f"not an error object: {misread(exc)}"), id)
    return Response(id, _restore(error))


def _restore(error: _ErrorObject) -> PtybridgeError:
    data = dict(error.data) if isinstance(error.data, dict) else {}
    # These would collide with parameters of the exception's own.
    for reserved in ("self", "message"):
        data.pop(reserved, None)
    if "code" not in data and error.code in _BY_NUMBER:
        data["code"] = _BY_NUMBER[error.code].code
    return PtybridgeError.restore(error.message, data)


def _find_id(text: bytes) -> Id:
    try:
        return _decode_id(text).id
    except msgspec.DecodeError:
        return None


# -- encoding: each returns one line, newline included ------------------------------------------------------


def encode_result(id: Id, result: object) -> bytes:
    """Answer `id` with `result`: a struct, `Raw` JSON, or what else msgspec can encode."""
    return _encode_lines((_ResultLine(id, result),))


def encode_error(id: Id, error: PtybridgeError) -> bytes:
    """Answer `id` with `error`; `id` is None where it could not be found out."""
    return _encode_lines((_ErrorLine(id, _ErrorObject(error.rpc_code, error.message, error.describe())),))


def encode_request(id: Id, method: str, params: object) -> bytes:
    """Call `method`; `params` is a struct, a dict or `Raw` JSON of an object."""
    return _encode_lines((_RequestLine(id, method, params),))


def encode_notification(method: str, params: object) -> bytes:
    """Call `method` without wanting an answer."""
    return _encode_lines((_NotificationLine(method, params),))


def join_batch(lines: Iterable[bytes]) -> bytes:
    """Make one batch of encoded messages; of none at all b"", because an empty batch must not be sent."""
    members = b",".join(line.rstrip(b"\n") for line in lines)
    return b"[" + members + b"]\n" if members else b""
