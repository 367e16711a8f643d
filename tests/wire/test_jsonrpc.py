"""JSON-RPC 2.0: the specification's examples, hostile lines, and the way there and back."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.errors import (
    Conflict,
    InvalidParams,
    InvalidRequest,
    LeaseHeld,
    MethodNotFound,
    ParseError,
    PtybridgeError,
)
from ptybridge.wire import jsonrpc
from ptybridge.wire.jsonrpc import Malformed, Notification, Request, Response, decode_message, decode_response

IDS = st.integers(-(2**70), 2**70) | st.text() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def malformed(line: bytes) -> Malformed:
    message = decode_message(line)
    assert isinstance(message, Malformed)
    return message


def request(line: bytes) -> Request:
    message = decode_message(line)
    assert isinstance(message, Request), message
    return message


@pytest.mark.parametrize("id", [1, 0, -5, 1.5, "a", "", None, 2**80])
def test_request_keeps_its_id_and_type_of_id(id: object) -> None:
    found = request(json.dumps({"jsonrpc": "2.0", "method": "m", "id": id}).encode())
    assert found.id == id
    assert type(found.id) is type(id)
    assert bytes(found.params) == b"{}"


@pytest.mark.parametrize("id", [b"true", b"false", b"[]", b"{}", b"1e400", b"9" * 5000])
def test_other_ids_are_refused_and_answered_without_one(id: bytes) -> None:
    found = malformed(b'{"jsonrpc":"2.0","method":"m","id":' + id + b"}")
    assert isinstance(found.error, InvalidRequest)
    assert found.id is None
    assert found.answer


def test_missing_id_makes_a_notification() -> None:
    found = decode_message(b'{"jsonrpc":"2.0","method":"m","params":{"a": 1}}')
    assert isinstance(found, Notification)
    assert bytes(found.params) == b'{"a": 1}'


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"[]", InvalidRequest),
        (b" [ ] ", InvalidRequest),
        (b"1", InvalidRequest),
        (b"null", InvalidRequest),
        (b'"x"', InvalidRequest),
        (b"{}", InvalidRequest),
        (b"", ParseError),
        (b"{", ParseError),
        (b"[1", ParseError),
        (b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', ParseError),
        (b'[{"jsonrpc": "2.0", "method": "sum", "id": "1"},{"jsonrpc": "2.0", "method"', ParseError),
        (b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}', InvalidRequest),
        (b'{"jsonrpc": "2.0", "method": "a\xff"}', ParseError),
        (b'{"jsonrpc": "2.0", "method": "a", "params": {"x": "\xff"}}', ParseError),
        (b'{"jsonrpc": "2.0", "method": "a", "params": {"x": NaN}, "id": 1}', ParseError),
        (b'{"jsonrpc": "2.0", "method": "a\\ud800"}', ParseError),
        (b'{"method": "a"}', InvalidRequest),
        (b'{"jsonrpc": "1.0", "method": "a"}', InvalidRequest),
        (b'{"jsonrpc": "2.0", "result": 1, "error": {}}', InvalidRequest),
        (b"\xef\xbb\xbf{}", ParseError),
    ],
)
def test_junk_gets_one_error_without_an_id(line: bytes, kind: type[PtybridgeError]) -> None:
    found = malformed(line)
    assert type(found.error) is kind
    assert found.id is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"1", "a message must be an object, not a whole number"),
        (b'{"jsonrpc":"2.0","method":1,"id":7}', "method must be text, not a whole number"),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1}}', "not an error object: the member 'message' is missing"),
        (b'{"jsonrpc":"2.0","id":7,"error":[]}', "not an error object: it must be an object, not a list"),
    ],
)
def test_what_is_wrong_is_told_in_words(line: bytes, words: str) -> None:
    assert malformed(line).error.message == words


def test_id_is_found_in_an_otherwise_bad_request() -> None:
    assert malformed(b'{"jsonrpc":"2.0","method":1,"id":7}').id == 7
    assert malformed(b'{"jsonrpc":"1.0","method":"m","id":7}').id == 7


def test_positional_parameters_are_refused() -> None:
    found = malformed(b'{"jsonrpc":"2.0","method":"m","params":[1],"id":7}')
    assert isinstance(found.error, InvalidParams)
    assert found.id == 7
    assert found.answer
    assert not malformed(b'{"jsonrpc":"2.0","method":"m","params":[1]}').answer
    assert isinstance(malformed(b'{"jsonrpc":"2.0","method":"m","params":7}').error, InvalidRequest)


def test_null_parameters_count_as_none() -> None:
    assert bytes(request(b'{"jsonrpc":"2.0","method":"m","params":null,"id":7}').params) == b"{}"


def test_batch_members_are_judged_one_by_one() -> None:
    found = decode_message(
        b'[{"jsonrpc":"2.0","method":"a","id":1},{"jsonrpc":"2.0","method":"b"},1,{"foo":"boo"},'
        b'{"jsonrpc":"2.0","id":3,"result":[1, 2]}]'
    )
    assert isinstance(found, list)
    assert [type(one) for one in found] == [Request, Notification, Malformed, Malformed, Response]


def test_batch_of_batches_is_not_followed() -> None:
    found = decode_message(b"[[]]")
    assert isinstance(found, list)
    assert isinstance(found[0], Malformed)
    assert len(found) == 1


def test_batch_bomb_gets_one_error() -> None:
    assert isinstance(malformed(b"[" + b"1," * jsonrpc.MAX_BATCH + b"1]").error, InvalidRequest)


@pytest.mark.parametrize("nesting", [b"[" * 100_000, b'{"a":' * 65, b'{"jsonrpc":"2.0","params":' + b'["]",[[' * 33])
def test_deep_nesting_is_refused(nesting: bytes) -> None:
    assert "nested" in malformed(nesting).error.message


def test_brackets_within_strings_are_not_nesting() -> None:
    text = json.dumps({"jsonrpc": "2.0", "method": "m", "params": {"x": '["\\' * 500}, "id": 1}).encode()
    assert request(text).id == 1


def test_many_flat_containers_are_fine() -> None:
    text = json.dumps({"jsonrpc": "2.0", "method": "m", "params": {"x": [{}] * 500}, "id": 1}).encode()
    assert request(text).id == 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","method":"a","id":1,"id":2}',
        b'{"jsonrpc":"2.0","method":"a","method":"b","id":1}',
        b'{"jsonrpc":"2.0","method":"a","id":1,"\\u0069d":2}',
        b'{"jsonrpc":"2.0","params":{"id":1},"method":"a","params":{"id":1},"id":1}',
        b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"id":1},"id":2}',
    ],
)
def test_keys_given_twice_are_refused(line: bytes) -> None:
    assert "twice" in malformed(line).error.message


def test_envelope_keys_may_occur_in_parameters_and_values() -> None:
    found = request(b'{"jsonrpc":"2.0","method":"id","params":{"id":1,"params":{"id":2},"t":"\\u001b"},"id":"id"}')
    assert found.id == "id"
    assert found.method == "id"


def test_response_cannot_be_a_request_too() -> None:
    assert malformed(b'{"jsonrpc":"2.0","method":"a","result":1,"id":4}').id == 4
    assert isinstance(malformed(b'{"jsonrpc":"2.0","result":1}').error, InvalidRequest)
    assert malformed(b'{"jsonrpc":"2.0","error":"no","id":4}').id == 4


class Answer(msgspec.Struct):
    value: object


@given(IDS, JSON)
def test_result_comes_back(id: jsonrpc.Id, value: object) -> None:
    line = jsonrpc.encode_result(id, Answer(value))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["jsonrpc"] == "2.0"
    found, result = decode_response(line)
    assert found == id
    assert isinstance(result, msgspec.Raw)
    assert msgspec.json.decode(result) == {"value": value}


@given(IDS, st.text(), JSON)
def test_request_comes_back(id: jsonrpc.Id, method: str, value: object) -> None:
    found = request(jsonrpc.encode_request(id, method, {"value": value}))
    assert (found.id, found.method, msgspec.json.decode(found.params)) == (id, method, {"value": value})


def test_null_result_is_a_result() -> None:
    id, result = decode_response(jsonrpc.encode_result(3, None))
    assert id == 3
    assert isinstance(result, msgspec.Raw)
    assert bytes(result) == b"null"


def test_notification_comes_back() -> None:
    found = decode_message(jsonrpc.encode_notification("stream.event", Answer(1)))
    assert isinstance(found, Notification)
    assert bytes(found.params) == b'{"value":1}'


def test_error_comes_back_as_what_it_was() -> None:
    sent = LeaseHeld("ann holds it", hint="ask her", holder="ann")
    id, error = decode_response(jsonrpc.encode_error("x", sent))
    assert id == "x"
    assert type(error) is LeaseHeld
    assert (error.message, error.hint, error.data) == ("ann holds it", "ask her", {"holder": "ann"})


def test_details_named_like_parameters_of_the_exception_are_left_out() -> None:
    _, error = decode_response(
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no",'
        b'"data":{"self":1,"message":2,"code":"conflict","a b":3}}}'
    )
    assert isinstance(error, Conflict)
    assert error.data == {"a b": 3}


def test_error_of_a_foreign_peer_is_known_by_its_number() -> None:
    _, error = decode_response(b'{"jsonrpc":"2.0","error":{"code":-32601,"message":"no"},"id":"1"}')
    assert type(error) is MethodNotFound
    _, error = decode_response(b'{"jsonrpc":"2.0","error":{"code":1,"message":"no","data":[1]},"id":"1"}')
    assert type(error) is PtybridgeError


def test_decode_response_raises_for_everything_else() -> None:
    for line in (b'{"jsonrpc":"2.0","method":"a"}', b"[]", b"[1]", b"{"):
        with pytest.raises((InvalidRequest, ParseError)):
            decode_response(line)


def test_batch_of_answers() -> None:
    line = jsonrpc.join_batch([jsonrpc.encode_result(1, 1), jsonrpc.encode_result(2, 2)])
    assert [one["id"] for one in json.loads(line)] == [1, 2]
    assert jsonrpc.join_batch([]) == b""


@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_whatever_raises(line: bytes) -> None:
    decode_message(line)


@given(st.text('{}[]":,\\u0069d method"1', max_size=60))
def test_no_near_json_raises(text: str) -> None:
    decode_message(b'{"jsonrpc":"2.0","method":"m","id":1,' + text.encode() + b"}")
