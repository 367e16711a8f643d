"""Operations on leases: the exclusive right to write to a session."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import ClientId, Effect, Params, Result, SessionId, declare
from ptybridge.errors import Conflict, Denied, LeaseHeld, SessionNotFound

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
LEASE_ERRORS = (SessionNotFound, LeaseHeld)


class LeaseTransfer(Result):
    """The last thing that happened to a lease."""

    at_ms: int
    event: Literal["acquire", "release", "handoff", "takeover"]
    from_client_id: str | None
    to_client_id: str | None
    reason: str | None


class LeaseInfo(Result):
    """Who may write to a session. Without `client_id` nobody holds the lease, and every writer may.

    `holder_gone`: none of the holder's connections is left, so that anybody may take over. `attached_at_ms` is when
    the lease was last acquired, `detached_at_ms` when it was given back. `workspace_*`: of all leased sessions of the
    same workspace and owner.
    """

    session_id: str
    client_id: str | None
    principal: str | None
    holder_gone: bool
    attached_at_ms: int | None
    detached_at_ms: int | None
    last: LeaseTransfer | None
    workspace: str | None
    workspace_client_id: str | None
    workspace_session_ids: list[str]


class LeaseChange(Result):
    """The lease as it is now, whether the call changed it, and the sessions whose lease changed with it."""

    lease: LeaseInfo
    changed: bool
    affected_session_ids: list[str]


class GetLease(Params):
    """Tell who holds a session's lease, and what became of it last."""

    session_id: SessionId


class Acquire(Params):
    """Take the exclusive right to write to a session; without effect for who has it.

    All other attachments watch until it is released. Refused while another client holds it, or that of another
    session of the workspace. `client_id` defaults to the connection; it counts for this principal only.
    """

    session_id: SessionId
    client_id: ClientId | None = None


class Release(Params):
    """Give the lease back; every writer may write again."""

    session_id: SessionId
    client_id: ClientId | None = None


class Handoff(Params):
    """Give the lease to another client of the same principal, with those of all leased sessions of the workspace."""

    session_id: SessionId
    target_client_id: ClientId
    reason: Reason
    client_id: ClientId | None = None


class Takeover(Params):
    """Take the lease from another client, with those of all leased sessions of the workspace.

    Allowed to the session's creator, with the scope session:admin, and to everybody once the holder is gone.
    `from_client_id` must be the holder, so that nobody takes from whom they did not mean.
    """

    session_id: SessionId
    from_client_id: ClientId
    reason: Reason
    client_id: ClientId | None = None


GET: Final = declare(
    "lease.get",
    GetLease,
    LeaseInfo,
    scope="lease:read",
    effect=Effect.READS,
    since="0.1",
    errors=(SessionNotFound,),
    http="GET /v1/sessions/{session_id}/lease",
)
ACQUIRE: Final = declare(
    "lease.acquire",
    Acquire,
    LeaseChange,
    scope="lease:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=LEASE_ERRORS,
    http="POST /v1/sessions/{session_id}/lease",
)
RELEASE: Final = declare(
    "lease.release",
    Release,
    LeaseChange,
    scope="lease:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=LEASE_ERRORS,
    http="DELETE /v1/sessions/{session_id}/lease",
)
HANDOFF: Final = declare(
    "lease.handoff",
    Handoff,
    LeaseChange,
    scope="lease:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*LEASE_ERRORS, Conflict),
    http="POST /v1/sessions/{session_id}/lease/handoff",
)
TAKEOVER: Final = declare(
    "lease.takeover",
    Takeover,
    LeaseChange,
    scope="lease:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*LEASE_ERRORS, Conflict, Denied),
    http="POST /v1/sessions/{session_id}/lease/takeover",
)
