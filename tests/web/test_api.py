"""Operations over HTTP: routes, parameters, answers, errors, and what a peer that goes leaves behind."""

import gzip
import re
from typing import Any

import brotli
import msgspec
import pytest
from tests.contract.local_endpoint import LocalClient
from tests.web.conftest import Connect, OpenGate
from tests.web.http import Http, eventually

from ptybridge.api import session
from ptybridge.api.operation import Effect
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon

# A channel for one program that speaks lines, and a call about other requests of the same connection.
NOT_OVER_HTTP = {"mcp.open", "rpc.cancel"}


@pytest.fixture
def gate() -> Any:
    return OpenGate


async def cat(http: Http, **params: Any) -> str:
    answer = await http.post("/v1/sessions", {"command": ["cat"], **params})
    assert answer.status == 200, answer.body
    return str(answer.json()["session_id"])


class TestRoutes:
    async def test_a_path_says_which_methods_it_takes(self, http: Http) -> None:
        for method, path, allowed in (
            ("PUT", "/v1/sessions", "DELETE, GET, HEAD, POST"),
            # By its name, not as the session that could be called so.
            ("DELETE", "/v1/sessions/recover", "POST"),
            ("GET", "/v1/call/session.list", "POST"),
        ):
            answer = await http.request(method, path)
            assert (answer.status, answer.headers["allow"]) == (405, allowed)
            assert answer.json()["error"]["code"] == "method_not_allowed"

    async def test_a_websockets_path_tells_who_comes_without_an_upgrade(self, http: Http) -> None:
        answer = await http.get("/v1/sessions/nowhere0/attach?rows=24&cols=80")
        assert (answer.status, answer.headers["upgrade"], answer.headers["connection"]) == (426, "websocket", "upgrade")
        assert answer.json()["error"]["code"] == "upgrade_required"
        # The connection is of use for more.
        assert (await http.get("/v1/sessions")).status == 200

    def test_every_operation_has_one_of_its_own(self) -> None:
        routes = [one.http for one in contract() if one.http is not None]
        assert {one.name for one in contract() if one.http is None} == NOT_OVER_HTTP
        # Names of path parameters do not tell routes apart.
        assert len({re.sub(r"{\w+}", "{}", route) for route in routes}) == len(routes)
        assert all(re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /v1(/[a-z_.-]+|/{\w+})+", route) for route in routes)

    def test_reading_is_get_and_nothing_else_is(self) -> None:
        for one in contract():
            if one.http is not None and one.http.startswith("GET "):
                assert one.effect is Effect.READS or one.kind == "channel", one.name

    def test_the_path_names_parameters_that_there_are(self) -> None:
        for one in contract():
            for name in re.findall(r"{(\w+)}", one.http or ""):
                assert name in one.params.__struct_fields__, one.name


class TestParameters:
    async def test_from_path_query_and_body(self, http: Http) -> None:
        session_id = await cat(http, name="one", tags=["x"])
        found = await http.get("/v1/sessions?state=running&tag=x")
        assert [one["session_id"] for one in found.json()["sessions"]] == [session_id]
        written = await http.post(f"/v1/sessions/{session_id}/input", {"data": "hello\n"})
        assert written.json()["accepted_bytes"] == 6
        # A terminal's echo comes in pieces.
        until = {"pattern": "hello", "timeout_ms": 60_000}
        found = await http.post(f"/v1/sessions/{session_id}/read-until", until)
        assert found.json()["reason"] == "matched"
        read = await http.get(f"/v1/sessions/{session_id}/output?offset=0&max_bytes=4&timeout_ms=10000")
        assert read.json()["data"] == "hell"

    async def test_of_the_wrong_type_are_refused(self, http: Http) -> None:
        session_id = await cat(http)
        for query in ("offset=x", "offset=-1", "offset=1&offset=2", "what=1", "max_bytes=0"):
            answer = await http.get(f"/v1/sessions/{session_id}/output?{query}")
            assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_params"), query

    @pytest.mark.parametrize("query", ["a", "a=%ff%fe", "a=1;b", "&".join(f"a{n}=1" for n in range(200))])
    async def test_a_query_that_is_none_is_refused(self, http: Http, query: str) -> None:
        assert (await http.get(f"/v1/sessions?{query}")).status == 400

    async def test_given_twice_must_be_the_same(self, http: Http) -> None:
        session_id = await cat(http)
        path = f"/v1/sessions/{session_id}/input"
        assert (await http.post(path, {"session_id": session_id, "data": "x"})).status == 200
        assert (await http.post(path, {"session_id": "other", "data": "x"})).status == 400

    async def test_what_changes_something_takes_none_from_the_query(self, http: Http) -> None:
        session_id = await cat(http)
        answer = await http.post(f"/v1/sessions/{session_id}/input?data=x", {"data": "x"})
        assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")

    @pytest.mark.parametrize("body", [b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000, b"{} {}"])
    async def test_a_body_that_is_no_object_is_refused(self, http: Http, body: bytes) -> None:
        answer = await http.request("POST", "/v1/sessions", [("content-type", "application/json")], body)
        error = answer.json()["error"]
        assert (answer.status, error["code"]) == (400, "invalid_params")
        assert error["message"].startswith("the body is no JSON object: ")
        assert (body != b"[]") or error["message"].endswith(": it must be an object, not a list")

    async def test_a_body_of_another_type_is_refused(self, http: Http) -> None:
        answer = await http.request("POST", "/v1/sessions", [("content-type", "text/plain")], b"{}")
        assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")

    async def test_a_body_beyond_the_limit_is_not_read(self, http: Http, daemon: Daemon) -> None:
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(daemon.config.daemon.max_line_bytes + 1)),
        ]
        raw = "".join(f"{name}: {value}\r\n" for name, value in [("host", http.host), *headers])
        await http.stream.send_all(f"POST /v1/sessions HTTP/1.1\r\n{raw}\r\n".encode())
        received = bytes(await http.stream.receive_some())
        assert received.startswith(b"HTTP/1.1 413 ")


