"""`session.list`, `session.get` and `session.update`: what is known of sessions, and what of it can be changed."""

import pytest
import trio
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, exited, outcome, raw_cat, script, shell, start, until

from ptybridge.api import attach, session, terminal
from ptybridge.errors import Denied, InvalidParams, NameTaken, RateLimited, SessionNotFound

pytestmark = pytest.mark.usefixtures("client")


async def ids(client: Client, **filters: object) -> list[str]:
    return [one.session_id for one in (await client.call(session.LIST, **filters)).sessions]


async def test_filters_narrow_the_list_which_is_oldest_first(client: Client) -> None:
    a = await start(client, "cat", owner="x", tags=["red", "blue"])
    b = await start(client, "cat", owner="y", tags=["red"])
    c = await script(client, "exit 0", owner="x")
    await exited(client, c)
    assert await ids(client) == [a, b, c]
    assert await ids(client, owner="x") == [a, c]
    assert await ids(client, tag="red") == [a, b]
    assert await ids(client, tag="blue") == [a]
    assert await ids(client, state="running") == [a, b]
    assert await ids(client, state="exited") == [c]
    assert await ids(client, owner="x", state="running") == [a]
    assert await ids(client, owner="nobody") == []
    with pytest.raises(InvalidParams):
        await client.call_raw("session.list", {"state": "dead"})


