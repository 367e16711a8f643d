"""MCP over HTTP: the official client with a key, and everybody else."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx2
import pytest
import trio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.contract.local_endpoint import LocalClient
from tests.web.conftest import Connect
from tests.web.http import PATIENCE_SECONDS, Answer, Headers, Http
from tests.web.proofs import bearer, logged_in, new_key, origin_of

from ptybridge.api import key, session
from ptybridge.daemon import Daemon

# The official client leaves generators of its HTTP library unfinished, which asyncio overlooks and Trio does not.
pytestmark = [pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")]

WANTED: Headers = [("accept", "application/json, text/event-stream")]
HANDSHAKE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@asynccontextmanager
async def client(daemon: Daemon, value: str, query: str = "", mode: Any = "legacy") -> AsyncIterator[Any]:
    """The official client, with a key."""
    url = f"http://{daemon.web.addresses[0]}/mcp{query}"
    async with httpx2.AsyncClient(headers=dict([bearer(value)]), timeout=PATIENCE_SECONDS) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as made:
            yield made


async def handshake(http: Http, value: str | None, path: str = "/mcp", headers: Headers | None = None) -> Answer:
    proof = [] if value is None else [bearer(value)]
    return await http.post(path, HANDSHAKE, [*WANTED, *proof, *(headers or [])])


async def opened(http: Http, value: str, path: str = "/mcp") -> tuple[str, str]:
    """Open a session; return the header with its id."""
    answer = await handshake(http, value, path)
    assert answer.status == 200, answer.body
    return ("mcp-session-id", answer.headers["mcp-session-id"])


async def called(http: Http, value: str, session_id: tuple[str, str], method: str, **params: Any) -> Answer:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    return await http.post("/mcp", message, [*WANTED, bearer(value), session_id])


def result(answer: Answer) -> Any:
    """What an answer's event stream ends with."""
    assert answer.status == 200, answer.body
    data = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    return json.loads(data[-1])["result"]


def live(daemon: Daemon) -> int:
    """How many MCP sessions there are."""
    return len(daemon._mcp._http._live)


async def until_live(daemon: Daemon, count: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if live(daemon) == count:
                return
            await trio.sleep(0.01)


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_the_official_client_uses_everything(daemon: Daemon, mode: str, version: str) -> None:
    made = await LocalClient(daemon).call(session.CREATE, command=["cat"])
    with trio.fail_after(PATIENCE_SECONDS):
        async with client(daemon, await new_key(daemon), "?tools=agent", mode) as mcp:
            assert mcp.protocol_version == version
            assert mcp.server_capabilities.resources.list_changed
            names = [one.name for one in (await mcp.list_tools()).tools]
            assert "pty_run" in names
            assert "pty_spawn" in names
            assert "pty_attach" not in names
            progress: list[float] = []

            async def on_progress(done: float, total: float | None, message: str | None) -> None:
                await trio.lowlevel.checkpoint()
                progress.append(done)

            ran = await mcp.call_tool("pty_run", {"command": "cd /tmp; echo $((6*7))"}, progress_callback=on_progress)
            assert not ran.is_error, ran
            assert "42" in ran.content[0].text
            # The next call finds the shell as this one left it: calls of a client belong together.
            again = await mcp.call_tool("pty_run", {"command": "pwd"})
            assert again.structured_content["session_id"] == ran.structured_content["session_id"]
            assert "/tmp" in again.content[0].text
            uri = f"ptybridge://session/{made.session_id}/screen"
            assert uri in [str(one.uri) for one in (await mcp.list_resources()).resources]
            assert "printed by programs" in (await mcp.read_resource(uri)).contents[0].text
            refused = await mcp.call_tool("no_such_tool", {})
            assert refused.is_error
    if mode == "legacy":
        # The client says good-bye, and what belonged to it alone goes at once.
        await until_live(daemon, 0)


async def test_each_client_has_its_own_memory_and_owner(daemon: Daemon) -> None:
    value = await new_key(daemon)
    with trio.fail_after(PATIENCE_SECONDS):
        async with client(daemon, value) as one, client(daemon, value) as other:
            first = (await one.call_tool("pty_run", {"command": "true"})).structured_content
            second = (await other.call_tool("pty_run", {"command": "true"})).structured_content
            assert first["session_id"] != second["session_id"]
            assert first["owner"] != second["owner"]
        async with client(daemon, value, "?owner=builds") as one:
            assert (await one.call_tool("pty_run", {"command": "true"})).structured_content["owner"] == "builds"
    found = await LocalClient(daemon).call(session.LIST)
    # The terminals outlive their client.
    assert {first["session_id"], second["session_id"]} <= {one.session_id for one in found.sessions}


async def test_settings_stand_in_the_address(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon)
    with trio.fail_after(PATIENCE_SECONDS):
        async with client(daemon, value, "?max_sessions=1&require_owner=false") as mcp:
            assert not (await mcp.call_tool("pty_spawn", {"command": "cat"})).is_error
            assert (await mcp.call_tool("pty_spawn", {"command": "cat"})).is_error
    for wrong in ("?tools=some", "?session_log_dir=/etc", "?dangerous_legacy_mode=1", "?max_sessions=x", "?nonsense"):
        answer = await handshake(http, value, f"/mcp{wrong}")
        assert 400 <= answer.status < 500, wrong
        assert answer.json()["error"]["message"]
    await until_live(daemon, 0)


async def test_s29_who_shows_nothing_or_comes_from_elsewhere_gets_nothing(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon)
    # Loopback is no proof of anything.
    assert (await handshake(http, None)).status == 401
    assert (await handshake(http, "ptk_wrong")).status == 401
    assert (await handshake(http, value, headers=[("origin", "https://evil.example")])).status == 403
    assert (await handshake(http, value, headers=[("sec-fetch-site", "cross-site")])).status == 403
    assert (await handshake(http, value, headers=[("origin", origin_of(http))])).status == 200
    http.host = "evil.example"
    assert (await handshake(http, value)).status == 421


async def test_s29_a_login_counts_for_our_own_pages_only(daemon: Daemon, http: Http) -> None:
    cookie = await logged_in(daemon, http)
    assert (await handshake(http, None, headers=[cookie])).status == 403
    assert (await handshake(http, None, headers=[cookie, ("origin", "http://127.0.0.1:1")])).status == 403
    assert (await handshake(http, None, headers=[cookie, ("origin", origin_of(http))])).status == 200


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_s29_a_session_id_is_no_proof(daemon: Daemon, http: Http, method: str) -> None:
    value, other = await new_key(daemon), await new_key(daemon, "other")
    session_id = await opened(http, value)
    message = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).encode() if method == "POST" else b""
    body: Headers = [*WANTED, ("content-type", "application/json"), session_id]
    assert (await http.request(method, "/mcp", body, message)).status == 401
    answer = await http.request(method, "/mcp", [*body, bearer(other)], message)
    assert answer.status == 404
    # The same words as for an id that nobody has.
    unknown = await http.request(
        method, "/mcp", [*WANTED, ("content-type", "application/json"), ("mcp-session-id", "f" * 32), bearer(other)],
        message,
    )  # fmt: skip
    assert (unknown.status, unknown.body) == (answer.status, answer.body)
    assert result(await called(http, value, session_id, "tools/list"))["tools"]


