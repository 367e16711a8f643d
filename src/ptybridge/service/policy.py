"""Handlers of the policy: what its rules say."""

import os

from ptybridge.api import policy as api
from ptybridge.api.operation import takes_confirmation
from ptybridge.api.registry import Registry
from ptybridge.core.policy import Action, Decision, Policy
from ptybridge.errors import InvalidParams, MethodNotFound
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.guard import Guard, cautious


class PolicyService:
    """`policy.*`."""

    def __init__(self, policy: Policy, guard: Guard, registry: Registry) -> None:
        self._policy = policy
        self._guard = guard
        self._registry = registry

    @handles(api.CHECK)
    def check(self, caller: Caller, params: api.Check) -> api.Checked:
        """Judge without doing anything."""
        profile = caller.profile if params.as_profile is None else params.as_profile or None
        try:
            judged = takes_confirmation(self._registry[params.operation])
        except MethodNotFound as exc:
            raise InvalidParams(exc.message) from exc
        refused = self._policy.admission(params.operation, judged=judged).refused_by(profile, params.owner)
        if refused is not None or not judged:
            return api.Checked(verdict="deny" if refused else "allow", rule=refused or "default", matches=[])
        action = Action(
            operation=params.operation,
            command=params.command,
            kind="spawn",
            principal=caller.principal,
            profile=profile,
            owner=params.owner,
            access=params.access,
            cwd=params.cwd,
            home=os.path.expanduser("~"),
        )
        decision = self._policy.decide(cautious(caller, action), explain=True)
        return api.Checked(verdict=decision.verdict, rule=decision.rule, matches=matches(decision))

    @handles(api.CONFIRM)
    def confirm(self, caller: Caller, params: api.Confirm) -> api.Confirmed:
        """Give a token."""
        action = Action(
            operation=params.operation,
            command=params.command,
            principal=caller.principal,
            profile=caller.profile,
            owner=params.owner,
            access=params.access,
            cwd=params.cwd,
            home=os.path.expanduser("~"),
        )
        decision, token = self._guard.confirm(caller, action, params.justification)
        asked = self._guard.ask(caller, action, decision, params.justification)
        return api.Confirmed(
            verdict=decision.verdict,
            rule=decision.rule,
            matches=matches(decision),
            confirm_token=token.token if token is not None else None,
            expires_at_ms=token.expires_at_ms if token is not None else None,
            approval_id=asked.approval_id if asked is not None else None,
        )


def matches(decision: Decision) -> list[api.DangerMatch]:
    """Describe what is dangerous as the contract shows it."""
    return [api.DangerMatch(rule=one.rule, reason=one.reason) for one in decision.matches]