@pytest.mark.parametrize(
    "method",
    [
        "session.get", "session.read", "session.screen", "session.close", "session.update",
        "session.write", "session.read_until", "session.wait", "session.prompt", "session.send_keys",
        "session.paste", "session.resize", "session.signal", "session.kick",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_found(client: Client, method: str) -> None:
    needed: dict[str, dict[str, object]] = {
        "session.write": {"data": ""},
        "session.read_until": {"pattern": "x"},
        "session.wait": {"until": [{"exit": True}]},
        "session.prompt": {"data": ""},
        "session.send_keys": {"keys": ["enter"]},
        "session.paste": {"text": ""},
        "session.resize": {"rows": 5, "cols": 5},
        "session.signal": {"signal": "INT"},
        "session.kick": {"attachment_id": "x"},
    }
    with pytest.raises(SessionNotFound, match="nowhere") as caught:
        await client.call_raw(method, {"session_id": "nowhere"} | needed.get(method, {}))
    assert caught.value.hint


async def test_streams_and_channels_of_what_is_not_there_are_not_found(client: Client) -> None:
    with pytest.raises(SessionNotFound):
        async with client.stream(attach.FOLLOW, session_id="nowhere"):
            raise AssertionError
    with pytest.raises(SessionNotFound):
        async with client.attach(session_id="nowhere", rows=24, cols=80):
            raise AssertionError


async def test_an_exit_is_told_in_full(client: Client) -> None:
    done = await exited(client, await script(client, "echo out; exit 7"))
    assert (done.state, done.exit_code, done.exit_signal, done.exit_reason) == ("exited", 7, None, "exited")
    assert done.output_closed
    assert done.exited_at_ms is not None
    assert done.exited_at_ms >= done.created_at_ms
    assert done.end_offset == done.bytes_read == len("out\r\n")
    assert done.foreground is None


@pytest.mark.parametrize("number", [9, 15, 35])
async def test_death_by_somebodys_signal_has_no_code(client: Client, number: int) -> None:
    done = await exited(client, await script(client, f"kill -{number} $$"))
    assert done.exit_code is None
    assert done.exit_signal == {9: "SIGKILL", 15: "SIGTERM", 35: "SIGRTMIN+1"}[number]
    assert done.exit_reason == "signaled"


async def test_bytes_are_counted_both_ways(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.WRITE, session_id=session_id, data="hello")
    await until(client, session_id, "hello")
    info = await client.call(session.GET, session_id=session_id)
    assert info.bytes_written == 5
    assert info.bytes_read == info.end_offset == len("up\n") + 5


async def test_r30_a_stopped_terminal_is_told_from_a_hang(client: Client) -> None:
    """Who has the terminal, and whether its output was stopped with ^S."""
    session_id = await shell(client)
    await client.call(
        terminal.PROMPT, session_id=session_id, data="cat", until=[{"pattern": "cat\r\n"}], timeout_ms=PATIENCE_MS
    )

    async def foreground(wanted: tuple[str, bool]) -> None:
        # Neither a job's start nor the kernel's taking in of ^S announces itself.
        with trio.fail_after(PATIENCE_MS / 1000):
            while True:
                found = (await client.call(session.GET, session_id=session_id)).foreground
                if found is not None and (found.name, found.flow_stopped) == wanted:
                    return
                await trio.sleep(0.002)

    await foreground(("cat", False))
    await client.call(terminal.WRITE, session_id=session_id, data="\x13")
    await foreground(("cat", True))
    await client.call(terminal.WRITE, session_id=session_id, data="\x11")
    await foreground(("cat", False))


async def test_waiting_for_input_is_told(client: Client) -> None:
    session_id = await script(client, "read line; echo got $line; exec sleep 1000")
    with trio.fail_after(PATIENCE_MS / 1000):
        while not (await client.call(session.GET, session_id=session_id)).waiting_for_input:  # noqa: ASYNC110
            await trio.sleep(0.02)
    await client.call(terminal.WRITE, session_id=session_id, data="x\n")
    await until(client, session_id, "got x")
    await client.call(terminal.WAIT, session_id=session_id, until=[{"idle_ms": 600}], timeout_ms=PATIENCE_MS)
    # Before `sleep` is there, the shell may still be in its read.
    with trio.fail_after(PATIENCE_MS / 1000):
        while (await client.call(session.GET, session_id=session_id)).waiting_for_input:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_s24_titles_are_told_without_control_characters(client: Client) -> None:
    session_id = await script(
        client, r"printf '\033]2;a\033[31mb\007'; printf '\033]2;safe \302\205x\342\200\256y\007'; echo up"
    )
    await until(client, session_id, "up")
    await client.call(terminal.SCREEN, session_id=session_id)
    title = (await client.call(session.GET, session_id=session_id)).title
    assert title
    assert title.isprintable()


# -- update --------------------------------------------------------------------------------------------------


async def test_labels_and_limits_can_be_changed_and_removed(client: Client) -> None:
    session_id = await start(client, "cat", name="old", owner="o", tags=["t"])
    info = await client.call(
        session.UPDATE,
        session_id=session_id,
        name="new",
        tags=["x", "y"],
        overflow="pause",
        idle_timeout_ms=60_000,
        max_runtime_ms=70_000,
        input_bytes_per_second=1000,
        output_bytes_per_second=2000,
    )
    assert (info.name, info.owner, info.tags, info.overflow) == ("new", "o", ["x", "y"], "pause")
    assert (info.idle_timeout_ms, info.max_runtime_ms) == (60_000, 70_000)
    assert (info.input_bytes_per_second, info.output_bytes_per_second) == (1000, 2000)
    assert info == await client.call(session.GET, session_id=session_id) or info.session_id == session_id
    raw = {"session_id": session_id, "name": None, "idle_timeout_ms": None, "input_bytes_per_second": None}
    removed = await client.call_raw("session.update", raw)
    assert (removed["name"], removed["idle_timeout_ms"], removed["input_bytes_per_second"]) == (None, None, None)
    assert removed["max_runtime_ms"] == 70_000
    assert removed["tags"] == ["x", "y"]


async def test_renaming_moves_the_claim(client: Client) -> None:
    one = await start(client, "cat", name="one")
    two = await start(client, "cat", name="two")
    with pytest.raises(NameTaken):
        await client.call(session.UPDATE, session_id=two, name="one")
    assert (await client.call(session.GET, session_id=two)).name == "two"
    await client.call(session.UPDATE, session_id=one, name="uno")
    await client.call(session.UPDATE, session_id=two, name="one")
    with pytest.raises(NameTaken):
        await start(client, "cat", name="uno")
    await start(client, "cat", name="two")


async def test_a_refused_update_changes_nothing(client: Client) -> None:
    await start(client, "cat", name="taken")
    session_id = await start(client, "cat", tags=["a"])
    with pytest.raises(NameTaken):
        await client.call(session.UPDATE, session_id=session_id, name="taken", tags=["b"], overflow="pause")
    with pytest.raises(InvalidParams):
        await client.call(session.UPDATE, session_id=session_id, name="-x", tags=["b"], overflow="pause")
    info = await client.call(session.GET, session_id=session_id)
    assert (info.tags, info.overflow, info.name) == (["a"], "drain", None)


async def test_a_changed_input_limit_holds_at_once(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(session.UPDATE, session_id=session_id, input_bytes_per_second=10)
    # So much more than a second's worth that no pause of a busy machine makes room for the next.
    await client.call(terminal.WRITE, session_id=session_id, data="0123456789" * 100)
    with pytest.raises(RateLimited):
        await client.call(terminal.WRITE, session_id=session_id, data="0123456789")
    await client.call_raw("session.update", {"session_id": session_id, "input_bytes_per_second": None})
    await client.call(terminal.WRITE, session_id=session_id, data="0123456789" * 100)


# -- access --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("session.write", {"data": "x"}),
        ("session.send_keys", {"keys": ["enter"]}),
        ("session.paste", {"text": "x"}),
        ("session.prompt", {"data": "x"}),
        ("session.resize", {"rows": 10, "cols": 10}),
        ("session.resize", {"policy": "manual"}),
        ("session.signal", {"signal": "TERM"}),
    ],
)
async def test_s21_a_read_only_session_refuses_what_would_change_it(
    client: Client, method: str, params: dict[str, object]
) -> None:
    session_id = await start(client, "cat", access="read-only")
    with pytest.raises(Denied, match="read-only"):
        await client.call_raw(method, {"session_id": session_id} | params)
    info = await client.call(session.GET, session_id=session_id)
    assert (info.state, info.bytes_written, info.rows, info.cols) == ("running", 0, 30, 120)
    await client.call(session.UPDATE, session_id=session_id, access="admin")
    await client.call_raw(method, {"session_id": session_id} | params)


async def test_s21_read_write_does_not_allow_control(client: Client) -> None:
    session_id = await start(client, "cat", access="read-write")
    await client.call(terminal.WRITE, session_id=session_id, data="x\n")
    await client.call(session.RESIZE, session_id=session_id, rows=5, cols=5)
    with pytest.raises(Denied):
        await client.call(session.SIGNAL, session_id=session_id, signal="TERM")
    assert await outcome(client, "echo other") == "other\r\n"
