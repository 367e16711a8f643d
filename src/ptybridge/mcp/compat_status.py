"""pty-mcp's tools that look at sessions: pty_status, pty_wait, pty_list."""

from typing import Annotated, Final

import msgspec

from ptybridge.api import session as api
from ptybridge.api import terminal
from ptybridge.mcp.compat_common import (
    EXIT_REASONS,
    Answered,
    Arguments,
    Milliseconds,
    Name,
    OnSession,
    as_json,
    exit_code,
    required_owner,
    session_of,
    to_json,
)
from ptybridge.mcp.compat_facts import Listed, Status, listed, status
from ptybridge.mcp.tools_common import reporting
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool


class Wait(OnSession, kw_only=True):
    """Parameters of pty_wait."""

    timeout_ms: Annotated[Milliseconds, msgspec.Meta(description="wait at most so long")] = 10_000


class List(Arguments, kw_only=True):
    """Parameters of pty_list."""

    tag: Name | None = None
    owner: Annotated[Name | None, msgspec.Meta(description="the owner they were spawned with")] = None


class Ended(Answered, kw_only=True):
    """Whether the program runs, and how it ended. A death by signal is the negative number of the signal."""

    running: bool
    exit_code: int | None
    exit_reason: str | None


class Sessions(Answered, kw_only=True):
    """The sessions, the least recently active first."""

    sessions: list[Listed]


async def get_status(ctx: Context, params: OnSession) -> Answer:
    """Tell everything about a session."""
    await session_of(ctx, params)
    return as_json(status(ctx, await ctx.call(api.GET, session_id=params.session_id)))


async def wait(ctx: Context, params: Wait) -> Answer:
    """Wait for the exit."""
    info = await session_of(ctx, params)
    if info.state == "running":
        work = ctx.call(terminal.WAIT, session_id=info.session_id, until=[{"exit": True}], timeout_ms=params.timeout_ms)
        await reporting(ctx, work, session_id=info.session_id, start=info.end_offset, timeout_ms=params.timeout_ms)
        info = await session_of(ctx, params)
    return as_json(
        Ended(running=info.state == "running", exit_code=exit_code(info), exit_reason=EXIT_REASONS[info.exit_reason])
    )


async def list_sessions(ctx: Context, params: List) -> Answer:
    """List sessions."""
    owner = required_owner(ctx, params.owner)
    filters = {name: value for name, value in (("owner", owner), ("tag", params.tag)) if value is not None}
    found = await ctx.call(api.LIST, **filters)
    ordered = sorted(found.sessions, key=lambda one: (one.last_active_at_ms, one.created_at_ms))
    sessions = msgspec.to_builtins([listed(one) for one in ordered])
    return Answer(to_json(sessions), {"sessions": sessions})


TOOLS: Final = (
    Tool(
        "pty_status",
        "Everything about a session: whether it runs, its exit code, who is attached, sizes, limits, offsets of the "
        "output that is kept, and whether it waits for input.",
        OnSession,
        Status,
        Hints("Look at a session", read_only=True, idempotent=True),
        "core",
        get_status,
    ),
    Tool(
        "pty_wait",
        "Wait until a session's program has exited, at most timeout_ms, and return its exit code. Its output can be "
        "read afterwards. While you wait nothing has to be read; other calls go on.",
        Wait,
        Ended,
        Hints("Wait for the exit", read_only=True, idempotent=True),
        "core",
        wait,
    ),
    Tool(
        "pty_list",
        "List the sessions of an owner, running and exited, the least recently active first.",
        List,
        Sessions,
        Hints("List sessions", read_only=True, idempotent=True),
        "core",
        list_sessions,
        for_agents=True,
    ),
)
