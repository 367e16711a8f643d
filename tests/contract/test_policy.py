"""`policy.check`: what the rules say, without anything being done."""

from pathlib import Path
from typing import Any

import pytest
from tests.contract.endpoints import Client

from ptybridge import config
from ptybridge.api import attach, file, policy, session, terminal, transfer
from ptybridge.errors import Denied, InvalidParams

DELETE = "rm -rf /"


@pytest.fixture
def rules() -> tuple[config.PolicyRule, ...]:
    return (
        config.PolicyRule(verdict="deny", name="no-deploys", command="^make deploy"),
        config.PolicyRule(verdict="allow", owner="sandbox"),
        config.PolicyRule(verdict="allow", operation="file.info", profile=""),
        config.PolicyRule(verdict="deny", name="no-files", operation="file.*"),
        config.PolicyRule(verdict="deny", name="leave-prod", operation="session.*", owner="prod"),
        config.PolicyRule(verdict="deny", name="no-looking", operation="session.follow"),
    )


async def test_it_tells_verdict_rule_and_dangers(client: Client) -> None:
    found = await client.call(policy.CHECK, command=DELETE, as_profile="mcp")
    assert (found.verdict, found.rule) == ("ask", "dangerous-by-agent")
    assert [(one.rule, "deletes /" in one.reason) for one in found.matches] == [("rm", True)]
    harmless = await client.call(policy.CHECK, command="echo 'rm -rf /'", as_profile="mcp")
    assert (harmless.verdict, harmless.rule, harmless.matches) == ("allow", "default", [])


@pytest.mark.parametrize("as_profile", [None, ""])
async def test_people_are_allowed_and_still_told_of_the_dangers(client: Client, as_profile: str | None) -> None:
    found = await client.call(policy.CHECK, command=["rm", "-rf", "/"], as_profile=as_profile)
    assert (found.verdict, found.rule, len(found.matches)) == ("allow", "default", 1)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"command": "make deploy"}, "no-deploys"),
        ({"command": ["make", "deploy"], "owner": "sandbox"}, "no-deploys"),
        ({"command": DELETE, "owner": "sandbox"}, "rule-2"),
        ({"command": DELETE, "owner": "me"}, "dangerous-by-agent"),
    ],
)
async def test_the_rules_of_the_configuration_decide_in_their_order(
    client: Client, params: dict[str, Any], rule: str
) -> None:
    assert (await client.call(policy.CHECK, as_profile="mcp", **params)).rule == rule


async def test_nothing_is_done(client: Client) -> None:
    await client.call(policy.CHECK, command="ls", cwd="/nowhere/at/all")
    assert (await client.call(session.LIST)).sessions == []


@pytest.mark.parametrize("params", [{}, {"command": []}, {"command": 1}, {"command": "ls", "access": "all"}])
async def test_wrong_parameters_are_refused(client: Client, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidParams):
        await client.call_raw("policy.check", params)


async def test_what_is_allowed_needs_no_confirmation(client: Client) -> None:
    answer = await client.call(policy.CONFIRM, command=DELETE, justification="a test")
    assert (answer.verdict, answer.confirm_token, answer.expires_at_ms) == ("allow", None, None)
    made = await client.call(session.CREATE, command=["true"], confirm_token="dc_of_nobody")
    assert made.session_id


@pytest.mark.parametrize("method", ["session.create", "exec.run"])
async def test_a_rule_that_denies_holds_for_everybody(client: Client, method: str) -> None:
    with pytest.raises(Denied, match="no-deploys"):
        await client.call_raw(method, {"command": ["make", "deploy"], "cwd": "/nowhere"})
    assert (await client.call(session.LIST)).sessions == []
    answer = await client.call(policy.CONFIRM, command="make deploy", justification="a test")
    assert (answer.verdict, answer.confirm_token) == ("deny", None)


async def test_a_rule_that_names_operations_holds_for_all_of_them(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(Denied, match=r"no-files does not allow file\.read") as refused:
        await client.call(file.READ, path=str(tmp_path / "file"))
    assert refused.value.data == {"rule": "no-files"}
    with pytest.raises(Denied, match="no-files"):
        async with client.channel(transfer.DOWNLOAD, path=str(tmp_path / "file")):
            pass
    assert (await client.call(file.INFO, path=str(tmp_path / "file"))).size == 4  # the rule before decides


async def test_a_rule_about_an_owner_holds_for_what_is_done_to_its_sessions(client: Client) -> None:
    with pytest.raises(Denied, match="leave-prod"):
        await client.call(session.CREATE, command=["true"], owner="prod")
    mine = (await client.call(session.CREATE, command=["cat"], owner="me")).session_id
    await client.call(terminal.WRITE, session_id=mine, data="x")
    await client.call(session.UPDATE, session_id=mine, owner="prod")
    for method, params in {"session.write": {"data": "x"}, "session.read": {}, "session.close": {}}.items():
        with pytest.raises(Denied, match="leave-prod"):
            await client.call_raw(method, {"session_id": mine, **params})


async def test_a_rule_about_a_stream_ends_it_before_it_begins(client: Client) -> None:
    mine = (await client.call(session.CREATE, command=["cat"])).session_id
    with pytest.raises(Denied, match="no-looking"):
        async with client.stream(attach.FOLLOW, session_id=mine):
            pass


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("file.read", ("deny", "no-files")), ("file.info", ("allow", "default")), ("node.info", ("allow", "default"))],
)
async def test_check_tells_what_becomes_of_other_operations(
    client: Client, operation: str, expected: tuple[str, str]
) -> None:
    found = await client.call_raw("policy.check", {"command": "rm -rf /", "operation": operation})
    assert (found["verdict"], found["rule"]) == expected
    with pytest.raises(InvalidParams, match="there is no operation"):
        await client.call_raw("policy.check", {"command": "ls", "operation": "file.reed"})
