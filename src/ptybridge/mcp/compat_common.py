"""What pty-mcp's tools share: their parameters' types, who may use a session, and how facts become its JSON."""

import time
from typing import Annotated, Any, Final

import msgspec

from ptybridge.api import session as api
from ptybridge.errors import Denied, InvalidParams, SessionNotFound
from ptybridge.mcp.connection import Connection
from ptybridge.mcp.toolset import Answer, Context


class Arguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the tools' parameters."""


class Answered(msgspec.Struct, kw_only=True):
    """Base of the tools' structured answers."""


SessionId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="id of the session, from pty_spawn")]
Owner = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, description="the session's owner; needed if it has one")
]
ClientId = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=128, description="your name; needed while a client of that name is attached"),
]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
MaxChars = Annotated[int, msgspec.Meta(ge=1, le=16 << 20, description="at most so many characters (default 8000)")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]

# pty-mcp's words for how a session ended. Ours tell "killed by session.signal" from "by somebody else's signal".
EXIT_REASONS: Final[dict[str | None, str | None]] = {
    None: None,
    "exited": "exited",
    "killed": "signaled",
    "signaled": "killed",
    "timeout": "timeout",
    "idle": "timeout",
    "closed": "killed",
    "lost": "killed",
}
PTY: Final = "pty"


ConfirmToken = Annotated[
    str,
    msgspec.Meta(max_length=128, description="from confirm_dangerous_command, if the call was refused as dangerous"),
]
Justification = Annotated[str, msgspec.Meta(max_length=4096)]


class OnSession(Arguments, kw_only=True):
    """Parameters of a tool that works on one session."""

    session_id: SessionId
    owner: Owner | None = None


class AsClient(OnSession, kw_only=True):
    """Parameters of a tool that needs the lease while there is one."""

    client_id: ClientId | None = None


def connection(ctx: Context) -> Connection:
    """Return what belongs to this connection."""
    found = ctx.settings
    assert isinstance(found, Connection)
    return found


async def session_of(ctx: Context, params: OnSession) -> api.SessionInfo:
    """Return the session a tool is about. Raises `SessionNotFound`, or `Denied` when its owner was not given."""
    try:
        info = await ctx.call(api.GET, session_id=params.session_id, detailed=False)
    except SessionNotFound as exc:
        raise SessionNotFound(exc.message, hint="pty_list shows your sessions, running and exited") from exc
    if info.owner is not None and info.owner != (params.owner or connection(ctx).own_owner):
        said = "the owner given is not its owner" if params.owner else "it has an owner"
        raise Denied(f"session {info.session_id}: {said}", hint="give the `owner` it was spawned with")
    return info


def required_owner(ctx: Context, owner: str | None) -> str | None:
    """Return the owner; raise `InvalidParams` when there must be one and is none."""
    if owner is None and connection(ctx).settings.require_owner:
        if connection(ctx).owner_optional:
            return connection(ctx).own_owner
        raise InvalidParams(
            "owner is required", hint="give an `owner`, a name for you or your task, and use the same one later"
        )
    return owner


def to_json(value: object) -> str:
    """Return the text of a JSON answer."""
    return msgspec.json.encode(value).decode()


def as_json(value: msgspec.Struct) -> Answer:
    """Return an answer whose text is the JSON of its values."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return Answer(to_json(plain), plain)


class Ok(Answered, kw_only=True):
    """It is done."""

    ok: bool = True


OK: Final = Answer("ok", {"ok": True})


def stamp(milliseconds: int | None) -> float | None:
    """Return a time in seconds since the epoch, as pty-mcp gives it."""
    return None if milliseconds is None else milliseconds / 1000


def now() -> float:
    """Return the present time in seconds since the epoch."""
    return round(time.time(), 3)


def exit_code(info: api.SessionInfo) -> int | None:
    """Return the exit code; of a death by signal, minus its number."""
    if info.exit_signal is None:
        return info.exit_code
    import signal

    try:
        return -signal.Signals[info.exit_signal].value
    except KeyError:
        return -128  # a real-time signal without a name
