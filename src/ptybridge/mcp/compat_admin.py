"""pty-mcp's tools for whoever runs it: limits, default directory, figures, closing everything. Switched off by default.

They concern sessions that were made through MCP, never those of people.
"""

from typing import Annotated, Final

import msgspec
import trio

from ptybridge.api import session as api
from ptybridge.errors import Denied, LeaseHeld, NotFound
from ptybridge.mcp.compat_common import Answered, Arguments, Milliseconds, as_json, connection
from ptybridge.mcp.compat_write import close_one
from ptybridge.mcp.connection import resolved
from ptybridge.mcp.settings import RingBytes, Seconds, ring_bytes
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool

Rate = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class Nothing(Arguments, kw_only=True):
    """No parameters."""


class SetCwd(Arguments, kw_only=True):
    """Parameters of set_default_cwd."""

    cwd: Annotated[str | None, msgspec.Meta(description="a directory; null clears it")] = None


class Cwd(Answered, kw_only=True):
    """The directory where sessions start that are not told where."""

    cwd: str | None


class CwdSet(Cwd, kw_only=True):
    """It is set."""

    ok: bool = True


class SetLimits(Arguments, kw_only=True):
    """Parameters of set_limits; what is left out stays, 0 switches a limit off."""

    max_output_bytes: RingBytes | None = None
    spawn_timeout_sec: Seconds | None = None
    idle_timeout_sec: Seconds | None = None
    read_timeout_ms: Milliseconds | None = None
    rate_limit_bps: Rate | None = None
    input_rate_bps: Rate | None = None


class Limits(Answered, kw_only=True):
    """The limits of new sessions. `not_applied`: live ones that somebody else has, or whose transcript has its size."""

    max_output_bytes: int
    spawn_timeout_sec: float
    idle_timeout_sec: float
    read_timeout_ms: int
    rate_limit_bps: int
    input_rate_bps: int
    not_applied: list[str] = []


class Closed(Answered, kw_only=True):
    """What was closed; what somebody is attached to was not."""

    ok: bool
    closed: list[str]
    skipped: list[str]


class Metrics(Answered, kw_only=True):
    """Figures about the sessions made through MCP; the totals include those that were closed on this connection."""

    uptime_sec: float
    session_count: int
    running_count: int
    max_sessions: int
    bytes_read_total: int
    bytes_written_total: int
    rate_dropped_total: int
    input_dropped_total: int
    truncated_sessions: int


class Health(Answered, kw_only=True):
    """It works."""

    ok: bool
    uptime_sec: float
    session_count: int
    max_sessions: int


async def _sessions(ctx: Context) -> list[api.SessionInfo]:
    return (await ctx.call(api.LIST, profile=ctx.caller.profile)).sessions


async def close_all(ctx: Context, params: Nothing) -> Answer:
    """Close all sessions made through MCP."""
    closed: list[str] = []
    skipped: list[str] = []

    async def close(info: api.SessionInfo) -> None:
        try:
            await close_one(ctx, info)
        except NotFound:
            closed.append(info.session_id)  # by somebody else, at the same time
        except (LeaseHeld, Denied):
            skipped.append(info.session_id)
        else:
            closed.append(info.session_id)

    async with trio.open_nursery() as nursery:
        for one in await _sessions(ctx):
            nursery.start_soon(close, one)
    values = msgspec.to_builtins(Closed(ok=True, closed=closed, skipped=skipped))
    text = "ok" if not skipped else f"ok, but somebody is attached to {', '.join(skipped)}, which were not closed"
    return Answer(text, values)


async def set_default_cwd(ctx: Context, params: SetCwd) -> Answer:
    """Set or clear the default directory."""
    await trio.lowlevel.checkpoint()
    here = connection(ctx)
    here.default_cwd = resolved(params.cwd, ctx.cwd, ctx.environ.get("HOME")) if params.cwd else None
    return as_json(CwdSet(cwd=here.default_cwd))


async def get_default_cwd(ctx: Context, params: Nothing) -> Answer:
    """Tell the default directory."""
    await trio.lowlevel.checkpoint()
    return as_json(Cwd(cwd=connection(ctx).default_cwd))


