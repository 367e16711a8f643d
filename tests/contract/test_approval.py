"""`approval.*`: what callers want to do waits for a human, whom no agent can stand in for."""

import os
import sys
from pathlib import Path

import msgspec
import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import PATIENCE_MS, script, until

from ptybridge.api import approval, event
from ptybridge.core.approvals import Approval
from ptybridge.core.policy import Action
from ptybridge.daemon import Daemon
from ptybridge.errors import ApprovalNotFound, Conflict, Denied, InvalidParams

COMMAND = "rm -rf / # private"


@pytest.fixture
def agent(daemon: Daemon) -> LocalClient:
    """An AI agent, as the daemon sees one that speaks MCP."""
    made = LocalClient(daemon)
    made.caller = msgspec.structs.replace(made.caller, profile="mcp", client_id="claude")
    return made


def ask(daemon: Daemon, agent: LocalClient, command: str = COMMAND) -> Approval:
    caller = agent.caller
    action = Action(operation="session.create", command=command, principal=caller.principal, profile=caller.profile)
    return daemon.approvals.request(
        action, daemon.policy.decide(action), client_id=caller.client_id, connection_id=caller.connection_id
    )


async def test_a_human_sees_the_command_and_allows_it(client: Client, agent: LocalClient, daemon: Daemon) -> None:
    assert (await client.call(approval.LIST)).approvals == []
    approval_id = ask(daemon, agent).approval_id
    (shown,) = (await client.call(approval.LIST)).approvals
    assert (shown.approval_id, shown.command, shown.state) == (approval_id, COMMAND, "pending")
    assert (shown.profile, shown.client_id, shown.operation) == ("mcp", "claude", "session.create")
    assert [match.rule for match in shown.matches] == ["rm"]
    assert shown.expires_at_ms > shown.asked_at_ms
    async with trio.open_nursery() as nursery:
        nursery.start_soon(decide, client, approval_id, True, "go on")
        told = await agent.call(approval.WAIT, approval_id=approval_id, timeout_ms=60_000)
    assert (told.reason, told.message) == ("allowed", "go on")
    assert told.confirm_token is not None
    assert told.token_expires_at_ms is not None
    assert told.decided_by is not None
    assert told.decided_by.startswith(f"uid:{os.geteuid()}")
    daemon.confirmations.redeem(told.confirm_token, COMMAND, principal=agent.caller.principal, owner=None, access=None)


async def decide(client: Client, approval_id: str, allow: bool, reason: str | None = None) -> approval.ApprovalInfo:
    return await client.call(approval.DECIDE, approval_id=approval_id, allow=allow, reason=reason)


async def test_a_denial_says_why_and_gives_nothing(client: Client, agent: LocalClient, daemon: Daemon) -> None:
    approval_id = ask(daemon, agent).approval_id
    decided = await decide(client, approval_id, False, "use\nthe sandbox")
    assert (decided.state, decided.reason, decided.command) == ("denied", "use the sandbox", None)
    told = await agent.call(approval.WAIT, approval_id=approval_id)
    assert (told.reason, told.message, told.confirm_token) == ("denied", "use the sandbox", None)
    assert (await client.call(approval.LIST)).approvals == []
    (shown,) = (await client.call(approval.LIST, all=True)).approvals
    assert (shown.state, shown.command) == ("denied", None)


async def test_a_wait_is_over_when_its_time_is(client: Client, agent: LocalClient, daemon: Daemon) -> None:
    approval_id = ask(daemon, agent).approval_id
    for timeout_ms in (0, 1):
        told = await agent.call(approval.WAIT, approval_id=approval_id, timeout_ms=timeout_ms)
        assert (told.reason, told.confirm_token) == ("timeout", None)


async def test_only_who_asked_gets_the_token(client: Client, agent: LocalClient, daemon: Daemon) -> None:
    approval_id = ask(daemon, agent).approval_id
    await decide(client, approval_id, True)
    told = await client.call(approval.WAIT, approval_id=approval_id)
    assert (told.reason, told.confirm_token) == ("allowed", None)
    assert (await agent.call(approval.WAIT, approval_id=approval_id)).confirm_token


async def test_an_agent_cannot_decide_nor_see_what_others_ask(
    client: Client, agent: LocalClient, daemon: Daemon
) -> None:
    other = LocalClient(daemon)
    other.caller = msgspec.structs.replace(other.caller, profile="mcp", client_id="claude")
    approval_id = ask(daemon, agent).approval_id
    (own,) = (await agent.call(approval.LIST)).approvals
    assert (own.approval_id, own.command) == (approval_id, None)
    assert (await other.call(approval.LIST, all=True)).approvals == []
    for one in (agent, other):
        with pytest.raises(Denied, match="human's to decide: this client is an agent") as caught:
            await one.call(approval.DECIDE, approval_id=approval_id, allow=True)
        assert caught.value.hint
    assert (await client.call(approval.LIST)).approvals[0].state == "pending"


async def test_whoever_asked_cannot_answer(daemon: Daemon, connect: Connect, client: Client) -> None:
    script = LocalClient(daemon)
    approval_id = ask(daemon, script).approval_id
    with pytest.raises(Denied, match="whoever asked"):
        await script.call(approval.DECIDE, approval_id=approval_id, allow=True)
    assert (await decide(await connect(), approval_id, True)).state == "allowed"


@pytest.mark.parametrize("hidden", ["", "setsid --wait", "setsid --wait env -u PTYBRIDGE_SESSION_ID"])
async def test_what_runs_in_an_agents_session_cannot_answer(
    client: Client, agent: LocalClient, daemon: Daemon, socket_path: Path, hidden: str
) -> None:
    approval_id = ask(daemon, agent).approval_id
    answer = f"{hidden} {sys.executable} -m ptybridge --socket {socket_path} approvals"
    for maker, said, state in ((agent, "started in session", "pending"), (client, "is allowed", "allowed")):
        session_id = await script(maker, f"{answer} ls --json; {answer} allow {approval_id}; echo done")
        seen = await until(client, session_id, "done\r\n", offset=0, timeout_ms=3 * PATIENCE_MS)
        assert said in " ".join(seen.data.split())
        assert ("private" in seen.data) is (maker is client)
        assert daemon.approvals.get(approval_id).state == state, seen.data


async def test_events_tell_of_questions_and_answers_without_the_command(
    client: Client, agent: LocalClient, daemon: Daemon
) -> None:
    async with client.stream(event.FOLLOW, types=["approval_requested", "approval_decided"]) as events:
        approval_id = ask(daemon, agent).approval_id
        asked = await events.next()
        await decide(client, approval_id, False, "no")
        decided = await events.next()
    assert (asked.approval_id, asked.client_id, asked.matches) == (approval_id, "claude", ["rm"])
    assert (decided.approval_id, decided.verdict, decided.reason) == (approval_id, "denied", "no")
    assert "private" not in repr((asked, decided))


async def test_wrong_answers_are_refused(client: Client, agent: LocalClient, daemon: Daemon) -> None:
    approval_id = ask(daemon, agent).approval_id
    with pytest.raises(ApprovalNotFound):
        await client.call(approval.WAIT, approval_id="nothing")
    with pytest.raises(ApprovalNotFound):
        await decide(client, "nothing", True)
    with pytest.raises(InvalidParams):
        await client.call_raw("approval.decide", {"approval_id": approval_id, "allow": "yes"})
    with pytest.raises(InvalidParams):
        await client.call_raw("approval.wait", {"approval_id": approval_id, "timeout_ms": -1})
    await decide(client, approval_id, True)
    with pytest.raises(Conflict, match="allowed already"):
        await decide(client, approval_id, False)