class TestAnswers:
    async def test_errors_have_one_shape_and_their_status(self, http: Http) -> None:
        answer = await http.get("/v1/sessions/nosuch")
        assert answer.status == 404
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "hint", "retryable", "data"}
        assert (error["code"], error["retryable"]) == ("session_not_found", False)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/nowhere", 404),
            ("GET", "/nowhere", 404),
            ("POST", "/health", 405),
            ("DELETE", "/v1/node", 405),
            ("GET", "/v1/call/node.info", 405),
            ("POST", "/v1/call/no.such", 404),
            ("POST", "/v1/call/__class__", 404),
            ("POST", "/v1/call/session.attach", 400),
            ("GET", "/v1/sessions/x/attach", 426),
            ("GET", "/v1//sessions", 404),
            ("GET", "/v1/sessions/", 404),
        ],
    )
    async def test_what_is_not_there_is_refused_as_json(self, http: Http, method: str, path: str, status: int) -> None:
        answer = await http.request(method, path)
        assert answer.status == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["message"]

    async def test_every_call_goes_by_its_name_too(self, http: Http) -> None:
        by_name = (await http.post("/v1/call/node.limits")).json()
        assert by_name == (await http.get("/v1/node/limits")).json()

    async def test_unchanged_content_is_not_sent_again(self, http: Http) -> None:
        first = await http.get("/v1/node/limits")
        again = await http.get("/v1/node/limits", [("if-none-match", first.headers["etag"])])
        assert (again.status, again.body) == (304, b"")
        await http.request("PATCH", "/v1/node/limits", json={"max_sessions": 7})
        changed = await http.get("/v1/node/limits", [("if-none-match", f'"other", {first.headers["etag"]}')])
        assert (changed.status, changed.json()["max_sessions"]) == (200, 7)

    async def test_head_is_get_without_its_body(self, http: Http) -> None:
        await http.stream.send_all(f"HEAD /v1/node/limits HTTP/1.1\r\nhost: {http.host}\r\n\r\n".encode())
        head = bytes(await http.stream.receive_some())
        assert head.startswith(b"HTTP/1.1 200 ")
        assert head.endswith(b"\r\n\r\n")

    async def test_large_answers_are_compressed_for_who_wants_that(self, http: Http) -> None:
        plain = await http.get("/v1/openrpc.json")
        packed = await http.get("/v1/openrpc.json", [("accept-encoding", "br;q=0.5, gzip")])
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
        smaller = await http.get("/v1/openrpc.json", [("accept-encoding", "gzip, br")])
        assert smaller.headers["content-encoding"] == "br"
        assert smaller.headers["vary"] == "accept-encoding"
        assert brotli.decompress(smaller.body) == plain.body
        assert len(packed.body) < len(plain.body) / 4
        refused = await http.get("/v1/openrpc.json", [("accept-encoding", "gzip;q=0")])
        assert "content-encoding" not in refused.headers


async def test_a_peer_that_goes_ends_what_was_waited_for(connect: Connect, daemon: Daemon) -> None:
    waiting = await connect()
    session_id = await cat(waiting)
    await waiting.send(
        "POST",
        f"/v1/sessions/{session_id}/read-until",
        [("content-type", "application/json")],
        msgspec.json.encode({"pattern": "never", "timeout_ms": 600_000}),
    )
    client = LocalClient(daemon)
    endpoint: Any = daemon.server.endpoint
    await eventually(lambda: endpoint.calls["session.read_until"])
    assert daemon.web.connections == 1
    await waiting.stream.aclose()
    await eventually(lambda: not daemon.web.connections)
    assert (await client.call(session.GET, session_id=session_id)).state == "running"
