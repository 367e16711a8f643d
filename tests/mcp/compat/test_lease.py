"""Attaching: rows 53-59 of the reference, over leases."""

from tests.contract.local_endpoint import LocalClient
from tests.mcp.compat.conftest import Client, Connect

from ptybridge.api import lease, terminal
from ptybridge.errors import Conflict, Denied, InvalidParams, LeaseHeld
from ptybridge.model import Caller

ME = {"owner": "me"}


async def attached(client: Client, command: str = "sleep 60", **arguments: object) -> str:
    """Start a session that `a` is attached to."""
    session = await client.spawn(command, **arguments)
    await client.json("pty_attach", session_id=session, client_id="a", **ME)
    return session


async def test_row53_attach_once_and_again(client: Client) -> None:
    session = await client.spawn("sleep 60")
    first = await client.json("pty_attach", session_id=session, client_id="a", **ME)
    assert (first["attach_changed"], first["attached"], first["attached_client_id"]) == (True, True, "a")
    assert first["attached_at"] > 0
    assert not (await client.json("pty_attach", session_id=session, client_id="a", **ME))["attach_changed"]
    refused = await client.refusal("pty_attach", session_id=session, client_id="b", **ME)
    assert isinstance(refused, LeaseHeld)


async def test_row54_detach(client: Client) -> None:
    session = await attached(client)
    assert isinstance(await client.refusal("pty_detach", session_id=session, client_id="b", **ME), LeaseHeld)
    done = await client.json("pty_detach", session_id=session, client_id="a", **ME)
    assert (done["detach_changed"], done["attached"], done["attached_client_id"]) == (True, False, None)
    assert done["detached_at"] > 0
    assert not (await client.json("pty_detach", session_id=session, client_id="a", **ME))["detach_changed"]


async def test_row55_row57_handoff_with_a_reason(client: Client) -> None:
    session = await attached(client)
    change = {"session_id": session, "client_id": "a", "reason": "lunch", **ME}
    assert isinstance(await client.refusal("pty_handoff", **change, target_client_id="a"), InvalidParams)
    assert isinstance(
        await client.refusal("pty_handoff", **(change | {"reason": "  "}), target_client_id="b"), InvalidParams
    )
    done = await client.json("pty_handoff", **change, target_client_id="b")
    assert (done["handoff_changed"], done["attached_client_id"]) == (True, "b")
    assert (done["affected_session_ids"], done["affected_session_count"]) == ([session], 1)
    status = await client.status(session)
    assert (
        status["last_lease_event"],
        status["last_lease_from_client_id"],
        status["last_lease_to_client_id"],
        status["last_lease_reason"],
    ) == ("handoff", "a", "b", "lunch")
    assert status["last_lease_at"] > 0


async def test_row56_takeover_from_the_holder_with_a_reason(client: Client) -> None:
    session = await attached(client)
    change = {"session_id": session, "client_id": "b", "reason": "a is gone", **ME}
    assert isinstance(await client.refusal("pty_takeover", **change, from_client_id="c"), LeaseHeld)
    done = await client.json("pty_takeover", **change, from_client_id="a")
    assert (done["takeover_changed"], done["attached_client_id"], done["last_lease_event"]) == (True, "b", "takeover")
    free = await client.spawn("sleep 60")
    assert isinstance(
        await client.refusal("pty_takeover", **(change | {"session_id": free}), from_client_id="a"), Conflict
    )


async def test_row58_a_workspace_moves_together(client: Client) -> None:
    first = await attached(client, tmux_workspace="w")
    second = await attached(client, tmux_workspace="w")
    status = await client.status(first)
    assert (status["tmux_workspace"], status["workspace_attached"], status["workspace_attached_client_id"]) == (
        "w",
        True,
        "a",
    )
    assert status["workspace_attached_session_count"] == 2
    done = await client.json("pty_handoff", session_id=first, client_id="a", target_client_id="b", reason="shift", **ME)
    assert done["affected_session_ids"] == sorted([first, second])
    assert (await client.status(second))["attached_client_id"] == "b"


