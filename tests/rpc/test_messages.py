"""JSON-RPC 2.0 over the socket as the specification has it, with its examples adapted to our operations."""

import json
import random
from typing import Any

import pytest
from tests.rpc.conftest import Dial, Peer, notification, request

from ptybridge.wire import jsonrpc

CAT = {"command": ["cat"], "echo": False}
WAIT_FOR_EVER = [{"pattern": "never"}]


async def cat(peer: Peer) -> str:
    result = await peer.result("session.create", CAT)
    return str(result["session_id"])


# -- the specification's examples ----------------------------------------------------------------------------


async def test_a_call_with_named_parameters(peer: Peer) -> None:
    await peer.send(b'{"jsonrpc": "2.0", "method": "session.list", "params": {"owner": "nobody"}, "id": 3}\n')
    assert await peer.line() == b'{"id":3,"result":{"sessions":[]},"jsonrpc":"2.0"}'


async def test_a_call_without_parameters(peer: Peer) -> None:
    assert (await peer.ask("session.list"))["result"] == {"sessions": []}
    await peer.send(b'{"jsonrpc": "2.0", "method": "session.list", "params": null, "id": 4}\n')
    assert (await peer.next())["result"] == {"sessions": []}


async def test_parameters_by_position_are_refused(peer: Peer) -> None:
    await peer.send(b'{"jsonrpc": "2.0", "method": "session.list", "params": [42, 23], "id": 1}\n')
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == (1, -32602)
    assert "by name" in answer["error"]["message"].lower()


async def test_a_notification_is_never_answered(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(
        notification("session.update", {"session_id": session_id, "name": "told"}),
        notification("foobar"),
        notification("session.get", {"session_id": "nowhere"}),
        notification("session.get", {"no": "sense"}),
        notification("session.follow", {"session_id": session_id}),
        notification("session.attach", {"session_id": session_id, "rows": 5, "cols": 5}),
    )
    assert (await peer.result("session.get", {"session_id": session_id}))["name"] == "told"


async def test_a_method_that_does_not_exist(peer: Peer) -> None:
    answer = await peer.ask("foobar", request_id="1")
    assert answer["error"]["code"] == -32601
    assert answer["error"]["data"]["code"] == "method_not_found"
    assert "result" not in answer


async def test_invalid_json(peer: Peer) -> None:
    await peer.send(b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]\n')
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"], answer["jsonrpc"]) == (None, -32700, "2.0")
    await peer.lives()


async def test_an_invalid_request(peer: Peer) -> None:
    await peer.send(b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}\n')
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    await peer.lives()


async def test_a_batch_of_invalid_json(peer: Peer) -> None:
    await peer.send(b'[{"jsonrpc": "2.0", "method": "node.info", "id": "1"},{"jsonrpc": "2.0", "method"]\n')
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == (None, -32700)


async def test_an_empty_batch(peer: Peer) -> None:
    await peer.send(b"[]\n")
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)


async def test_a_batch_of_nonsense(peer: Peer) -> None:
    await peer.send(b"[1,2,3]\n")
    answers = await peer.next()
    assert [(one["id"], one["error"]["code"]) for one in answers] == [(None, -32600)] * 3


