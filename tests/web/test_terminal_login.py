"""The terminal's WebSocket through the real gate: who gets in by what, with which rights, and until when."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import raw_cat, script
from tests.web.conftest import Connect
from tests.web.http import PATIENCE_SECONDS, Headers, Http, connected
from tests.web.proofs import JSON, UPGRADE, bearer, logged_in, new_key, origin_of
from tests.web.terminals import WebLink, ended, path_of
from trio_websocket import WebSocketConnection, connect_websocket

from ptybridge.api import key, session
from ptybridge.daemon import Daemon
from ptybridge.web.terminal import SUBPROTOCOL
from ptybridge.wire import attach as frames

PROOFS = ("cookie", "key", "ticket")


@asynccontextmanager
async def opened(daemon: Daemon, path: str, headers: Headers, *offered: str) -> AsyncIterator[WebSocketConnection]:
    """Open a WebSocket on the daemon's own front."""
    port = int(daemon.web.addresses[0].rpartition(":")[2])
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_SECONDS):
            connection = await connect_websocket(
                nursery,
                "127.0.0.1",
                port,
                path,
                use_ssl=False,
                subprotocols=[SUBPROTOCOL, *offered],
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
            )
        try:
            yield connection
        finally:
            with trio.move_on_after(5, shield=True):
                await connection.aclose()
            await trio.aclose_forcefully(connection._stream)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def attached(daemon: Daemon, path: str, headers: Headers, *offered: str) -> AsyncIterator[WebLink]:
    """Attach over the daemon's own front."""
    async with opened(daemon, path, headers, *offered) as connection:
        with trio.fail_after(PATIENCE_SECONDS):
            answer = msgspec.json.decode(await connection.get_message())
        assert "attached" in answer, answer
        yield WebLink(connection, answer["attached"])


async def refusal(daemon: Daemon, path: str, headers: Headers, *offered: str) -> int:
    """Return the status with which an upgrade is answered."""
    own = ("sec-websocket-protocol", ", ".join((SUBPROTOCOL, *offered)))
    async with connected(daemon.web.addresses[0]) as http:
        return (await http.request("GET", path, [*UPGRADE, own, *headers])).status


async def shown(
    daemon: Daemon, http: Http, by: str, *, read_only: bool = False, session_id: str | None = None
) -> tuple[Headers, tuple[str, ...]]:
    """Return the headers and subprotocols that prove who somebody is, by one way or another."""
    if by == "cookie":
        cookie = await logged_in(daemon, http, level="read" if read_only else "full")
        return [cookie, ("origin", origin_of(http))], ()
    if by == "key":
        return [bearer(await new_key(daemon, level="read" if read_only else "full"))], ()
    # A ticket that can only read, made by who can do more.
    value = await new_key(daemon)
    answer = await http.post("/v1/tickets", {"read_only": read_only, "session_id": session_id}, [bearer(value)])
    assert answer.status == 200, answer.body
    return [], (f"ticket.{answer.json()['ticket']}",)


@pytest.fixture
def client(daemon: Daemon) -> LocalClient:
    return LocalClient(daemon)


@pytest.mark.parametrize("by", PROOFS)
async def test_a_terminal_opens_and_types(daemon: Daemon, http: Http, client: LocalClient, by: str) -> None:
    session_id = await raw_cat(client)
    headers, offered = await shown(daemon, http, by)
    async with attached(daemon, path_of(session_id), headers, *offered) as link:
        assert link.opened["mode"] == "writer"
        # What proves something is not said back.
        assert link.connection.subprotocol == SUBPROTOCOL
        await link.acknowledge()
        await link.write("hello")
        assert await link.output(b"hello") == b"hello"


@pytest.mark.parametrize("by", PROOFS)
async def test_s21_who_may_only_read_gets_a_viewer(daemon: Daemon, http: Http, client: LocalClient, by: str) -> None:
    session_id = await raw_cat(client)
    headers, offered = await shown(daemon, http, by, read_only=True)
    async with attached(daemon, path_of(session_id), headers, *offered) as link:
        assert link.opened["mode"] == "viewer"
        await link.acknowledge()
        await link.write("nothing")
        await link.in_step()
        await client.call(session.GET, session_id=session_id)
        own, _ = await shown(daemon, http, "cookie")
        async with attached(daemon, path_of(session_id), own) as writer:
            await writer.acknowledge()
            await writer.write("something")
            assert await link.output(b"something") == b"something"


async def test_a_ticket_opens_one_terminal_of_its_session(daemon: Daemon, http: Http, client: LocalClient) -> None:
    session_id, other = await raw_cat(client), await raw_cat(client)
    _, offered = await shown(daemon, http, "ticket", session_id=session_id)
    async with attached(daemon, path_of(session_id), [], *offered) as link:
        await link.acknowledge()
        assert await refusal(daemon, path_of(session_id), [], *offered) == 401
    await client.call(key.REVOKE, key_id="ci")
    _, offered = await shown(daemon, http, "ticket", session_id=session_id)
    async with opened(daemon, path_of(other), [], *offered) as connection:
        assert await ended(connection) == (4404, "session_not_found")


async def test_s01_the_terminal_itself_is_behind_the_gate(daemon: Daemon, http: Http, client: LocalClient) -> None:
    """What answers an upgrade is no part of the routes that Quart knows, and guarded all the same."""
    session_id = await raw_cat(client)
    cookie = await logged_in(daemon, http)
    own = ("origin", origin_of(http))
    refused: list[tuple[Headers, int]] = [
        ([], 401),
        ([own], 401),
        ([("origin", "http://evil.example"), cookie], 403),
        ([cookie], 403),
        ([("origin", "null"), cookie], 403),
        ([bearer("ptb_wrong")], 401),
    ]
    for headers, status in refused:
        assert await refusal(daemon, path_of(session_id), headers) == status, headers
    assert (await client.call(session.GET, session_id=session_id)).clients == []


