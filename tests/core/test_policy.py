"""The rules: the first that fits decides, what nobody wrote a rule for has the built-in ones, and nothing raises."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.config import PolicyRule
from ptybridge.core import dangerous
from ptybridge.core.policy import BUILT_IN, Action, Policy

DELETE = "rm -rf /"


def action(command: str | list[str] = "ls", **fields: Any) -> Action:
    return Action(**{"operation": "session.create", "command": command, "kind": "spawn", **fields})


def test_an_agent_is_asked_about_what_is_dangerous() -> None:
    decision = Policy().decide(action(DELETE, profile="mcp"))
    assert (decision.verdict, decision.rule) == ("ask", "dangerous-by-agent")
    assert [match.rule for match in decision.matches] == ["rm"]
    assert Policy().decide(action(profile="mcp")).verdict == "allow"


def test_people_and_scripts_are_asked_about_nothing_and_not_even_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Policy().decide(action(DELETE), explain=True).matches
    monkeypatch.setattr(dangerous, "judge", None)
    decision = Policy().decide(action(DELETE))
    assert (decision.verdict, decision.rule, decision.matches) == ("allow", "default", ())


def test_a_rule_of_the_user_comes_before_the_built_in_ones() -> None:
    policy = Policy([PolicyRule(verdict="deny", profile="mcp", dangerous=True), PolicyRule(verdict="ask", name="all")])
    assert policy.decide(action(DELETE, profile="mcp")).rule == "rule-1"
    assert policy.decide(action(profile="mcp")).rule == "all"


@pytest.mark.parametrize(
    ("rule", "fits", "does_not"),
    [
        ({"operation": "session.*"}, {}, {"operation": "exec.run"}),
        ({"profile": "mcp"}, {"profile": "mcp"}, {}),
        ({"profile": ""}, {}, {"profile": "mcp"}),
        ({"owner": "ci"}, {"owner": "ci"}, {"owner": "me"}),
        ({"owner": ""}, {}, {"owner": "me"}),
        ({"command": "^make +deploy"}, {"command": "x\nmake  deploy"}, {"command": "echo make deploy"}),
        ({"command": "it's"}, {"command": "echo it's"}, {"command": ["echo", "its"]}),
        ({"command": "^echo 'a b'$"}, {"command": ["echo", "a b"]}, {"command": "echo a b"}),
        ({"dangerous": True}, {"command": ["rm", "-rf", "/"]}, {"command": ["echo", "rm -rf /"]}),
        ({"dangerous": False}, {}, {"command": DELETE}),
        ({"dangerous": True}, {"command": "rm -rf ../..", "cwd": "/home/me"}, {"command": "rm -rf x"}),
    ],
)
def test_each_field_of_a_rule_has_to_fit(rule: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any]) -> None:
    policy = Policy([PolicyRule(verdict="deny", **rule)])
    assert policy.decide(action(**fits)).verdict == "deny"
    assert policy.decide(action(**does_not)).rule != "rule-1"


texts = st.one_of(st.text(max_size=40), st.sampled_from([DELETE, "rm -rf ~", "ls", "dd of=/dev/sda", "\udc80", "$(("]))
labels = st.sampled_from([None, "", "mcp", "ci"])
rules = st.builds(
    PolicyRule,
    verdict=st.sampled_from(["allow", "ask", "deny"]),
    operation=st.sampled_from([None, "*", "session.*", "exec.run"]),
    profile=labels,
    owner=labels,
    command=st.sampled_from([None, "rm", "^ls$", ".", "\\C"]),
    dangerous=st.sampled_from([None, True, False]),
)
actions = st.builds(
    Action,
    operation=st.sampled_from(["session.create", "session.write", "exec.run"]),
    command=st.one_of(texts, st.lists(texts, max_size=4)),
    profile=labels,
    owner=labels,
    cwd=st.sampled_from([None, "/", "/home/me", "relative"]),
    home=st.sampled_from([None, "/", "/home/me"]),
)


@given(st.lists(rules, max_size=6), actions, st.booleans())
def test_the_first_rule_that_fits_decides_and_nothing_raises(
    given_rules: list[PolicyRule], what: Action, explain: bool
) -> None:
    named = [PolicyRule(**{**_fields(rule), "name": str(number)}) for number, rule in enumerate(given_rules)]
    decision = Policy(named).decide(what, explain=explain)
    # One rule alone decides whether that one fits: what stands before the deciding rule must not, and it must.
    alone = [Policy([rule]).decide(what).rule == rule.name for rule in named]
    first = next((rule for rule, fits in zip(named, alone, strict=True) if fits), None)
    if first is not None:
        assert (decision.rule, decision.verdict) == (first.name, first.verdict)
    else:
        assert decision.rule in {rule.name for rule in BUILT_IN}
        assert decision == Policy().decide(what, explain=explain)


@given(st.lists(rules, max_size=4), st.lists(rules, max_size=4), actions)
def test_rules_behind_the_deciding_one_change_nothing(
    before: list[PolicyRule], behind: list[PolicyRule], what: Action
) -> None:
    decided = Policy(before).decide(what)
    if decided.rule not in {rule.name for rule in BUILT_IN}:
        assert Policy([*before, *behind]).decide(what) == decided


def _fields(rule: PolicyRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in rule.__struct_fields__}