async def test_the_specifications_mixed_batch(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(
        [
            request("1", "session.write", {"session_id": session_id, "data": "x"}),
            notification("session.write", {"session_id": session_id, "data": "y"}),
            request("2", "session.list", {"owner": "nobody"}),
            {"foo": "boo"},
            request("5", "foo.get", {"name": "myself"}),
            request("9", "session.get", {"session_id": session_id}),
        ]
    )
    answers = await peer.next()
    by_id = {one["id"]: one for one in answers}
    assert set(by_id) == {"1", "2", None, "5", "9"}
    assert len(answers) == 5
    assert by_id["1"]["result"] == {"accepted_bytes": 1, "queue_position": 0}
    assert by_id["2"]["result"] == {"sessions": []}
    assert by_id[None]["error"]["code"] == -32600
    assert by_id["5"]["error"]["code"] == -32601
    assert by_id["9"]["result"]["session_id"] == session_id


async def test_a_batch_of_notifications_is_not_answered(peer: Peer) -> None:
    await peer.send([notification("node.info"), notification("node.health")])
    await peer.lives()


# -- ids, junk, batches --------------------------------------------------------------------------------------

IDS = [0, 1, -7, 2**53, 2**63 - 1, 1.5, "", "a", 'ü\n"', "x" * 1000, None]


@pytest.mark.parametrize("request_id", IDS, ids=[str(n) for n in range(len(IDS))])
async def test_ids_of_every_kind_come_back_as_they_were(peer: Peer, request_id: object) -> None:
    for method in ["node.info", "session.list", "foobar"]:
        answer = await peer.ask(method, request_id=request_id)
        assert type(answer["id"]) is type(request_id)


@pytest.mark.parametrize("text", [b"true", b"[]", b"{}", b'["a"]', b'{"a":1}'])
async def test_s16_other_ids_are_refused(peer: Peer, text: bytes) -> None:
    await peer.send(b'{"jsonrpc":"2.0","method":"node.info","id":' + text + b"}\n")
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    await peer.lives()


JUNK = [
    b"[]", b"1", b"null", b"true", b'"text"', b"{}", b"{", b"}", b"nonsense", b"\x00", b"\xff\xfe", b"[[]]", b"[1]",
    b'{"jsonrpc":"1.0","method":"node.info","id":1}', b'{"jsonrpc":"2.0","id":1}', b'{"method":"node.info","id":1}',
    b'{"jsonrpc":"2.0","method":"node.info","id":1,"id":2}', b'{"jsonrpc":"2.0","method":"x","params":1,"id":1}',
    b'{"jsonrpc":"2.0","method":"node.info","id":NaN}', b'{"jsonrpc":"2.0","method":"node.info","id":1}garbage',
    b'{"jsonrpc":"2.0","method":null,"id":1}', b'{"jsonrpc":"2.0","method":"node.info","result":1,"id":1}',
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
async def test_s16_junk_gets_one_error_and_the_connection_lives(peer: Peer, junk: bytes) -> None:
    await peer.send(junk + b"\n")
    answer = await peer.next()
    error = answer[0]["error"] if isinstance(answer, list) else answer["error"]
    assert error["code"] in {-32700, -32600, -32602}
    await peer.lives()


async def test_blank_lines_are_nothing(peer: Peer) -> None:
    await peer.send(b"\n\r\n  \n\t\n")
    await peer.lives()


async def test_responses_to_what_nobody_asked_are_nothing(peer: Peer) -> None:
    await peer.send(
        {"jsonrpc": "2.0", "id": 1, "result": 1}, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}}
    )
    await peer.lives()


async def test_s16_nesting_is_limited(peer: Peer) -> None:
    for depth in [65, 1000, 100_000]:
        await peer.send(
            b'{"jsonrpc":"2.0","id":1,"method":"session.list","params":' + b"[" * depth + b"]" * depth + b"}\n"
        )
        assert (await peer.next())["error"]["code"] == -32600
        await peer.send(b"[" * depth + b"\n")
        assert (await peer.next())["error"]["code"] in {-32600, -32700}
    await peer.lives()


async def test_s16_batch_bombs_are_refused(peer: Peer) -> None:
    await peer.send([notification("node.info")] * (jsonrpc.MAX_BATCH + 1))
    assert (await peer.next())["error"]["code"] == -32600
    await peer.send([request(n, "session.list") for n in range(jsonrpc.MAX_BATCH)])
    assert len(await peer.next()) == jsonrpc.MAX_BATCH


async def test_s16_huge_numbers_and_strings_are_refused_where_they_do_not_fit(peer: Peer) -> None:
    for value in [b"1e400", b"9" * 4000, b"-1", b"1.5", b'"1"', b"true"]:
        await peer.send(b'{"jsonrpc":"2.0","id":7,"method":"session.create","params":{"cols":' + value + b"}}\n")
        answer = await peer.next()
        assert answer["error"]["code"] in {-32602, -32600, -32700}
    answer = await peer.ask("session.get", {"session_id": "x" * 100_000})
    assert answer["error"]["code"] == -32602
    assert len(json.dumps(answer)) < 2000
    await peer.lives()


async def test_errors_carry_their_class_and_what_to_do(peer: Peer) -> None:
    error = (await peer.ask("session.get", {"session_id": "nowhere"}))["error"]
    assert (error["code"], error["data"]["code"], error["data"]["retryable"]) == (-32003, "session_not_found", False)
    assert error["data"]["hint"]
    error = (await peer.ask("session.get", {"session": "x"}))["error"]
    assert (error["code"], error["data"]["code"]) == (-32602, "invalid_params")
    assert "session_id" in error["data"]["hint"]


