"""Handlers of approvals: who may see and answer which, and waiting for the answer."""

from ptybridge.api import approval as api
from ptybridge.api.policy import DangerMatch
from ptybridge.core.ancestry import Child, agents_session
from ptybridge.core.approvals import Approval, Approvals
from ptybridge.core.sessions import Sessions
from ptybridge.errors import ApprovalNotFound, Denied
from ptybridge.model import Caller
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.text import printable

HINT = "answer from a terminal of your own with `ptybridge approvals`, outside of any agent's session"


class ApprovalService:
    """`approval.*`."""

    def __init__(self, approvals: Approvals, sessions: Sessions) -> None:
        self._approvals = approvals
        self._sessions = sessions

    @handles(api.LIST)
    def list(self, caller: Caller, params: api.ListApprovals) -> api.ApprovalList:
        """List them, as far as the caller may see them."""
        found = self._approvals.all() if params.all else self._approvals.pending()
        person = self._not_a_person(caller) is None
        return api.ApprovalList(
            approvals=[
                _info(one, with_command=person, decidable=person and _may_decide(caller, one))
                for one in found
                if person or _asked_by(caller, one)
            ]
        )

    @handles(api.DECIDE)
    def decide(self, caller: Caller, params: api.Decide) -> api.ApprovalInfo:
        """Answer one."""
        why = self._not_a_person(caller)
        if why is not None:
            raise Denied(f"an approval is a human's to decide: {why}", hint=HINT)
        one = self._approvals.get(params.approval_id)
        if one.connection_id == caller.connection_id:
            raise Denied("whoever asked cannot answer", hint=HINT)
        by = (
            caller.principal if caller.client_id is None else f"{caller.principal} ({printable(caller.client_id, 128)})"
        )
        reason = printable(params.reason.strip(), 500) if params.reason else None
        decided = self._approvals.decide(params.approval_id, allow=params.allow, by=by, reason=reason or None)
        return _info(decided, with_command=True, decidable=False)

    @handles(api.WAIT)
    async def wait(self, caller: Caller, params: api.WaitApproval) -> api.ApprovalAnswer:
        """Wait for the answer to one."""
        one = self._approvals.get(params.approval_id)
        asker = (caller.principal, caller.profile) == (one.action.principal, one.action.profile)
        if not asker and caller.profile is not None:
            raise ApprovalNotFound(f"there is no approval {params.approval_id[:64]!r} of yours")
        await self._approvals.wait(params.approval_id, params.timeout_ms / 1000)
        token = self._approvals.fetch(one) if asker else None
        return api.ApprovalAnswer(
            approval_id=one.approval_id,
            reason="timeout" if one.state == "pending" else one.state,
            message=one.reason,
            decided_by=one.decided_by,
            confirm_token=token.token if token is not None else None,
            token_expires_at_ms=token.expires_at_ms if token is not None else None,
        )

    def _not_a_person(self, caller: Caller) -> str | None:
        """Return why the caller is taken for an agent, or something an agent has started; None if nothing says so."""
        if caller.profile is not None:
            return f"this client is an agent (profile {caller.profile!r})"
        if caller.pid is None:
            return None
        children = [
            Child(one.session_id, one.child.pid, one.state == "running", one.labels.profile)
            for one in self._sessions.all()
        ]
        return agents_session(caller.pid, children)


def _asked_by(caller: Caller, one: Approval) -> bool:
    return one.action.principal == caller.principal and one.connection_id == caller.connection_id


def _may_decide(caller: Caller, one: Approval) -> bool:
    """Tell whether a person may answer this."""
    return (
        one.state == "pending"
        and one.connection_id != caller.connection_id
        and authority.may(caller, api.DECIDE.scope)
        and authority.sees(caller, one.session_id)
    )


def _info(one: Approval, *, with_command: bool, decidable: bool) -> api.ApprovalInfo:
    return api.ApprovalInfo(
        approval_id=one.approval_id,
        state=one.state,
        operation=one.action.operation,
        command=one.command if with_command and one.state == "pending" else None,
        justification=one.justification if with_command and one.state == "pending" else None,
        rule=one.rule,
        matches=[DangerMatch(rule=match.rule, reason=match.reason) for match in one.matches],
        principal=one.action.principal,
        profile=one.action.profile,
        client_id=one.client_id,
        session_id=one.session_id,
        owner=one.action.owner,
        cwd=one.action.cwd,
        asked_at_ms=one.asked_at_ms,
        expires_at_ms=one.expires_at_ms,
        decided_at_ms=one.decided_at_ms,
        decided_by=one.decided_by,
        reason=one.reason,
        decidable=decidable,
    )
