"""Keys over every endpoint; and what a level lets its holder do."""

from typing import Any

import pytest
from tests.contract.endpoints import OPERATIONS, Client, raw_params
from tests.contract.local_endpoint import LocalClient

from ptybridge.api import attach, event, key, lease, session
from ptybridge.api.operation import Effect
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied, InvalidParams, KeyNotFound, NameTaken, PtybridgeError, SessionNotFound
from ptybridge.model import Caller, Level
from ptybridge.service import authority


def holder(daemon: Daemon, level: Level, session_ids: tuple[str, ...] | None = None) -> LocalClient:
    """A client that has shown a key of this level."""
    client = LocalClient(daemon)
    client.caller = Caller(
        principal="key:k1", connection_id="w1", scopes=key.SCOPES[level], grant_id="k1", session_ids=session_ids
    )
    return client


async def test_a_key_is_made_listed_and_revoked(client: Client) -> None:
    made = await client.call(key.CREATE, name="ci", level="read", expires_in_ms=60_000)
    assert made.value.startswith("ptb_")
    assert (made.key.name, made.key.level, made.key.kind) == ("ci", "read", "key")
    listed = await client.call(key.LIST)
    assert [one.key_id for one in listed.keys] == [made.key.key_id]
    assert made.value not in repr(listed)
    with pytest.raises(NameTaken):
        await client.call(key.CREATE, name="ci")
    gone = await client.call(key.REVOKE, key_id="ci")
    assert [one.key_id for one in gone.keys] == [made.key.key_id]
    assert (await client.call(key.LIST)).keys == []
    with pytest.raises(KeyNotFound):
        await client.call(key.REVOKE, key_id=made.key.key_id)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": ""},
        {"name": "-x"},
        {"name": "a b"},
        {"name": "x" * 65},
        {"name": "a", "level": "root"},
        {"name": "a", "expires_in_ms": 0},
        {"name": "a", "session_ids": []},
    ],
)
async def test_wrong_parameters_are_refused(client: Client, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams):
        await client.call_raw("key.create", params)
    assert (await client.call(key.LIST)).keys == []


# -- levels -------------------------------------------------------------------------------------------------


def test_every_scope_is_put_somewhere() -> None:
    scopes = {operation.scope for operation in OPERATIONS.values()}
    assert scopes == key.FULL | key.ADMIN_ONLY
    assert not key.FULL & key.ADMIN_ONLY


def test_reading_changes_nothing() -> None:
    """But `session.attach`, which is refused to a writer, and cancelling what one has called oneself."""
    changing = {one.name for one in OPERATIONS.values() if one.scope in key.READ and one.effect is not Effect.READS}
    assert changing == {"session.attach", "rpc.cancel"}


@pytest.mark.parametrize("level", ["read", "full"])
async def test_s21_a_level_opens_what_it_says_and_nothing_else(daemon: Daemon, level: Level) -> None:
    """Whether it may is looked at before the parameters are, so none are needed."""
    endpoint: Any = daemon.server.endpoint
    caller = holder(daemon, level).caller
    # No operation takes this, so nothing is done where it is allowed.
    wrong = raw_params({"no such parameter": 1})
    run = {"call": endpoint.call, "stream": endpoint.stream, "channel": endpoint.open}
    for name, operation in OPERATIONS.items():
        peer = () if operation.kind == "call" else (None,)  # it is not come to
        with pytest.raises(PtybridgeError) as refused:
            await run[operation.kind](caller, name, wrong, *peer)
        may = operation.scope in key.SCOPES[level]
        assert isinstance(refused.value, InvalidParams if may else Denied), name


async def test_s21_a_reader_watches_and_cannot_attach_as_a_writer(daemon: Daemon) -> None:
    made = await LocalClient(daemon).call(session.CREATE, command=["cat"])
    reader = holder(daemon, "read")
    with pytest.raises(Denied):
        async with reader.attach(session_id=made.session_id, cols=80, rows=24):
            pass
    async with reader.attach(session_id=made.session_id, mode="viewer", cols=80, rows=24) as link:
        assert link.opened.mode == "viewer"
        await link.write("never")
        await link.in_step()
    found = await reader.call(session.GET, session_id=made.session_id)
    assert found.end_offset == 0


# -- keys for some sessions ---------------------------------------------------------------------------------


async def test_a_key_for_some_sessions_moves_no_lease_of_others(daemon: Daemon) -> None:
    """The leases of a workspace move together, those of sessions that the key is not for among them."""
    owner = LocalClient(daemon)
    one, two = [
        (await owner.call(session.CREATE, command=["cat"], workspace="w", owner="me")).session_id for _ in range(2)
    ]
    for session_id in (one, two):
        await owner.call(lease.ACQUIRE, session_id=session_id, client_id="a")
    taking = {"session_id": one, "client_id": "b", "from_client_id": "a", "reason": "mine"}
    with pytest.raises(Denied, match="more sessions"):
        await holder(daemon, "full", (one,)).call(lease.TAKEOVER, **taking)
    for session_id in (one, two):
        assert (await owner.call(lease.GET, session_id=session_id)).client_id == "a"
    both = holder(daemon, "full", (one, two))
    assert (await both.call(lease.TAKEOVER, **taking)).affected_session_ids == sorted([one, two])
    with pytest.raises(Denied, match="more sessions"):
        await holder(daemon, "full", (one,)).call(
            lease.HANDOFF, session_id=one, client_id="b", target_client_id="c", reason="yours"
        )


async def test_a_key_for_some_sessions_knows_of_no_others(daemon: Daemon) -> None:
    owner = LocalClient(daemon)
    mine = (await owner.call(session.CREATE, command=["cat"])).session_id
    other = (await owner.call(session.CREATE, command=["cat"])).session_id
    client = holder(daemon, "full", (mine,))
    assert [one.session_id for one in (await client.call(session.LIST)).sessions] == [mine]
    await client.call(session.GET, session_id=mine)
    for name in (session.GET.name, session.CLOSE.name):
        with pytest.raises(SessionNotFound):
            await client.call_raw(name, {"session_id": other})
    with pytest.raises(SessionNotFound):
        async with client.stream(attach.FOLLOW, session_id=other):
            pass
    async with client.stream(event.FOLLOW, after=0) as stream:
        await owner.call(session.CLOSE, session_id=other)
        await owner.call(session.CLOSE, session_id=mine)
        seen: list[tuple[str, str | None]] = []
        while "closed" not in [kind for kind, _ in seen]:
            told = await stream.next()
            seen.append((told.__struct_config__.tag, told.session_id))
    assert {session_id for _, session_id in seen} == {mine}


def test_a_key_for_some_sessions_does_nothing_beside_them() -> None:
    caller = Caller(principal="key:k1", connection_id="w1", session_ids=("s0",))
    beside = [name for name, one in OPERATIONS.items() if "session_id" not in one.params.__struct_fields__]
    for name in set(beside) - authority.WITHOUT_SESSION:
        with pytest.raises(Denied):
            authority.require_visible(caller, name, object())
    for name in authority.WITHOUT_SESSION:
        # Joining needs a scope that only an invitation adds.
        assert OPERATIONS[name].effect is Effect.READS or name in {"rpc.cancel", "share.join"}
    assert not key.JOIN & key.WRITE