async def test_row59_observers_may_look_and_nothing_else(client: Client) -> None:
    session = await attached(client, "echo hello; sleep 60", name="n", scope="control")
    for tool, more in (
        ("pty_read", {}),
        ("pty_read_stdout", {}),
        ("pty_read_stderr", {}),
        ("pty_read_until", {"pattern": "x"}),
        ("pty_read_until_any", {"patterns": ["x"]}),
        ("pty_read_quiescent", {}),
        ("pty_prompt", {"data": "x", "patterns": ["x"]}),
        ("pty_write", {"data": "x"}),
        ("pty_resize", {"cols": 80, "rows": 24}),
        ("pty_signal", {"sig": "INT"}),
        ("pty_close", {}),
    ):
        for client_id in ({}, {"client_id": "b"}):
            refused = await client.refusal(tool, session_id=session, **ME, **more, **client_id)
            assert isinstance(refused, LeaseHeld), tool
            hint = str(refused.hint)
            # Somebody may be at work there: taking it away from them comes last.
            assert hint.index("wait until it is free") < hint.index("ask your user") < hint.index("pty_takeover")
    assert (await client.json("pty_read_at", session_id=session, **ME))["truncated"] is False
    assert (await client.status(session))["running"]
    assert (await client.json("pty_wait", session_id=session, timeout_ms=1, **ME))["running"]
    assert len(await client.json("pty_list", **ME)) == 1
    assert (await client.json("pty_resume", name="n", **ME))["session_id"] == session


async def test_the_holder_works_on_and_goes_on_reading_where_it_was(client: Client) -> None:
    session = await client.spawn("echo one; read x; echo two $x; read x; echo three; read x")
    await client.until(session, "one\r\n")
    await client.json("pty_attach", session_id=session, client_id="a", **ME)
    await client.text("pty_write", session_id=session, client_id="a", data="x\n", **ME)
    assert (await client.until(session, "two x\r\n", client_id="a"))["text"] == "x\r\ntwo x\r\n"
    found = await client.json(
        "pty_prompt", session_id=session, client_id="a", data="y\n", patterns=["three"], timeout_ms=30_000, **ME
    )
    assert found["text"] == "y\r\nthree"
    await client.text("pty_resize", session_id=session, client_id="a", cols=90, rows=20, **ME)
    assert await client.text("pty_close", session_id=session, client_id="a", **ME) == "ok"


async def test_c13_close_all_names_what_somebody_is_attached_to(client: Client) -> None:
    session, free = await attached(client), await client.spawn("sleep 60")
    answer = await client.answer("pty_close_all")
    assert answer.structured == {"ok": True, "closed": [free], "skipped": [session]}
    assert session in answer.text
    await client.json("pty_detach", session_id=session, client_id="a", **ME)
    assert await client.text("pty_close_all") == "ok"


async def test_a_human_takes_over_and_hands_back(client: Client, human: LocalClient) -> None:
    session = await attached(client, "cat")
    human.caller = Caller(principal="uid:0", connection_id="terminal")
    await human.call(lease.TAKEOVER, session_id=session, from_client_id="a", client_id="human", reason="let me")
    refused = await client.refusal("pty_write", session_id=session, client_id="a", data="x", **ME)
    assert isinstance(refused, LeaseHeld)
    assert "human" in refused.message
    await human.call(terminal.WRITE, session_id=session, client_id="human", data="typed by hand\n")
    await human.call(lease.HANDOFF, session_id=session, client_id="human", target_client_id="a", reason="done")
    assert (await client.until(session, "typed by hand", client_id="a"))["matched"]


async def test_leases_and_owners_are_two_things(client: Client, connect: Connect) -> None:
    session = await attached(client)
    assert isinstance(await connect().refusal("pty_attach", session_id=session, client_id="a", owner="you"), Denied)
