"""Pages that programs draw, over every endpoint."""

import sys
from pathlib import Path

import pytest
import trio
from tests.contract.endpoints import Client
from tests.contract.local_endpoint import LocalClient

from ptybridge.api import app, session
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied, SessionNotFound, Unavailable
from ptybridge.model import Caller

DRAWER = str(Path(__file__).parents[1] / "web" / "drawer.py")
PATIENCE_MS = 60_000


async def draws(client: Client, backend: str = "pipes") -> str:
    made = await client.call(session.CREATE, command=[sys.executable, "-S", DRAWER], backend=backend)
    return str(made.session_id)


@pytest.mark.parametrize("backend", ["pipes", "pty"])
async def test_a_program_answers_with_a_page(client: Client, backend: str) -> None:
    session_id = await draws(client, backend)
    page = await client.call(app.REQUEST, session_id=session_id, path="a/b", query="x=1", timeout_ms=PATIENCE_MS)
    assert page.body.startswith("<h1>Page /a/b</h1><p id=n>1 x=1</p>")
    assert (page.head, page.status, page.refresh_ms) == ("<style>h1 { color: teal }</style>", 200, None)


async def test_requests_follow_each_other(client: Client, daemon: Daemon) -> None:
    session_id = await draws(client)
    bodies: list[str] = []

    async def ask(path: str) -> None:
        page = await LocalClient(daemon).call(app.REQUEST, session_id=session_id, path=path, timeout_ms=PATIENCE_MS)
        assert f"Page /{path}<" in page.body
        bodies.append(page.body)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, str(number))
    assert len(bodies) == 10


async def test_a_program_that_does_not_answer_is_given_up(client: Client) -> None:
    session_id = await draws(client)
    with pytest.raises(Unavailable, match="not answered"):
        await client.call(app.REQUEST, session_id=session_id, path="silent", timeout_ms=200)
    with pytest.raises(Unavailable, match="more than"):
        await client.call(app.REQUEST, session_id=session_id, path="large", timeout_ms=PATIENCE_MS)
    # A late or broken answer is nobody else's.
    page = await client.call(app.REQUEST, session_id=session_id, path="next", timeout_ms=PATIENCE_MS)
    assert "Page /next<" in page.body


async def test_a_program_that_ends_meanwhile_is_told(client: Client) -> None:
    made = await client.call(session.CREATE, command=["head", "-n1"], backend="pipes")
    with pytest.raises(Unavailable, match="ended"):
        await client.call(app.REQUEST, session_id=made.session_id, timeout_ms=PATIENCE_MS)
    with pytest.raises(SessionNotFound):
        await client.call(app.REQUEST, session_id="nowhere")


async def test_who_may_not_write_asks_nothing(client: Client, daemon: Daemon) -> None:
    session_id = await draws(client)
    agent = LocalClient(daemon)
    agent.caller = Caller(principal="uid:0", connection_id="a1", profile="mcp")
    with pytest.raises(Denied):
        await agent.call(app.REQUEST, session_id=session_id, path="$(id)")
    await client.call(session.UPDATE, session_id=session_id, access="read-only")
    with pytest.raises(Denied):
        await client.call(app.REQUEST, session_id=session_id)