async def set_limits(ctx: Context, params: SetLimits) -> Answer:
    """Change limits, of living sessions, too."""
    settings = connection(ctx).settings
    changes: dict[str, object] = {}
    if params.max_output_bytes is not None:
        settings.ring_max_bytes = params.max_output_bytes
    if params.read_timeout_ms is not None:
        settings.read_timeout_ms = params.read_timeout_ms
    if params.spawn_timeout_sec is not None:
        settings.spawn_timeout_sec = params.spawn_timeout_sec
        changes["max_runtime_ms"] = int(params.spawn_timeout_sec * 1000) or None
    if params.idle_timeout_sec is not None:
        settings.idle_timeout_sec = params.idle_timeout_sec
        changes["idle_timeout_ms"] = settings.idle_timeout_ms
    if params.rate_limit_bps is not None:
        settings.output_rate_bps = params.rate_limit_bps
        changes["output_bytes_per_second"] = params.rate_limit_bps or None
    if params.input_rate_bps is not None:
        settings.input_rate_bps = params.input_rate_bps
        changes["input_bytes_per_second"] = params.input_rate_bps or None
    not_applied: list[str] = []
    for info in await _sessions(ctx):
        if info.state == "running":
            try:
                if changes:
                    await ctx.call(api.UPDATE, session_id=info.session_id, **changes)
            except (LeaseHeld, Denied):
                not_applied.append(info.session_id)
                continue
            # What is kept cannot grow or shrink while a program runs.
            if params.max_output_bytes is not None and ring_bytes(params.max_output_bytes) != info.max_output_bytes:
                not_applied.append(info.session_id)
    return _limits(ctx, not_applied)


async def get_limits(ctx: Context, params: Nothing) -> Answer:
    """Tell the limits."""
    await trio.lowlevel.checkpoint()
    return _limits(ctx, [])


def _limits(ctx: Context, not_applied: list[str]) -> Answer:
    settings = connection(ctx).settings
    return as_json(
        Limits(
            max_output_bytes=settings.ring_max_bytes,
            spawn_timeout_sec=settings.spawn_timeout_sec,
            idle_timeout_sec=settings.idle_timeout_sec,
            read_timeout_ms=settings.read_timeout_ms,
            rate_limit_bps=settings.output_rate_bps,
            input_rate_bps=settings.input_rate_bps,
            not_applied=not_applied,
        )
    )


async def metrics(ctx: Context, params: Nothing) -> Answer:
    """Tell figures."""
    here, sessions = connection(ctx), await _sessions(ctx)
    return as_json(
        Metrics(
            uptime_sec=round(here.uptime, 3),
            session_count=len(sessions),
            running_count=sum(one.state == "running" for one in sessions),
            max_sessions=here.settings.max_sessions,
            bytes_read_total=here.closed_bytes[0] + sum(one.bytes_read for one in sessions),
            bytes_written_total=here.closed_bytes[1] + sum(one.bytes_written for one in sessions),
            rate_dropped_total=0,  # output over its limit is delayed
            input_dropped_total=sum(here.refused_input.values()),
            truncated_sessions=sum(one.start_offset > 0 for one in sessions),
        )
    )


async def health(ctx: Context, params: Nothing) -> Answer:
    """Tell that it works."""
    here = connection(ctx)
    return as_json(
        Health(
            ok=True,
            uptime_sec=round(here.uptime, 3),
            session_count=len(await _sessions(ctx)),
            max_sessions=here.settings.max_sessions,
        )
    )


def _look(title: str) -> Hints:
    return Hints(title, read_only=True, idempotent=True)


TOOLS: Final = (
    Tool(
        "pty_close_all",
        "Close all sessions that were made through MCP, except those somebody is attached to; these are named.",
        Nothing,
        Closed,
        Hints("Close all sessions", destructive=True),
        "admin",
        close_all,
    ),
    Tool(
        "set_default_cwd",
        "Set the directory where pty_spawn starts programs when it is not told; null clears it.",
        SetCwd,
        CwdSet,
        Hints("Set the default directory", idempotent=True),
        "admin",
        set_default_cwd,
    ),
    Tool("get_default_cwd", "The directory set by set_default_cwd.", Nothing, Cwd, _look("Default directory"), "admin",
         get_default_cwd),
    Tool(
        "set_limits",
        "Change limits for new sessions and, except for max_output_bytes, for those that run; 0 switches a limit off.",
        SetLimits,
        Limits,
        Hints("Set limits", idempotent=True),
        "admin",
        set_limits,
    ),
    Tool("get_limits", "The limits of new sessions.", Nothing, Limits, _look("Limits"), "admin", get_limits),
    Tool("pty_metrics", "Figures about the sessions made through MCP.", Nothing, Metrics, _look("Metrics"), "admin",
         metrics),
    Tool("pty_health", "Whether it works, and how many sessions there are.", Nothing, Health, _look("Health"), "admin",
         health),
)  # fmt: skip
