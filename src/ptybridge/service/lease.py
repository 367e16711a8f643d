"""Handlers of leases: taking, giving back, handing over, taking over; told to everybody and written down."""

import logging

from ptybridge.api import lease as api
from ptybridge.core import leases
from ptybridge.core.eventlog import now_ms
from ptybridge.core.leases import Holder, Members
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.errors import Denied, InvalidParams
from ptybridge.model import Caller, LeaseChanged
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles
from ptybridge.service.facts import lease_info
from ptybridge.text import printable

audit = logging.getLogger("ptybridge.audit")


class LeaseService:
    """`lease.*`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @handles(api.GET)
    def get(self, caller: Caller, params: api.GetLease) -> api.LeaseInfo:
        """Tell about it."""
        return lease_info(self._sessions, self._sessions.get(params.session_id))

    @handles(api.ACQUIRE)
    def acquire(self, caller: Caller, params: api.Acquire) -> api.LeaseChange:
        """Take a free one."""
        session, members, client = self._begin(caller, params.session_id, params.client_id)
        changed = leases.acquire(session.session_id, members, client, now_ms())
        session.lease.presence.seen(client, caller.connection_id)
        return self._changed(session, changed)

    @handles(api.RELEASE)
    def release(self, caller: Caller, params: api.Release) -> api.LeaseChange:
        """Give it back."""
        session, members, client = self._begin(caller, params.session_id, params.client_id)
        return self._changed(session, leases.release(session.session_id, members, client, now_ms()))

    @handles(api.HANDOFF)
    def handoff(self, caller: Caller, params: api.Handoff) -> api.LeaseChange:
        """Give it to another client."""
        session, members, client = self._begin(caller, params.session_id, params.client_id)
        _require_all_visible(caller, members)
        target = Holder(caller.principal, params.target_client_id)
        if target == client:
            raise InvalidParams("target_client_id is the client that hands over", hint="name another client")
        reason = _reason(params.reason)
        changed = leases.transfer(session.session_id, members, "handoff", client, target, reason, now_ms())
        session.lease.presence.seen(client, caller.connection_id)
        return self._changed(session, changed)

    @handles(api.TAKEOVER)
    def takeover(self, caller: Caller, params: api.Takeover) -> api.LeaseChange:
        """Take it from another client."""
        session, members, client = self._begin(caller, params.session_id, params.client_id)
        _require_all_visible(caller, members)
        reason = _reason(params.reason)
        holder = session.lease.holder
        if holder is not None and holder != client:
            if holder.client_id != params.from_client_id:
                raise session.lease.refusal(session.session_id)
            if not all(authority.may_take_over(caller, self._sessions.get(one)) for one in leases.leased(members)):
                raise Denied(
                    f"the lease of session {session.session_id} can be taken over by its creator, or with the scope "
                    "session:admin, or once its holder is gone"
                )
        changed = leases.transfer(session.session_id, members, "takeover", holder or client, client, reason, now_ms())
        session.lease.presence.seen(client, caller.connection_id)
        return self._changed(session, changed)

    # -- inside ---------------------------------------------------------------------------------------------

    def _begin(self, caller: Caller, session_id: str, client_id: str | None) -> tuple[Session, Members, Holder]:
        session = self._sessions.get(session_id)
        client = authority.client_of(caller, client_id)
        return session, {one.session_id: one.lease for one in self._sessions.workspace_of(session)}, client

    def _changed(self, session: Session, affected: list[str]) -> api.LeaseChange:
        for session_id in affected:
            member = self._sessions.get(session_id)
            last = member.lease.last
            assert last is not None
            member.saver.record()
            self._sessions.events.publish(
                LeaseChanged,
                session_id,
                event=last.event,
                from_client_id=last.from_client_id,
                to_client_id=last.to_client_id,
                reason=last.reason,
                affected_session_ids=affected,
            )
            audit.info(
                "lease of %s: %s from %r to %r, reason %r",
                session_id, last.event, last.from_client_id, last.to_client_id, last.reason,
            )  # fmt: skip
            member.nudge()
        return api.LeaseChange(
            lease=lease_info(self._sessions, session), changed=bool(affected), affected_session_ids=affected
        )


def _require_all_visible(caller: Caller, members: Members) -> None:
    """The leases of a workspace move together: who may not see all of its leased sessions must not move them."""
    if not all(authority.sees(caller, one) for one in leases.leased(members)):
        raise Denied("the lease of this workspace is for more sessions than this key", hint="use a key for all of them")


def _reason(reason: str) -> str:
    if not reason.strip():
        raise InvalidParams("the reason is blank", hint="say why; others will read it")
    return printable(reason.strip(), 500)
