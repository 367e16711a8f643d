"""`lease.*`: who may write, how that changes hands, and what everybody else is told."""

from typing import Any

import msgspec
import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import raw_cat, start

from ptybridge.api import event, lease, session, terminal
from ptybridge.daemon import Daemon
from ptybridge.errors import Conflict, Denied, InvalidParams, LeaseHeld, SessionNotFound
from ptybridge.wire import attach as frames

pytestmark = pytest.mark.usefixtures("client")


async def test_row53_attach_is_the_exclusive_right_to_write(client: Client) -> None:
    session_id = await raw_cat(client)
    taken = await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    assert (taken.changed, taken.affected_session_ids, taken.lease.client_id) == (True, [session_id], "a")
    assert not (await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")).changed
    with pytest.raises(LeaseHeld, match="'a' has the lease") as caught:
        await client.call(lease.ACQUIRE, session_id=session_id, client_id="b")
    assert caught.value.hint
    await client.call(terminal.WRITE, session_id=session_id, data="x", client_id="a")


CHANGING: dict[str, dict[str, Any]] = {
    "session.write": {"data": "x"},
    "session.send_keys": {"keys": ["x"]},
    "session.paste": {"text": "x"},
    "session.prompt": {"data": "x", "timeout_ms": 10},
    "session.resize": {"rows": 20, "cols": 60},
    "session.signal": {"signal": "WINCH"},
    "session.update": {"tags": ["x"]},
    "session.close": {},
}


@pytest.mark.parametrize("method", CHANGING)
async def test_row53_only_the_holder_changes_anything(client: Client, method: str) -> None:
    session_id = await raw_cat(client)
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    for other in ({}, {"client_id": "b"}):
        with pytest.raises(LeaseHeld):
            await client.call_raw(method, {"session_id": session_id, **CHANGING[method], **other})
    info = await client.call(session.GET, session_id=session_id)
    assert (info.bytes_written, info.rows, info.tags) == (0, 30, [])
    await client.call_raw(method, {"session_id": session_id, **CHANGING[method], "client_id": "a"})


async def test_row54_detach_gives_the_lease_back(client: Client) -> None:
    session_id = await raw_cat(client)
    assert not (await client.call(lease.RELEASE, session_id=session_id, client_id="a")).changed
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    with pytest.raises(LeaseHeld):
        await client.call(lease.RELEASE, session_id=session_id, client_id="b")
    given = await client.call(lease.RELEASE, session_id=session_id, client_id="a")
    assert given.changed
    assert given.lease.client_id is None
    assert given.lease.attached_at_ms is not None
    assert given.lease.detached_at_ms is not None
    await client.call(terminal.WRITE, session_id=session_id, data="x", client_id="b")


@pytest.mark.parametrize("reason", ["", " \t"])
async def test_row55_handoff_needs_a_reason(client: Client, reason: str) -> None:
    session_id = await raw_cat(client)
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    with pytest.raises(InvalidParams):
        await client.call(lease.HANDOFF, session_id=session_id, client_id="a", target_client_id="b", reason=reason)
    with pytest.raises(InvalidParams):
        await client.call(lease.TAKEOVER, session_id=session_id, client_id="b", from_client_id="a", reason=reason)
    assert (await client.call(lease.GET, session_id=session_id)).client_id == "a"


async def test_row55_handoff_is_the_holders_to_do(client: Client) -> None:
    session_id = await raw_cat(client)
    handoff: dict[str, Any] = {"session_id": session_id, "reason": "your turn"}
    with pytest.raises(Conflict):
        await client.call(lease.HANDOFF, client_id="a", target_client_id="b", **handoff)
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    with pytest.raises(InvalidParams):
        await client.call(lease.HANDOFF, client_id="a", target_client_id="a", **handoff)
    with pytest.raises(LeaseHeld):
        await client.call(lease.HANDOFF, client_id="b", target_client_id="b2", **handoff)
    moved = await client.call(lease.HANDOFF, client_id="a", target_client_id="b", **handoff)
    assert (moved.changed, moved.lease.client_id) == (True, "b")
    with pytest.raises(LeaseHeld):
        await client.call(terminal.WRITE, session_id=session_id, data="x", client_id="a")


async def test_row56_takeover_names_whom_it_takes_from(client: Client) -> None:
    session_id = await raw_cat(client)
    takeover: dict[str, Any] = {"session_id": session_id, "client_id": "b", "reason": "stuck"}
    with pytest.raises(Conflict):
        await client.call(lease.TAKEOVER, from_client_id="a", **takeover)
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    with pytest.raises(LeaseHeld):
        await client.call(lease.TAKEOVER, from_client_id="c", **takeover)
    moved = await client.call(lease.TAKEOVER, from_client_id="a", **takeover)
    assert (moved.changed, moved.lease.client_id) == (True, "b")


async def test_row57_the_last_transfer_is_kept_and_told(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.stream(event.FOLLOW, types=["lease_changed"], session_id=session_id) as events:
        await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
        assert (await events.next()).event == "acquire"
        await client.call(lease.TAKEOVER, session_id=session_id, client_id="b", from_client_id="a", reason="stuck")
        told = await events.next()
    last = (await client.call(lease.GET, session_id=session_id)).last
    assert last is not None
    for one in (told, last):
        assert (one.event, one.from_client_id, one.to_client_id, one.reason) == ("takeover", "a", "b", "stuck")
    assert told.affected_session_ids == [session_id]
    assert last.at_ms > 0


async def test_row58_a_workspace_has_one_holder_and_moves_together(client: Client) -> None:
    one, two, loose = [await start(client, "cat", workspace="w", owner="me") for _ in range(3)]
    other = await start(client, "cat", workspace="w", owner="you")
    assert [s.session_id for s in (await client.call(session.LIST, workspace="w", owner="me")).sessions] == [
        one,
        two,
        loose,
    ]
    for session_id in (one, two):
        await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    with pytest.raises(LeaseHeld):
        await client.call(lease.ACQUIRE, session_id=loose, client_id="b")
    await client.call(lease.ACQUIRE, session_id=other, client_id="b")
    moved = await client.call(lease.HANDOFF, session_id=one, client_id="a", target_client_id="c", reason="go")
    assert moved.affected_session_ids == sorted([one, two])
    state = (await client.call(session.GET, session_id=loose)).lease
    assert state is not None
    assert (state.client_id, state.workspace_client_id, state.workspace_session_ids) == (None, "c", sorted([one, two]))
    taken = await client.call(lease.TAKEOVER, session_id=two, client_id="d", from_client_id="c", reason="go")
    assert taken.affected_session_ids == sorted([one, two])
    assert (await client.call(lease.GET, session_id=one)).client_id == "d"


async def test_row58_a_leased_session_enters_no_workspace_of_another_holder(client: Client) -> None:
    one, two = [await start(client, "cat", workspace=name, owner="me") for name in ("w", "v")]
    await client.call(lease.ACQUIRE, session_id=one, client_id="a")
    await client.call(lease.ACQUIRE, session_id=two, client_id="b")
    with pytest.raises(LeaseHeld, match="'a'"):
        await client.call(session.UPDATE, session_id=two, client_id="b", workspace="w", tags=["x"])
    assert (await client.call(session.GET, session_id=two)).tags == []
    await client.call(lease.RELEASE, session_id=two, client_id="b")
    assert (await client.call(session.UPDATE, session_id=two, workspace="w")).workspace == "w"
    state = await client.call(lease.GET, session_id=two)
    assert (state.workspace, state.workspace_client_id) == ("w", "a")


async def test_row56_taking_over_is_for_the_creator_and_administrators_while_the_holder_lives(
    client: Client, daemon: Daemon
) -> None:
    session_id = await raw_cat(client)
    holder, other, admin = (LocalClient(daemon) for _ in range(3))
    scopes = frozenset({"lease:read", "lease:write"})
    other.caller = msgspec.structs.replace(other.caller, principal="key:other", scopes=scopes)
    admin.caller = msgspec.structs.replace(admin.caller, principal="key:admin", scopes=scopes | {"session:admin"})
    takeover: dict[str, Any] = {"session_id": session_id, "from_client_id": "a", "reason": "mine"}
    await holder.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    with pytest.raises(Denied, match="creator"):
        await other.call(lease.TAKEOVER, client_id="b", **takeover)
    # The name alone is no proof: this is another holder of the same name.
    with pytest.raises(LeaseHeld):
        await other.call(lease.RELEASE, session_id=session_id, client_id="a")
    assert (await admin.call(lease.TAKEOVER, client_id="c", **takeover)).lease.principal == "key:admin"
    await client.call(lease.TAKEOVER, client_id="a", session_id=session_id, from_client_id="c", reason="my session")
    for one in (client, holder):
        if isinstance(one, LocalClient):
            daemon.sessions.presence.gone(one.caller.connection_id)
    if isinstance(client, LocalClient):
        taken = await other.call(lease.TAKEOVER, client_id="b", **takeover)
        assert taken.lease.last is not None
        assert taken.lease.last.from_client_id == "a"


async def test_row59_observers_need_no_lease(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    await client.call(terminal.WRITE, session_id=session_id, data="seen", client_id="a")
    until = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="seen", client_id="b")
    assert until.reason == "matched"
    await client.call(terminal.SCREEN, session_id=session_id)
    await client.call(terminal.WAIT, session_id=session_id, until=[{"idle_ms": 1}], client_id="b")


async def test_row13_closing_all_ends_leased_sessions_too(client: Client) -> None:
    session_id = await start(client, "cat", tags=["w"])
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    closed = await client.call(session.CLOSE_ALL, tag="w")
    assert [one.session_id for one in closed.closed] == [session_id]


async def test_row14_the_creator_can_end_and_change_what_is_read_only(client: Client) -> None:
    with pytest.raises(InvalidParams, match="access"):
        await start(client, "cat", access="untouchable")
    session_id = await start(client, "cat", access="read-only")
    await client.call(session.UPDATE, session_id=session_id, tags=["x"])
    await client.call(session.CLOSE, session_id=session_id)
    with pytest.raises(SessionNotFound):
        await client.call(lease.GET, session_id=session_id)


async def test_a_holder_whose_connections_have_ended_is_gone_until_it_is_back(
    client: Client, connect: Connect, daemon: Daemon
) -> None:
    session_id = await raw_cat(client)
    holder = await connect()
    await holder.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    assert not (await client.call(lease.GET, session_id=session_id)).holder_gone
    await holder.aclose()
    if isinstance(holder, LocalClient):
        daemon.sessions.presence.gone(holder.caller.connection_id)  # nothing else could end a local one
    while True:
        if (await client.call(lease.GET, session_id=session_id)).holder_gone:
            break
        await trio.sleep(0.01)
    with pytest.raises(LeaseHeld, match=r"^'a', which is not connected any more, has the lease"):
        await client.call(terminal.WRITE, session_id=session_id, data="x", client_id="b")
    await client.call(terminal.WRITE, session_id=session_id, data="x", client_id="a")
    assert not (await client.call(lease.GET, session_id=session_id)).holder_gone


async def test_a_writer_becomes_a_viewer_and_a_writer_again(client: Client, connect: Connect) -> None:
    other = await connect()
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120, client_id="human") as link:
        await link.acknowledge()
        await other.call(lease.ACQUIRE, session_id=session_id, client_id="agent")
        assert not (await link.next_of(frames.Mode)).writer
        assert (await link.next_of(frames.Error)).code == "lease_held"
        await link.write("nothing")
        refused = await link.next_of(frames.Error)
        assert (refused.code, "agent" in refused.message) == ("lease_held", True)
        await link.send(frames.Resize(5, 5))
        await link.in_step()
        info = await other.call(session.GET, session_id=session_id)
        assert (info.bytes_written, info.rows, info.clients[0].mode) == (0, 30, "viewer")
        await other.call(lease.RELEASE, session_id=session_id, client_id="agent")
        assert (await link.next_of(frames.Mode)).writer


async def test_attaching_takes_no_lease(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120, client_id="b") as link:
        assert link.opened.mode == "writer"
        assert (await client.call(lease.GET, session_id=session_id)).client_id is None
    await client.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    async with client.attach(session_id=session_id, rows=30, cols=120, client_id="b") as link:
        assert link.opened.mode == "viewer"
        assert "'a' has the lease" in (await link.next_of(frames.Error)).message
        await client.call(lease.HANDOFF, session_id=session_id, client_id="a", target_client_id="c", reason="go")
        assert "'c', which is not connected any more, has the lease" in (await link.next_of(frames.Error)).message
        await client.call(lease.HANDOFF, session_id=session_id, client_id="c", target_client_id="a", reason="back")
        assert (await client.call(lease.GET, session_id=session_id)).client_id == "a"
    async with client.attach(session_id=session_id, rows=30, cols=120, client_id="a") as link:
        assert link.opened.mode == "writer"
