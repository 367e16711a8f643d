"""`node.*` and `rpc.*`: who answers, what holds, and the end."""

import os

import pytest
from tests.contract.endpoints import Client
from tests.contract.programs import exited, script, start

from ptybridge import __version__
from ptybridge.api import event, node, session
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon
from ptybridge.errors import InvalidParams, InvalidRequest, LimitReached, MethodNotFound


async def test_info_tells_who_answers(client: Client, daemon: Daemon) -> None:
    await start(client, "cat")
    done = await script(client, "exit 0")
    await exited(client, done)
    info = await client.call(node.INFO)
    assert (info.version, info.pid, info.socket) == (__version__, os.getpid(), daemon.config.paths.socket)
    assert 1 <= info.protocol_min <= info.protocol
    assert (info.sessions, info.sessions_running) == (2, 1)
    assert not info.keeper
    assert info.uptime_ms >= 0


async def test_health_counts_what_can_run_out(client: Client) -> None:
    health = await client.call(node.HEALTH)
    assert health.ok == (not health.problems)
    assert 0 < health.open_files < health.open_files_limit


async def test_limits_can_be_changed_until_the_end(client: Client) -> None:
    before = await client.call(node.LIMITS)
    after = await client.call(node.SET_LIMITS, max_sessions=1, max_input_bytes=8192)
    assert (after.max_sessions, after.max_input_bytes) == (1, 8192)
    assert after.max_output_bytes == before.max_output_bytes
    assert await client.call(node.LIMITS) == after
    await start(client, "cat")
    with pytest.raises(LimitReached):
        await start(client, "cat")
    with pytest.raises(InvalidParams):
        await client.call_raw("node.set_limits", {"max_sessions": 0})


async def test_exited_sessions_are_kept_up_to_their_number(client: Client) -> None:
    await client.call(node.SET_LIMITS, max_exited_sessions=2)
    running = await start(client, "cat")
    async with client.stream(event.FOLLOW, types=["exited", "closed"]) as events:
        made = [await script(client, "exit 0") for _ in range(4)]
        ends = [await events.next() for _ in range(6)]
    assert sorted(type(one).__name__ for one in ends) == ["Closed"] * 2 + ["Exited"] * 4
    kept = await ids(client)
    assert len(kept) == 3
    assert running in kept
    assert set(kept) < {*made, running}


async def ids(client: Client) -> list[str]:
    return [one.session_id for one in (await client.call(session.LIST)).sessions]


async def test_discover_describes_every_operation(client: Client) -> None:
    document = await client.call(node.DISCOVER)
    assert document.openrpc.startswith("1.")
    assert [method["name"] for method in document.methods] == [one.name for one in contract()]
    raw = await client.call_raw("rpc.discover")
    assert raw["info"]["version"] == __version__


@pytest.mark.parametrize(
    "method",
    ["", "session", "session.", "session.nothing", "Session.Get", "session.__class__", "node.stop", "rpc.", "get"],
)
async def test_s16_only_the_contracts_names_are_methods(client: Client, method: str) -> None:
    with pytest.raises(MethodNotFound):
        await client.call_raw(method)


async def test_streams_and_channels_are_no_calls(client: Client, kind: str) -> None:
    if kind != "local":
        return  # over the socket the front end knows by the name what is wanted
    session_id = await start(client, "cat")
    for method in ["session.follow", "session.attach"]:
        with pytest.raises(InvalidRequest):
            await client.call_raw(method, {"session_id": session_id, "rows": 5, "cols": 5})


async def test_cancelling_what_is_not_there(client: Client, kind: str) -> None:
    if kind == "local":
        with pytest.raises(InvalidRequest):
            await client.call(node.CANCEL, id=1)
    else:
        assert not (await client.call(node.CANCEL, id=4711)).cancelled
