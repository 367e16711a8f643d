"""What the pipe remembers, and what it says to the next daemon."""

import json
from typing import Any

from ptybridge.cli.mcp_requests import Conversation


def line(method: str, message_id: object = None, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if message_id is None else message | {"id": message_id}).encode()


def answer(message_id: object) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + json.dumps(message_id).encode() + b',"result":{}}'


def begun() -> Conversation:
    talk = Conversation()
    talk.sent(line("initialize", 0, protocolVersion="2025-06-18"))
    assert talk.is_for_client(answer(0))
    talk.sent(line("notifications/initialized"))
    return talk


def test_the_handshake_and_subscriptions_are_said_again_and_their_answers_kept_away() -> None:
    talk = begun()
    talk.sent(line("resources/subscribe", "s", uri="a"))
    talk.sent(line("resources/subscribe", "t", uri="b"))
    talk.is_for_client(answer("s"))
    talk.is_for_client(answer("t"))
    talk.sent(line("resources/unsubscribe", "u", uri="b"))
    talk.is_for_client(answer("u"))
    again, failed = talk.begin_again(set())
    said = [json.loads(one) for one in again]
    assert [one["method"] for one in said] == ["initialize", "notifications/initialized", "resources/subscribe"]
    assert said[0]["params"]["protocolVersion"] == "2025-06-18"
    assert failed == []
    assert not talk.is_for_client(answer(said[0]["id"]))
    assert not talk.is_for_client(answer(said[2]["id"]))
    assert talk.is_for_client(answer(said[0]["id"])), "once only"


def test_what_only_looks_is_asked_again_and_what_may_have_been_done_has_failed() -> None:
    talk = begun()
    talk.repeatable = {"pty_status"}
    talk.sent(line("tools/call", 1, name="pty_write", arguments={}))
    talk.sent(line("tools/call", "1", name="pty_status", arguments={}))
    talk.sent(line("tools/list", 2))
    talk.sent(line("tools/call", 3, name="pty_write", arguments={}))
    talk.sent(line("tools/call", 4, name="pty_write", arguments={}))
    talk.sent(line("notifications/cancelled", requestId=4))
    again, failed = talk.begin_again({"3"})
    assert [json.loads(one).get("id") for one in again[2:]] == ["1", 2]
    assert [one.id for one in failed] == [1]
    told = json.loads(failed[0].failed("lost"))
    assert (told["id"], told["result"]["isError"]) == (1, True)
    assert set(talk.in_flight) == {'"1"', "2", "3"}


def test_an_unanswered_handshake_is_simply_repeated() -> None:
    talk = Conversation()
    first = line("initialize", 7, protocolVersion="2025-06-18")
    talk.sent(first)
    assert talk.begin_again(set()) == ([first], [])
    assert talk.is_for_client(answer(7))


def test_other_failures_are_errors_and_a_call_with_an_envelope_gets_a_whole_result() -> None:
    talk = Conversation()
    asked = talk.sent(line("tools/list", 1))
    assert asked is not None
    assert json.loads(asked.failed("gone"))["error"]["message"] == "gone"
    called = talk.sent(line("tools/call", 2, name="x", _meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}))
    assert called is not None
    assert json.loads(called.failed("gone"))["result"]["resultType"] == "complete"


def test_what_is_no_request_passes() -> None:
    talk = Conversation()
    for junk in (b"[]", b"1", b'"x"', b"{", b'{"id":1}', b'{"id":1,"method":2}', b'{"id":null,"method":"ping"}'):
        assert talk.sent(junk) is None
    assert talk.is_for_client(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}')
    assert talk.in_flight == {}
