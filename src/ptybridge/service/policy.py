"""Handlers of the policy: what its rules say."""

import os

from ptybridge.api import policy as api
from ptybridge.core.policy import Action, Decision, Policy
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles


class PolicyService:
    """`policy.*`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @handles(api.CHECK)
    def check(self, caller: Caller, params: api.Check) -> api.Checked:
        """Judge without doing anything."""
        action = Action(
            operation=params.operation,
            command=params.command,
            kind="spawn",
            principal=caller.principal,
            profile=caller.profile if params.as_profile is None else params.as_profile or None,
            owner=params.owner,
            access=params.access,
            cwd=params.cwd,
            home=os.path.expanduser("~"),
        )
        decision = self._policy.decide(action, explain=True)
        return api.Checked(verdict=decision.verdict, rule=decision.rule, matches=matches(decision))


def matches(decision: Decision) -> list[api.DangerMatch]:
    """Describe what is dangerous as the contract shows it."""
    return [api.DangerMatch(rule=one.rule, reason=one.reason) for one in decision.matches]