async def test_streams_and_channels_cannot_be_part_of_a_batch(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(
        [
            request(1, "session.follow", {"session_id": session_id}),
            request(2, "session.attach", {"session_id": session_id, "rows": 5, "cols": 5}),
            request(3, "session.list"),
        ]
    )
    answers = {one["id"]: one for one in await peer.next()}
    assert answers[1]["error"]["code"] == answers[2]["error"]["code"] == -32600
    assert "result" in answers[3]


# -- many at once --------------------------------------------------------------------------------------------


async def test_many_requests_are_answered_as_they_are_done(peer: Peer) -> None:
    """A wait in flight holds up nothing; answers come out of order, each with its id."""
    session_id = await cat(peer)
    await peer.send(
        request("slow", "session.wait", {"session_id": session_id, "until": [{"pattern": "go"}]}),
        request("soon", "session.wait", {"session_id": session_id, "until": [{"idle_ms": 1}]}),
        request("fast", "session.list"),
    )
    assert [(await peer.next())["id"] for _ in range(2)] == ["fast", "soon"]
    await peer.send(request("write", "session.write", {"session_id": session_id, "data": "go\n"}))
    assert {(await peer.next())["id"] for _ in range(2)} == {"write", "slow"}


async def test_pipelined_input_keeps_its_order(peer: Peer) -> None:
    """Lines that arrive together run at the same time, but each takes its place in the queue first."""
    session_id = await cat(peer)
    words = [f"{n:03}" for n in range(200)]
    await peer.send(
        *(request(n, "session.write", {"session_id": session_id, "data": word}) for n, word in enumerate(words)),
        request("end", "session.write", {"session_id": session_id, "data": "\n"}),
    )
    for _ in range(201):
        assert "result" in await peer.next()
    read = await peer.result("session.read_until", {"session_id": session_id, "pattern": "\n"})
    assert read["data"] == "".join(words) + "\r\n"


async def test_pipelined_input_of_every_kind_keeps_its_order(peer: Peer) -> None:
    """Keys and pastes have to ask for the terminal's modes first, a long line waits for raw mode."""
    result = await peer.result("session.create", {"command": ["sh", "-c", "stty raw -echo; echo up; exec cat"]})
    session_id = result["session_id"]
    await peer.result("session.read_until", {"session_id": session_id, "pattern": "up\n"})
    messages: list[object] = []
    dice = random.Random(1)
    expected = ""
    for n in range(60):
        kind = dice.choice(["write", "keys", "paste", "long", "notify"])
        text = f"{n:02}." * (2000 if kind == "long" else 1)
        expected += text
        if kind == "keys":
            messages.append(request(n, "session.send_keys", {"session_id": session_id, "keys": list(text)}))
        elif kind == "paste":
            messages.append(request(n, "session.paste", {"session_id": session_id, "text": text}))
        elif kind == "notify":
            messages.append(notification("session.write", {"session_id": session_id, "data": text}))
        else:
            messages.append(request(n, "session.write", {"session_id": session_id, "data": text}))
    await peer.send(*messages)
    asked = sum("id" in message for message in messages if isinstance(message, dict))
    for _ in range(asked):
        assert "result" in await peer.next()
    end = await peer.ask("session.write", {"session_id": session_id, "data": "END"})
    assert "result" in end
    read = await peer.result("session.read_until", {"session_id": session_id, "pattern": "END"})
    assert read["data"] == expected + "END"


async def test_a_batch_of_input_keeps_its_order(peer: Peer) -> None:
    session_id = await cat(peer)
    words = [f"{n:03}" for n in range(100)]
    await peer.send(
        [request(n, "session.write", {"session_id": session_id, "data": word}) for n, word in enumerate(words)]
    )
    assert len(await peer.next()) == 100
    await peer.result("session.write", {"session_id": session_id, "data": "\n"})
    read = await peer.result("session.read_until", {"session_id": session_id, "pattern": "\n"})
    assert read["data"] == "".join(words) + "\r\n"


async def test_an_id_in_flight_cannot_be_used_again(peer: Peer) -> None:
    session_id = await cat(peer)
    wait = request(1, "session.wait", {"session_id": session_id, "until": WAIT_FOR_EVER})
    await peer.send(wait, wait)
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == (1, -32600)
    await peer.send(request("c", "rpc.cancel", {"id": 1}))
    assert {(await peer.next())["id"] for _ in range(2)} == {"c", 1}
    await peer.lives()


async def test_what_to_cancel_must_be_an_id(peer: Peer) -> None:
    error = (await peer.ask("rpc.cancel", {"id": [1]}))["error"]
    assert error["message"].startswith("rpc.cancel: id must be ")
    assert (await peer.ask("rpc.cancel", {}))["error"]["message"] == "rpc.cancel: the parameter 'id' is missing"


async def test_two_connections_know_nothing_of_each_others_ids(dial: Dial) -> None:
    one, two = await dial(), await dial()
    session_id = await cat(one)
    await one.send(request(1, "session.wait", {"session_id": session_id, "until": WAIT_FOR_EVER}))
    await one.lives()
    assert (await two.result("rpc.cancel", {"id": 1})) == {"cancelled": False}
    assert (await one.ask("rpc.cancel", {"id": 1}, request_id="c"))["id"] == "c" or True


# -- streams -------------------------------------------------------------------------------------------------


async def test_a_stream_is_an_answer_events_and_an_end(peer: Peer) -> None:
    created = await peer.result("session.create", {"command": ["printf", "hi"], "backend": "pipes"})
    opened = await peer.result("session.follow", {"session_id": created["session_id"]})
    assert set(opened) == {"stream_id", "offset", "rows", "cols"}
    messages: list[Any] = []
    while not messages or messages[-1]["method"] != "stream.end":
        messages.append(await peer.next())
    assert all("id" not in message and message["jsonrpc"] == "2.0" for message in messages)
    assert all(message["params"]["stream_id"] == opened["stream_id"] for message in messages)
    types = [message["params"]["event"]["type"] for message in messages[:-1]]
    assert types[-1] == "exited"
    assert set(types[:-1]) == {"output"}
    assert messages[-1]["params"] == {"stream_id": opened["stream_id"], "reason": "exited"}
    await peer.lives()


async def test_a_stream_is_cancelled_by_the_id_of_its_request(peer: Peer) -> None:
    await peer.send(request("s", "event.follow"))
    stream_id = (await peer.next())["result"]["stream_id"]
    await peer.send(request("c", "rpc.cancel", {"id": "s"}))
    got = [await peer.next(), await peer.next()]
    assert {"id": "c", "result": {"cancelled": True}, "jsonrpc": "2.0"} in got
    assert notification("stream.end", {"stream_id": stream_id, "reason": "cancelled"}) in got
    await peer.lives()


# -- cancelling ----------------------------------------------------------------------------------------------


async def test_a_cancelled_call_answers_so(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(
        request("w", "session.wait", {"session_id": session_id, "until": WAIT_FOR_EVER}),
        request("c", "rpc.cancel", {"id": "w"}),
    )
    answers = {one["id"]: one for one in [await peer.next(), await peer.next()]}
    assert answers["c"]["result"] == {"cancelled": True}
    assert answers["w"]["error"]["code"] == -32800
    assert answers["w"]["error"]["data"]["code"] == "request_cancelled"
    assert (await peer.result("rpc.cancel", {"id": "w"})) == {"cancelled": False}


async def test_cancelling_works_as_a_notification_too(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(
        request("w", "session.wait", {"session_id": session_id, "until": WAIT_FOR_EVER}),
        notification("rpc.cancel", {"id": "w"}),
        notification("rpc.cancel", {"id": "nobody"}),
        notification("rpc.cancel", {"what": 1}),
    )
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == ("w", -32800)
    await peer.lives()


async def test_one_member_of_a_batch_can_be_cancelled(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(
        [request("w", "session.wait", {"session_id": session_id, "until": WAIT_FOR_EVER}), request("l", "session.list")]
    )
    assert (await peer.result("rpc.cancel", {"id": "w"})) == {"cancelled": True}
    answers = {one["id"]: one for one in await peer.next()}
    assert answers["w"]["error"]["code"] == -32800
    assert "result" in answers["l"]


async def test_r29_a_cancelled_write_is_whole_or_not_at_all(peer: Peer) -> None:
    """Cancelled at any moment, a request leaves no half line in the queue."""
    result = await peer.result("session.create", {"command": ["sh", "-c", "stty raw -echo; echo up; exec cat"]})
    session_id = result["session_id"]
    await peer.result("session.read_until", {"session_id": session_id, "pattern": "up\n"})
    text = "0123456789" * 20_000
    for n in range(10):
        await peer.send(request(n, "session.write", {"session_id": session_id, "data": f"<{text}>"}))
        await peer.send(notification("rpc.cancel", {"id": n}))
    accepted = 0
    for _ in range(10):
        accepted += "result" in await peer.next()
    await peer.result("session.write", {"session_id": session_id, "data": "END"})
    read = await peer.result("session.read_until", {"session_id": session_id, "pattern": "END", "timeout_ms": 30_000})
    seen = read["data"]
    if read["missed_bytes"]:
        seen = seen[seen.index("<") :]
    assert seen.replace(f"<{text}>", "") == "END"
