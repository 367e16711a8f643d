"""The shared session over every endpoint: joining, who may do what, when it ends."""

from typing import Any

import pytest
import trio
from tests.contract.endpoints import Client
from tests.contract.local_endpoint import LocalClient
from tests.web.http import eventually

from ptybridge import config
from ptybridge.api import attach, key, lease, session, share, terminal
from ptybridge.api.operation import Operation
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied, LimitReached, SessionNotFound, Unavailable
from ptybridge.model import SHARED, Caller, Level

READS_LINES = "while read line; do echo got $line; done"


def serving(daemon: Daemon, **settings: object) -> None:
    daemon.share.settings = config.Serve(command=READS_LINES, public=True, **settings)  # type: ignore[arg-type]


def visitor(daemon: Daemon, level: Level = "write") -> LocalClient:
    """Whoever has come by a link, as the web front sees them."""
    client = LocalClient(daemon)
    found = daemon.share.session_id()
    client.caller = Caller(
        principal="key:k1",
        connection_id="w1",
        scopes=key.SCOPES[level] | key.JOIN,
        grant_id="k1",
        session_ids=() if found is None else (found,),
    )
    return client


async def test_without_a_shared_session_there_is_nothing_to_join(client: Client) -> None:
    with pytest.raises(Unavailable):
        await client.call(share.JOIN)
    with pytest.raises(Unavailable):
        await client.call(share.LINK)
    state = await client.call(share.STATUS)
    assert (state.public, state.command, state.session_id) == (False, None, None)


async def test_the_first_to_join_starts_it_and_the_next_find_it(client: Client, daemon: Daemon) -> None:
    serving(daemon, max_clients=7)
    first = await client.call(share.JOIN)
    assert (first.started, first.clients, first.max_clients) == (True, 0, 7)
    second = await client.call(share.JOIN)
    assert (second.session_id, second.started) == (first.session_id, False)
    found = await client.call(session.GET, session_id=first.session_id)
    assert (found.shared, found.name, found.access, found.max_clients) == (True, "public", "read-write", 7)
    state = await client.call(share.STATUS)
    assert (state.public, state.session_id, state.command) == (True, first.session_id, READS_LINES)


async def test_of_many_first_visitors_one_starts_it(client: Client, daemon: Daemon) -> None:
    serving(daemon)
    joined: list[share.Joined] = []

    async def join() -> None:
        joined.append(await client.call(share.JOIN))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(join)
    assert len({one.session_id for one in joined}) == 1
    assert [one.started for one in joined].count(True) == 1


async def test_visitors_write_and_end_nothing(client: Client, daemon: Daemon) -> None:
    serving(daemon)
    joined = await visitor(daemon).call(share.JOIN)
    other = await client.call(session.CREATE, command=["cat"])
    guest = visitor(daemon)
    where = {"session_id": joined.session_id}
    await guest.call(terminal.WRITE, **where, data="hello\n")
    seen = await guest.call(terminal.READ_UNTIL, **where, pattern="got hello", offset=0, timeout_ms=30_000)
    assert seen.reason == "matched"
    refused: list[tuple[Operation[Any, Any], dict[str, Any]]] = [
        (session.SIGNAL, {"signal": "TERM"}),
        (session.CLOSE, {}),
        (session.UPDATE, {"tags": ["mine"]}),
        (session.RESIZE, {"cols": 10}),
        (session.KICK, {"attachment_id": "x"}),
        (lease.ACQUIRE, {}),
    ]
    for operation, params in refused:
        with pytest.raises(Denied):
            await guest.call(operation, **where, **params)
    with pytest.raises(SessionNotFound):
        await guest.call(session.GET, session_id=other.session_id)
    assert [one.session_id for one in (await guest.call(session.LIST)).sessions] == [joined.session_id]
    with pytest.raises(Denied):
        await guest.call(session.CREATE, command="cat")
    with pytest.raises(Denied):
        await visitor(daemon, "read").call(terminal.WRITE, **where, data="no\n")


async def test_who_shares_it_signals_labels_and_ends_it(client: Client, daemon: Daemon) -> None:
    serving(daemon)
    joined = await client.call(share.JOIN)
    where = {"session_id": joined.session_id}
    await client.call(session.UPDATE, **where, tags=["mine"])
    await client.call(session.SIGNAL, **where, signal="CONT")
    await client.call(session.CLOSE, **where, grace_ms=100)
    again = await client.call(share.JOIN)
    assert again.started
    assert again.session_id != joined.session_id


async def test_it_ends_when_all_have_been_gone_for_the_grace_time(client: Client, daemon: Daemon) -> None:
    serving(daemon, grace_ms=0)
    joined = await client.call(share.JOIN)
    found = daemon.sessions.get(joined.session_id)
    await eventually(found.exited.is_set)
    assert found.exit_reason == "idle"


async def test_it_lives_while_somebody_follows(client: Client, daemon: Daemon) -> None:
    serving(daemon, grace_ms=60_000)
    joined = await client.call(share.JOIN)
    found = daemon.sessions.get(joined.session_id)
    async with client.stream(attach.FOLLOW, session_id=joined.session_id):
        assert found.clients == 1
        assert found.unattended(trio.current_time() + 1e6) == 0
    await eventually(lambda: found.clients == 0)
    assert found.unattended(trio.current_time() + 100) >= 99


async def test_no_more_than_max_clients(daemon: Daemon) -> None:
    serving(daemon, max_clients=1)
    joined = await visitor(daemon).call(share.JOIN)
    found = daemon.sessions.get(joined.session_id)
    with found.followed():
        with pytest.raises(LimitReached):
            await visitor(daemon).call(share.JOIN)
        # Whoever shares it may always look.
        assert not (await LocalClient(daemon).call(share.JOIN)).started
    await visitor(daemon).call(share.JOIN)


async def test_input_that_waits_tells_its_position(client: Client) -> None:
    made = await client.call(session.CREATE, command=["sleep", "600"], backend="pipes")
    where = {"session_id": made.session_id}
    positions = [(await client.call(terminal.WRITE, **where, data="x" * 65536)).queue_position for _ in range(5)]
    assert positions[0] == 0
    assert positions == sorted(positions)
    assert positions[-1] >= 2


async def test_the_session_that_is_served_is_what_the_web_makes_by_default(client: Client, daemon: Daemon) -> None:
    daemon.share.settings = config.Serve(command="echo served", cwd="/")
    browser = LocalClient(daemon)
    browser.caller = Caller(principal="uid:0", connection_id="w1", scopes=key.FULL, grant_id="l1")
    made = await browser.call(session.CREATE)
    assert (made.command[-1], made.cwd) == ("echo served", "/")
    assert (await browser.call(session.CREATE, command=["cat"])).command == ["cat"]
    # At the socket it is the user's shell, as always.
    assert "echo served" not in (await client.call(session.CREATE)).command


def test_an_invitation_is_no_session_id() -> None:
    assert SHARED.startswith("@")
