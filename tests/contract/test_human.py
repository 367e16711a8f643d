"""`policy.confirm = "human"`: what the rules ask about is done once a human has allowed it, and no other way."""

from typing import Any, Literal

import msgspec
import pytest
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import exited, shell, until

from ptybridge import config
from ptybridge.api import approval, exec, policy, session, terminal
from ptybridge.daemon import Daemon
from ptybridge.errors import ConfirmationRejected, ConfirmationRequired, InvalidParams

ASKED = "echo sent-$((40 + 2))"


@pytest.fixture
def rules() -> tuple[config.PolicyRule, ...]:
    return (config.PolicyRule(verdict="ask", name="sendings", command="sent-"),)


@pytest.fixture
def confirm() -> Literal["caller", "human"]:
    return "human"


async def create(client: Client, command: str = ASKED, **params: Any) -> str:
    return (await client.call(session.CREATE, command=["sh", "-c", command], **params)).session_id


async def refused(client: Client, **params: Any) -> ConfirmationRequired:
    with pytest.raises(ConfirmationRequired, match="by a human first, and nothing was done") as caught:
        await create(client, **params)
    assert caught.value.hint
    assert "ptybridge approvals" in caught.value.hint
    return caught.value


async def allowed(client: Client, human: Client, approval_id: object) -> str:
    await human.call(approval.DECIDE, approval_id=approval_id, allow=True)
    told = await client.call(approval.WAIT, approval_id=approval_id)
    assert told.confirm_token is not None
    return told.confirm_token


async def test_it_runs_once_when_a_human_has_allowed_it(client: Client, connect: Connect) -> None:
    human = await connect()
    error = await refused(client)
    assert (await client.call(session.LIST)).sessions == []
    assert (await refused(client)).data["approval_id"] == error.data["approval_id"]
    (shown,) = (await human.call(approval.LIST)).approvals
    assert (shown.command, shown.rule, shown.operation) == (ASKED, "sendings", "session.create")
    (own,) = (await client.call(approval.LIST)).approvals
    assert (shown.decidable, own.decidable) == (True, False)
    token = await allowed(client, human, error.data["approval_id"])
    session_id = await create(client, confirm_token=token)
    await until(client, session_id, "sent-42")
    with pytest.raises(ConfirmationRejected):
        await create(client, confirm_token=token)


async def test_what_was_allowed_is_good_for_nothing_else(client: Client, connect: Connect) -> None:
    error = await refused(client, cwd="/")
    token = await allowed(client, await connect(), error.data["approval_id"])
    with pytest.raises(ConfirmationRejected):
        await create(client, "echo sent-twice", confirm_token=token, cwd="/")
    with pytest.raises(ConfirmationRejected, match="the directory /"):
        await create(client, confirm_token=token, cwd="/tmp")
    with pytest.raises(ConfirmationRejected):
        await create(client, confirm_token=token, cwd="/", owner="somebody")
    await exited(client, await create(client, confirm_token=token, cwd="/"))


async def test_nobody_confirms_it_itself(client: Client, connect: Connect) -> None:
    human = await connect()
    found = await client.call(policy.CONFIRM, command=ASKED, justification="it must be sent")
    assert (found.verdict, found.confirm_token) == ("ask", None)
    (shown,) = (await human.call(approval.LIST)).approvals
    assert (shown.approval_id, shown.justification) == (found.approval_id, "it must be sent")
    with pytest.raises(InvalidParams, match="justification"):
        await client.call(policy.CONFIRM, command=ASKED, justification=" ")
    assert (await client.call(policy.CONFIRM, command=ASKED)).approval_id is None
    assert (await client.call(policy.CONFIRM, command="ls", justification="why not")).approval_id is None


async def test_a_reason_given_later_is_added_to_the_question(client: Client, connect: Connect) -> None:
    error = await refused(client, owner="me", cwd="/")
    found = await client.call(policy.CONFIRM, command=ASKED, justification="it must be sent")
    assert found.approval_id == error.data["approval_id"]
    (shown,) = (await (await connect()).call(approval.LIST)).approvals
    assert (shown.justification, shown.owner, shown.cwd) == ("it must be sent", "me", "/")


async def test_input_is_asked_about_with_its_session(client: Client, connect: Connect, daemon: Daemon) -> None:
    human, agent = await connect(), LocalClient(daemon)
    agent.caller = msgspec.structs.replace(agent.caller, profile="mcp")
    session_id, other = await shell(client), await shell(client)
    with pytest.raises(ConfirmationRequired) as caught:
        await agent.call(terminal.WRITE, session_id=session_id, data=f"{ASKED}\r")
    (shown,) = (await human.call(approval.LIST)).approvals
    assert (shown.session_id, shown.command, shown.operation) == (session_id, ASKED, "session.write")
    token = await allowed(agent, human, caught.value.data["approval_id"])
    with pytest.raises(ConfirmationRejected, match=f"session {session_id}"):
        await agent.call(terminal.WRITE, session_id=other, data=f"{ASKED}\r", confirm_token=token)
    await agent.call(terminal.WRITE, session_id=session_id, data=f"{ASKED}\r", confirm_token=token)
    await until(client, session_id, "sent-42")


async def test_a_human_sees_what_a_shell_is_given_to_run(client: Client, connect: Connect) -> None:
    human = await connect()
    run: dict[str, Any] = {"command": ["sh"], "input": f"{ASKED}\n"}
    with pytest.raises(ConfirmationRequired) as caught:
        await client.call(exec.RUN, **run)
    (shown,) = (await human.call(approval.LIST)).approvals
    assert shown.command == f"sh\n{ASKED}"
    token = await allowed(client, human, caught.value.data["approval_id"])
    with pytest.raises(ConfirmationRejected):
        await client.call(exec.RUN, command=["sh"], input="echo sent-twice\n", confirm_token=token)
    assert (await client.call(exec.RUN, confirm_token=token, **run)).stdout == "sent-42\n"


async def test_a_paste_and_a_stream_take_the_token_too(client: Client, connect: Connect, daemon: Daemon) -> None:
    human, agent = await connect(), LocalClient(daemon)
    agent.caller = msgspec.structs.replace(agent.caller, profile="mcp")
    session_id = await shell(client)
    pasted: dict[str, Any] = {"session_id": session_id, "text": f"{ASKED}\n{ASKED}\n"}
    await client.call(terminal.WRITE, session_id=session_id, data="bind 'set enable-bracketed-paste off'\r")
    await until(client, session_id, "ready> ")
    with pytest.raises(ConfirmationRequired) as caught:
        await agent.call(terminal.PASTE, **pasted)
    token = await allowed(agent, human, caught.value.data["approval_id"])
    await agent.call(terminal.PASTE, confirm_token=token, **pasted)
    await until(client, session_id, "sent-42")
    with pytest.raises(ConfirmationRequired):
        await agent.call(terminal.PASTE, **pasted)

    run: dict[str, Any] = {"command": ["sh", "-c", ASKED]}
    with pytest.raises(ConfirmationRequired) as caught:
        async with client.stream(exec.STREAM, **run):
            pass
    token = await allowed(client, human, caught.value.data["approval_id"])
    async with client.stream(exec.STREAM, confirm_token=token, **run) as stream:
        assert (await stream.next()).data == "sent-42\n"
    with pytest.raises(ConfirmationRejected):
        async with client.stream(exec.STREAM, confirm_token=token, **run):
            pass
