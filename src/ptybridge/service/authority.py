"""The one place that answers: may this caller do this to this session?

Two things are looked at. The session's access level says what may be done to it at all; whoever created it may always
close and change it, so that no level makes a session untouchable. A lease says who may write; only its holder may do
what changes something, until it is released or taken over. What a principal may do at all (scopes) the dispatcher
has checked before, and so which sessions a key is for.
"""

from typing import Any, Final

from ptybridge.core.leases import Holder
from ptybridge.core.session import Session
from ptybridge.errors import Denied, LimitReached, SessionNotFound
from ptybridge.model import Access, Caller

# What a key for some sessions may call besides operations on them; those that list or follow leave the others out.
WITHOUT_SESSION: Final = frozenset(
    {"session.list", "event.follow", "node.health", "node.whoami", "rpc.discover", "rpc.cancel", "share.join"}
)
# The access level that a session must have for what is done to it, where any is needed; handlers ask `require` for the
# same, which a test compares.
NEEDED: Final[dict[str, Access]] = {
    **dict.fromkeys(("session.write", "session.send_keys", "session.paste", "session.prompt"), "read-write"),
    **dict.fromkeys(("session.resize", "command.run", "secret.request", "app.request"), "read-write"),
    **dict.fromkeys(("session.signal", "session.close", "session.kick"), "control"),
    "session.update": "admin",
}
# What the session's creator may do whatever its level.
AS_CREATOR: Final = frozenset({"session.close", "session.kick", "session.update"})
_ORDER: tuple[Access, ...] = ("read-only", "read-write", "control", "admin")


def client_of(caller: Caller, client_id: str | None = None) -> Holder:
    """Return who acts: the name given with the call, else the client's own, else the connection."""
    return Holder(caller.principal, client_id or caller.client_id or caller.connection_id)


def may(caller: Caller, scope: str) -> bool:
    """Tell whether the caller has a scope."""
    return "*" in caller.scopes or scope in caller.scopes


def sees(caller: Caller, session_id: str | None) -> bool:
    """Tell whether the caller may know of a session at all."""
    return caller.session_ids is None or session_id in caller.session_ids


def refused_by(access: Access) -> list[str]:
    """Return the operations that a session of this access level refuses to everybody but, maybe, its creator."""
    return sorted(name for name, needed in NEEDED.items() if _ORDER.index(access) < _ORDER.index(needed))


def require_visible(caller: Caller, operation: str, params: Any) -> None:
    """Keep a caller to the sessions it is for. Raises `Denied`, or `SessionNotFound` for others: it is not told."""
    session_id = getattr(params, "session_id", None)
    if session_id is None and operation not in WITHOUT_SESSION:
        raise Denied(f"{operation} is not for a key that is limited to sessions")
    if session_id is not None and not sees(caller, session_id):
        raise SessionNotFound(f"there is no session {session_id!r}")


def has_access(session: Session, needed: Access) -> bool:
    """Tell whether the session's access level is at least `needed`."""
    return _ORDER.index(session.labels.access) >= _ORDER.index(needed)


def over_the_web(caller: Caller) -> bool:
    """Tell whether the caller has shown a key or login, or a proxy has named it: that is, came over HTTP."""
    return caller.grant_id is not None or caller.principal.startswith("proxy:")


def is_creator(caller: Caller, session: Session) -> bool:
    """Tell whether this principal has created the session."""
    return session.created_by == caller.principal


def require_room(caller: Caller, session: Session) -> None:
    """Raise `LimitReached` when no more clients may be on the session; its creator always may."""
    most = session.limits.max_clients
    if most is not None and session.clients >= most and not is_creator(caller, session):
        raise LimitReached(
            f"{most} clients are on session {session.session_id}, which is the limit", retry_after_ms=5000
        )


def may_take_over(caller: Caller, session: Session) -> bool:
    """Tell whether the caller may take the session's lease from its holder."""
    admin = bool({"*", "session:admin"} & caller.scopes)
    return admin or is_creator(caller, session) or session.lease.holder_gone


def require(
    caller: Caller, session: Session, needed: Access, *, client_id: str | None = None, writing: bool = False
) -> None:
    """Raise `Denied` when the session's access level is below `needed`.

    `writing`: this changes something, so raise `LeaseHeld` while another client has the lease. The holder's
    connection counts as a sign that it is there.
    """
    if not has_access(session, needed):
        raise Denied(
            f"session {session.session_id} is {session.labels.access}; this needs {needed}",
            hint="`session.update` can change a session's access",
        )
    if writing:
        _require_lease(caller, session, client_id)


def require_command(caller: Caller, session: Session, needed: Access, *, client_id: str | None = None) -> None:
    """As `require` with `writing`, for closing and changing a session as a whole: its creator needs no access level."""
    require(
        caller,
        session,
        "read-only" if is_creator(caller, session) else needed,
        client_id=client_id,
        writing=True,
    )


def _require_lease(caller: Caller, session: Session, client_id: str | None) -> None:
    lease, client = session.lease, client_of(caller, client_id)
    if lease.holder is None:
        return
    if lease.holder != client:
        raise lease.refusal(session.session_id)
    lease.presence.seen(client, caller.connection_id)
