"""Refuses operations that a rule of the policy names, to every caller; what is in a command is the guard's business."""

import logging

import msgspec

from ptybridge.api.operation import takes_confirmation
from ptybridge.api.registry import AnyOperation, Registry
from ptybridge.core.policy import Policy
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Denied, SessionNotFound
from ptybridge.model import Caller

audit = logging.getLogger("ptybridge.audit")


class Admissions:
    """Asked by the dispatcher before each call."""

    def __init__(self, policy: Policy, registry: Registry, sessions: Sessions) -> None:
        named = {one.name: policy.admission(one.name, judged=takes_confirmation(one)) for one in registry}
        # Most operations are in no rule, and cost nothing.
        self._named = {name: admission for name, admission in named.items() if admission}
        self._sessions = sessions

    def check(self, caller: Caller, operation: AnyOperation, params: msgspec.Struct) -> None:
        """Raise `Denied` when a rule refuses the operation to this caller, on this session."""
        admission = self._named.get(operation.name)
        if admission is None:
            return
        rule = admission.refused_by(caller.profile, self._owner(params))
        if rule is None:
            return
        session_id = getattr(params, "session_id", "-")
        audit.info(
            "policy: deny by rule %s: %s by %s (%s), session %s",
            rule, operation.name, caller.principal, caller.connection_id, session_id,
        )  # fmt: skip
        raise Denied(f"the policy's rule {rule} does not allow {operation.name}", rule=rule)

    def _owner(self, params: msgspec.Struct) -> str | None:
        """Return whose session it is about: the one that is named, or the one that is to be made."""
        session_id = getattr(params, "session_id", None)
        if session_id is None:
            owner: str | None = getattr(params, "owner", None)
            return owner
        try:
            return self._sessions.get(session_id).labels.owner
        except SessionNotFound:
            return None  # which the operation will say