@pytest.mark.parametrize("by", PROOFS)
@pytest.mark.parametrize("mode", ["writer", "text", "flooded"])
async def test_s09_revoking_closes_terminals(
    daemon: Daemon, http: Http, client: LocalClient, by: str, mode: str
) -> None:
    session_id = await script(client, "yes", echo=False) if mode == "flooded" else await raw_cat(client)
    headers, offered = await shown(daemon, http, by)
    query = {"mode": "text"} if mode == "text" else {}
    async with opened(daemon, path_of(session_id, **query), headers, *offered) as connection:
        assert "attached" in str(await connection.get_message())
        (info,) = (await client.call(key.LIST)).keys
        await client.call(key.REVOKE, key_id=info.key_id)
        assert await ended(connection) == (4401, "revoked")
    # Whatever was done with it, nobody is attached any more.
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if (await client.call(session.GET, session_id=session_id)).clients == []:
                break
            await trio.sleep(0.01)


async def test_s09_revoking_a_key_ends_the_terminals_of_its_logins(
    daemon: Daemon, http: Http, client: LocalClient
) -> None:
    session_id, value = await raw_cat(client), await new_key(daemon, level="read")
    answer = await http.post("/v1/login", {"key": value})
    cookie = ("cookie", answer.headers["set-cookie"].partition(";")[0])
    async with attached(daemon, path_of(session_id), [cookie, ("origin", origin_of(http))]) as link:
        assert link.opened["mode"] == "viewer"
        await client.call(key.REVOKE, key_id="ci")
        assert await ended(link.connection) == (4401, "revoked")
    assert (await http.get("/v1/sessions", [cookie])).status == 401


async def test_s09_logging_out_closes_the_terminals_of_that_login(
    daemon: Daemon, http: Http, client: LocalClient
) -> None:
    session_id = await raw_cat(client)
    mine, theirs = await logged_in(daemon, http), await logged_in(daemon, http)
    own = ("origin", origin_of(http))
    async with (
        attached(daemon, path_of(session_id), [mine, own]) as link,
        attached(daemon, path_of(session_id), [theirs, own]) as other,
    ):
        await other.acknowledge()
        assert (await http.post("/v1/logout", {}, [mine, own])).status == 200
        assert await ended(link.connection) == (4401, "revoked")
        await other.in_step()


# -- every way in -------------------------------------------------------------------------------------------


def quart_paths(daemon: Daemon) -> list[tuple[str, str]]:
    """Every route of the Quart application, which stands behind everything else, and every mount before it."""
    app = daemon.web._server._app
    while not hasattr(app, "url_map"):
        app = app._inner
    found = [("POST", path) for path in daemon.web.web.mounts]
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?\w+>", "x", rule.rule)
        found += [("WEBSOCKET" if rule.websocket else method, path) for method in rule.methods or {"GET"}]
    return found


async def test_s01_no_route_of_the_application_is_without_the_gate(daemon: Daemon, connect: Connect) -> None:
    """A route that somebody adds answers nobody, unless it is one of the few that hold nothing."""
    found = quart_paths(daemon)
    assert {path for _, path in found} >= {"/health", "/metrics", "/login", "/", "/s/x", "/static/x", "/openapi.json"}
    answers = {}
    for method, path in found:
        http = await connect()
        upgrade = UPGRADE if method == "WEBSOCKET" else [JSON]
        answers[method, path] = (await http.request(method.replace("WEBSOCKET", "GET"), path, upgrade)).status
    shells = {"/health", "/login", "/public", "/", "/s/x", "/s/x/app/", "/s/x/app/x", "/static/x"}
    for (method, path), status in answers.items():
        public = path in shells and method in {"GET", "HEAD"}
        # OPTIONS says which methods there are, and nothing else.
        assert public or (method == "OPTIONS" and status == 200) or status == 401, (method, path, status)


async def test_s01_an_upgrade_needs_a_proof_on_every_route(daemon: Daemon, connect: Connect) -> None:
    for path in {path for _, path in quart_paths(daemon)}:
        http = await connect()
        assert (await http.request("GET", path, UPGRADE)).status == 401, path
        http = await connect()
        foreign = [*UPGRADE, ("origin", "http://evil.example")]
        assert (await http.request("GET", path, foreign)).status == 403, path


async def test_s11_frames_before_the_answer_are_not_typed_and_end_that_connection_only(
    daemon: Daemon, http: Http, client: LocalClient
) -> None:
    session_id = await raw_cat(client)
    typed = frames.encode(frames.Input(b"sneaked in"))
    masked = bytes((0x82, 0x80 | len(typed))) + bytes(4) + typed
    head = [("host", http.host), *UPGRADE, ("sec-websocket-protocol", SUBPROTOCOL)]
    lines = "".join(f"{name}: {value}\r\n" for name, value in head)
    await http.stream.send_all(f"GET {path_of(session_id)} HTTP/1.1\r\n{lines}\r\n".encode() + masked)
    answer = b""
    with trio.fail_after(PATIENCE_SECONDS):
        while b"\r\n\r\n" not in answer:
            answer += await http.stream.receive_some(65536)
    # 400 when the server has seen them first.
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))
    own, _ = await shown(daemon, http, "key")
    async with attached(daemon, path_of(session_id), own) as link:
        await link.acknowledge()
        await link.write("mine")
        assert await link.output(b"mine") == b"mine"