async def test_s29_who_may_only_look_opens_no_session(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon, level="read")
    answer = await handshake(http, value)
    assert answer.status == 403
    assert answer.json()["error"]["code"] == "denied"
    assert live(daemon) == 0


async def test_s29_revoking_the_key_ends_its_sessions_and_streams(daemon: Daemon, connect: Connect) -> None:
    http, stream = await connect(), await connect()
    value = await new_key(daemon)
    session_id = await opened(http, value)
    await stream.send("GET", "/mcp", [("accept", "text/event-stream"), bearer(value), session_id])
    assert (await stream.head()).status == 200
    await LocalClient(daemon).call(key.REVOKE, key_id="ci")
    await until_live(daemon, 0)
    try:
        while await stream.chunk():
            pass
    except (h11.RemoteProtocolError, trio.BrokenResourceError):
        pass  # cut off in the middle is as good as ended
    assert (await called(http, value, session_id, "tools/list")).status == 401


async def test_a_client_ends_its_session(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon)
    session_id = await opened(http, value)
    ended = await http.request("DELETE", "/mcp", [bearer(value), session_id])
    assert ended.status == 200, ended.body
    assert (await called(http, value, session_id, "tools/list")).status == 404
    await until_live(daemon, 0)


async def test_a_session_that_nobody_uses_ends(daemon: Daemon, http: Http, connect: Connect) -> None:
    value, stream = await new_key(daemon), await connect()
    left, held = await opened(http, value), await opened(http, value)
    # An open stream is use.
    await stream.send("GET", "/mcp", [("accept", "text/event-stream"), bearer(value), held])
    assert (await stream.head()).status == 200
    for one in daemon._mcp._http._live:
        one._idle_seconds = 0.05
    # The time runs from the last answer on.
    assert result(await called(http, value, left, "tools/list"))["tools"]
    await until_live(daemon, 1)
    assert (await called(http, value, left, "tools/list")).status == 404
    assert result(await called(http, value, held, "tools/list"))["tools"]


async def test_nonsense_leaves_no_session_behind(daemon: Daemon, http: Http) -> None:
    value = await new_key(daemon)
    head: Headers = [*WANTED, ("content-type", "application/json"), bearer(value)]
    assert (await http.request("POST", "/mcp", head, b"{")).status == 400
    assert (await http.request("POST", "/mcp", head, b"[]")).status == 400
    assert (await http.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, head)).status == 400
    assert (await http.get("/mcp", head)).status == 400
    assert (await http.request("PUT", "/mcp", head, b"{}")).status in {400, 405}
    await until_live(daemon, 0)


async def test_a_key_has_a_limited_number_of_sessions(
    daemon: Daemon, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, other = await new_key(daemon), await new_key(daemon, "other")
    await opened(http, value)
    monkeypatch.setattr("ptybridge.mcp.http.MAX_SESSIONS", 1)
    answer = await handshake(http, value)
    assert answer.status == 503
    assert answer.json()["error"]["code"] == "limit_reached"
    await opened(http, other)


async def test_the_daemon_ends_although_a_stream_is_open(daemon: Daemon, connect: Connect) -> None:
    http, stream = await connect(), await connect()
    value = await new_key(daemon)
    session_id = await opened(http, value)
    await stream.send("GET", "/mcp", [("accept", "text/event-stream"), bearer(value), session_id])
    assert (await stream.head()).status == 200
    # The fixture stops the daemon, and waits.
