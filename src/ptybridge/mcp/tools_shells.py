"""The shells in which a connection's pty_run runs commands when it is not told where.

How it works: a command runs in the shell that was used last and is at its prompt, so that `cd` and variables stay. One
whose command goes on (a server, a build past its time-out, a question) is left alone and another is started in the
same directory: so calls never wait for each other, and nothing is typed into a program by mistake.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from ptybridge.api import session as api
from ptybridge.errors import SessionNotFound
from ptybridge.mcp.compat_common import connection
from ptybridge.mcp.compat_spawn import create
from ptybridge.mcp.connection import Connection, resolved
from ptybridge.mcp.settings import ring_bytes
from ptybridge.mcp.toolset import Context

TAG: Final = "pty_run"
# A pager would wait for a key, and the history file is the user's.
ENVIRONMENT: Final = {"PAGER": "cat", "GIT_PAGER": "cat", "MANPAGER": "cat", "SYSTEMD_PAGER": "cat", "HISTFILE": ""}


class Shell(msgspec.Struct, frozen=True):
    """A shell to run a command in. `is_new`: started for this; `busy`: those that were passed over, and why."""

    info: api.SessionInfo
    is_new: bool
    busy: list[str]


@contextmanager
def holding(here: Connection, shell: str) -> Iterator[None]:
    """Keep other calls from a shell meanwhile; afterwards it is the one used last."""
    here.in_use.add(shell)
    try:
        yield
    finally:
        here.in_use.discard(shell)
        if shell in here.shells:
            here.shells.remove(shell)
            here.shells.append(shell)


async def find(ctx: Context, owner: str | None, client_id: str | None, passed_over: frozenset[str]) -> Shell:
    """Return a shell that is free, or a new one."""
    here = connection(ctx)
    if not here.shells_known:
        await _look_for_earlier(ctx, here)
    busy: list[str] = []
    cwd: str | None = None
    for shell in reversed(here.shells.copy()):
        if shell in here.in_use:
            continue
        with holding_briefly(here, shell):
            info = await _alive(ctx, here, shell)
        if info is None or info.owner != owner:
            continue
        cwd = cwd or info.current_cwd
        holder = info.lease.client_id if info.lease is not None else None
        if holder not in {None, client_id}:
            busy.append(f"{shell} is held by {holder!r}")
            continue
        if info.shell_integration != "running" and shell not in passed_over:
            return Shell(info, False, busy)
        busy.append(f"{shell} is busy with {(info.running_command or 'something')[:80]!r}")
    return Shell(await _started(ctx, here, owner, cwd), True, busy)


@contextmanager
def holding_briefly(here: Connection, shell: str) -> Iterator[None]:
    """Keep others from a shell while it is looked at; the caller takes it, if it does, before awaiting anything."""
    here.in_use.add(shell)
    try:
        yield
    finally:
        here.in_use.discard(shell)


async def _look_for_earlier(ctx: Context, here: Connection) -> None:
    """Find the shells this client had when its connection was lost with a daemon that was restarted."""
    found = await ctx.call(api.LIST, owner=here.own_owner, tag=TAG, state="running")
    if not here.shells_known:  # others may have asked meanwhile
        here.shells_known = True
        earlier = sorted(found.sessions, key=lambda one: one.last_active_at_ms)
        here.shells[:0] = [one.session_id for one in earlier if one.session_id not in here.shells]


async def _alive(ctx: Context, here: Connection, shell: str) -> api.SessionInfo | None:
    info: api.SessionInfo | None
    try:
        info = await ctx.call(api.GET, session_id=shell)
    except SessionNotFound:
        info = None
    if info is not None and info.state == "running":
        return info
    if shell in here.shells:
        here.shells.remove(shell)
    return None


async def _started(ctx: Context, here: Connection, owner: str | None, cwd: str | None) -> api.SessionInfo:
    settings = here.settings
    creation: dict[str, Any] = {
        "command": ["bash"],
        "cwd": cwd or here.default_cwd or ctx.cwd,
        "env": ENVIRONMENT,
        "caller_env": ctx.environ,
        "owner": owner,
        "tags": [TAG],
        "max_output_bytes": ring_bytes(settings.ring_max_bytes),
        "overflow": "pause",
        "idle_timeout_ms": settings.idle_timeout_ms,
        "keep_ms": settings.keep_ms,
    }
    info = await create(ctx, **creation)
    here.shells.append(info.session_id)
    return info


def directory(ctx: Context, asked: str, info: api.SessionInfo) -> str:
    """Return the absolute directory that `asked` means in a shell."""
    return resolved(asked, info.current_cwd or info.cwd, ctx.environ.get("HOME"))
