"""pty-mcp's tools that act on a session: pty_write, pty_resize, pty_close, pty_signal."""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from ptybridge.api import session as api
from ptybridge.api import terminal
from ptybridge.api.operation import Operation
from ptybridge.errors import RateLimited
from ptybridge.mcp.compat_common import OK, Answered, AsClient, ConfirmToken, Ok, as_json, connection, exit_code
from ptybridge.mcp.compat_lease import held_session
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.model import Cols, Rows

# pty-mcp gives a program one second between its signals.
CLOSE_GRACE_MS: Final = 1000
SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", "SIGQUIT")
R = TypeVar("R", bound=msgspec.Struct)


class Write(AsClient, kw_only=True):
    """Parameters of pty_write."""

    data: Annotated[str, msgspec.Meta(description=r"what to type; \n or \r presses Enter, \u0003 is Ctrl-C")]
    confirm_token: ConfirmToken | None = None


class Resize(AsClient, kw_only=True):
    """Parameters of pty_resize."""

    cols: Cols
    rows: Rows


class Signal(AsClient, kw_only=True):
    """Parameters of pty_signal."""

    sig: Annotated[str, msgspec.Meta(description="SIGINT, SIGTERM, SIGKILL, SIGHUP or SIGQUIT, with or without SIG")]


class Written(Ok, kw_only=True):
    """All of the input was accepted."""

    accepted_bytes: int


class Ended(Ok, kw_only=True):
    """The session is forgotten; `survivors` are processes of it that even SIGKILL could not end."""

    survivors: list[int] = []


class Signalled(Answered, kw_only=True):
    """Whether the signal was sent; of a session that has exited already, how. What does not apply is left out."""

    ok: bool
    note: Literal["already exited"] | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    exit_code: int | msgspec.UnsetType | None = msgspec.UNSET


async def refusing(ctx: Context, info: api.SessionInfo, size: int, operation: Operation[Any, R], **params: object) -> R:
    """Call an operation that writes, and count what a rate limit refuses."""
    try:
        return await ctx.call(operation, **params)
    except RateLimited:
        refused = connection(ctx).refused_input
        refused[info.session_id] = refused.get(info.session_id, 0) + size
        raise


async def write(ctx: Context, params: Write) -> Answer:
    """Type."""
    info = await held_session(ctx, params)
    size = len(params.data.encode())
    done = await refusing(
        ctx,
        info,
        size,
        terminal.WRITE,
        session_id=info.session_id,
        data=params.data,
        client_id=params.client_id,
        confirm_token=params.confirm_token or None,
    )
    return Answer("ok", {"ok": True, "accepted_bytes": done.accepted_bytes})


async def resize(ctx: Context, params: Resize) -> Answer:
    """Set the size."""
    info = await held_session(ctx, params)
    await ctx.call(
        api.RESIZE, session_id=info.session_id, cols=params.cols, rows=params.rows, client_id=params.client_id
    )
    return OK


async def close(ctx: Context, params: AsClient) -> Answer:
    """End and forget."""
    info = await held_session(ctx, params)
    closed = await close_one(ctx, info, client_id=params.client_id)
    survivors = [*closed.survivors, *closed.escaped]
    if not survivors:
        return Answer("ok", {"ok": True, "survivors": []})
    text = f"ok, but these processes could not be ended: {', '.join(map(str, survivors))}"
    return Answer(text, {"ok": True, "survivors": survivors})


async def close_one(ctx: Context, info: api.SessionInfo, **more: object) -> api.ClosedResult:
    """Close a session and remember what it has moved."""
    closed = await ctx.call(api.CLOSE, session_id=info.session_id, grace_ms=CLOSE_GRACE_MS, **more)
    here = connection(ctx)
    here.closed_bytes = (here.closed_bytes[0] + closed.end_offset, here.closed_bytes[1] + info.bytes_written)
    here.forget(info.session_id)
    return closed


async def signal(ctx: Context, params: Signal) -> Answer:
    """Send a signal."""
    info = await held_session(ctx, params)
    name = "SIG" + params.sig.strip().upper().removeprefix("SIG")
    if name not in SIGNALS:
        return as_json(Signalled(ok=False, error=f"unsupported signal {params.sig[:40]!r}; use {', '.join(SIGNALS)}"))
    if info.state == "exited":
        return as_json(Signalled(ok=True, note="already exited", exit_code=exit_code(info)))
    await ctx.call(api.SIGNAL, session_id=info.session_id, signal=name, target="session", client_id=params.client_id)
    return as_json(Signalled(ok=True))


TOOLS: Final = (
    Tool(
        "pty_write",
        r"Type into a session, as at a keyboard: \n presses Enter, \u0003 is Ctrl-C, \u0004 Ctrl-D. It is accepted "
        "whole or refused with the reason. It does not wait for an answer: follow with pty_wait_for or pty_read_until.",
        Write,
        Written,
        Hints("Type into a session", destructive=True, open_world=True),
        "core",
        write,
        for_agents=True,
    ),
    Tool(
        "pty_resize",
        "Set the size of a session's terminal.",
        Resize,
        Ok,
        Hints("Resize the terminal", idempotent=True),
        "core",
        resize,
    ),
    Tool(
        "pty_close",
        "End a session's processes (hang-up, terminate, kill), also those in the background and detached by setsid, "
        "and forget it with its output. A session that has exited by itself need not be closed.",
        AsClient,
        Ended,
        Hints("Close a session", destructive=True),
        "core",
        close,
        for_agents=True,
    ),
    Tool(
        "pty_signal",
        "Send SIGINT, SIGTERM, SIGKILL, SIGHUP or SIGQUIT to all processes of a session. The session needs the scope "
        r"control. To press Ctrl-C, write \u0003 instead.",
        Signal,
        Signalled,
        Hints("Signal a session", destructive=True),
        "control",
        signal,
    ),
)
