"""`policy.check`: what the rules say, without anything being done."""

from typing import Any

import pytest
from tests.contract.endpoints import Client

from ptybridge import config
from ptybridge.api import policy, session
from ptybridge.errors import Denied, InvalidParams

DELETE = "rm -rf /"


@pytest.fixture
def rules() -> tuple[config.PolicyRule, ...]:
    return (
        config.PolicyRule(verdict="deny", name="no-deploys", command="^make deploy"),
        config.PolicyRule(verdict="allow", owner="sandbox"),
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
