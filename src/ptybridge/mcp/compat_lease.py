"""pty-mcp's attachment, which is the lease: pty_attach, pty_detach, pty_handoff, pty_takeover, and who may do what."""

from typing import Annotated, Any, Final

import msgspec

from ptybridge.api import lease as api
from ptybridge.api import session
from ptybridge.api.operation import Operation
from ptybridge.errors import InvalidParams, LeaseHeld
from ptybridge.mcp.compat_common import AsClient, ClientId, OnSession, as_json, connection, session_of
from ptybridge.mcp.compat_facts import Status, status
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool

_HELD: Final = (
    "if that is you, give it as client_id; else wait until it is free (pty_status shows who has it) or ask your user, "
    "who may be typing there; pty_read_at, pty_status and pty_wait are open to all. pty_takeover is for when that "
    "client is gone, or your user wants it"
)
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, description="why; others will read it")]


class Attach(OnSession, kw_only=True):
    """Parameters of pty_attach and pty_detach."""

    client_id: ClientId


class Handoff(Attach, kw_only=True):
    """Parameters of pty_handoff."""

    target_client_id: ClientId
    reason: Reason


class Takeover(Attach, kw_only=True):
    """Parameters of pty_takeover."""

    from_client_id: Annotated[ClientId, msgspec.Meta(description="who is attached now")]
    reason: Reason


class Attached(Status, kw_only=True):
    """The session, and whether this changed anything."""

    attach_changed: bool


class Detached(Status, kw_only=True):
    """The session, and whether this changed anything."""

    detach_changed: bool


class HandedOver(Status, kw_only=True):
    """The session, whether this changed anything, and the sessions of the workspace that went with it."""

    handoff_changed: bool
    affected_session_ids: list[str]
    affected_session_count: int


class TakenOver(Status, kw_only=True):
    """The session, whether this changed anything, and the sessions of the workspace that came with it."""

    takeover_changed: bool
    affected_session_ids: list[str]
    affected_session_count: int


async def held_session(ctx: Context, params: AsClient) -> session.SessionInfo:
    """Return the session for a tool that only who is attached may use. Raises `LeaseHeld`."""
    info = await session_of(ctx, params)
    holder = info.lease.client_id if info.lease is not None else None
    if holder is not None and holder != params.client_id:
        gone = ", but is not connected any more" if info.lease is not None and info.lease.holder_gone else ""
        raise LeaseHeld(f"{holder!r} is attached to session {info.session_id}{gone}", hint=_HELD, client_id=holder)
    return info


async def _change(ctx: Context, operation: Operation[Any, api.LeaseChange], **params: object) -> api.LeaseChange:
    """Call an operation on the lease; a refusal names tools, not commands of a shell."""
    try:
        return await ctx.call(operation, **params)
    except LeaseHeld as exc:
        raise LeaseHeld(exc.message, hint=_HELD, **exc.data) from exc


async def attach(ctx: Context, params: Attach) -> Answer:
    """Take the lease."""
    info = await session_of(ctx, params)
    done = await _change(ctx, api.ACQUIRE, session_id=info.session_id, client_id=params.client_id)
    connection(ctx).take_on(info.session_id, params.client_id)
    return as_json(Attached(**await _facts(ctx, info), attach_changed=done.changed))


async def detach(ctx: Context, params: Attach) -> Answer:
    """Give the lease back."""
    info = await session_of(ctx, params)
    done = await _change(ctx, api.RELEASE, session_id=info.session_id, client_id=params.client_id)
    return as_json(Detached(**await _facts(ctx, info), detach_changed=done.changed))


async def handoff(ctx: Context, params: Handoff) -> Answer:
    """Give the lease to another client."""
    if params.target_client_id == params.client_id:
        raise InvalidParams("target_client_id is client_id itself", hint="name the client to hand over to")
    info = await session_of(ctx, params)
    done = await _change(
        ctx,
        api.HANDOFF,
        session_id=info.session_id,
        client_id=params.client_id,
        target_client_id=params.target_client_id,
        reason=params.reason,
    )
    return as_json(HandedOver(**await _moved(ctx, info, done, params.target_client_id), handoff_changed=done.changed))


async def takeover(ctx: Context, params: Takeover) -> Answer:
    """Take the lease from another client."""
    info = await session_of(ctx, params)
    done = await _change(
        ctx,
        api.TAKEOVER,
        session_id=info.session_id,
        client_id=params.client_id,
        from_client_id=params.from_client_id,
        reason=params.reason,
    )
    return as_json(TakenOver(**await _moved(ctx, info, done, params.client_id), takeover_changed=done.changed))


async def _moved(ctx: Context, info: session.SessionInfo, done: api.LeaseChange, client_id: str) -> dict[str, Any]:
    """Note who has the lease of which sessions now, and return what the two tools that move leases say alike."""
    for session_id in done.affected_session_ids:
        connection(ctx).take_on(session_id, client_id)
    return {
        **await _facts(ctx, info),
        "affected_session_ids": done.affected_session_ids,
        "affected_session_count": len(done.affected_session_ids),
    }


async def _facts(ctx: Context, info: session.SessionInfo) -> dict[str, Any]:
    now = await ctx.call(session.GET, session_id=info.session_id)
    return msgspec.structs.asdict(status(ctx, now))


TOOLS: Final = (
    Tool(
        "pty_attach",
        "Attach to a session under a name of your choice: until you detach only that client_id may read on, type, "
        "resize, signal or close it. Use it when several agents or people share a session. Twice does no harm.",
        Attach,
        Attached,
        Hints("Attach to a session", idempotent=True),
        "core",
        attach,
    ),
    Tool(
        "pty_detach",
        "Detach from a session you are attached to; it goes on, and everybody may use it again.",
        Attach,
        Detached,
        Hints("Detach from a session", idempotent=True),
        "core",
        detach,
    ),
    Tool(
        "pty_handoff",
        "Hand a session you are attached to over to another client, with all attached sessions of its workspace. "
        "The reason is kept for others to read.",
        Handoff,
        HandedOver,
        Hints("Hand a session over"),
        "core",
        handoff,
    ),
    Tool(
        "pty_takeover",
        "Take a session over from the client that is attached to it, with all attached sessions of its workspace. "
        "Ask first, unless that client is gone. The reason is kept for others to read.",
        Takeover,
        TakenOver,
        Hints("Take a session over", destructive=True),
        "core",
        takeover,
    ),
)
