"""pty-mcp's tools that start and find sessions: pty_spawn and pty_resume."""

from typing import Annotated, Any, Final, Literal

import msgspec

from ptybridge.api import session as api
from ptybridge.errors import InvalidParams, LimitReached, SessionNotFound
from ptybridge.mcp.compat_common import (
    Arguments,
    ConfirmToken,
    Justification,
    Milliseconds,
    Name,
    as_json,
    connection,
    required_owner,
    to_json,
)
from ptybridge.mcp.compat_confirm import confirming
from ptybridge.mcp.compat_facts import Spawned, Status, spawned, status
from ptybridge.mcp.connection import resolved
from ptybridge.mcp.settings import RingBytes, Seconds, ring_bytes
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.model import Backend, Cols, Rows

Limit = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


class Spawn(Arguments, kw_only=True):
    """Parameters of pty_spawn."""

    command: Annotated[str, msgspec.Meta(min_length=1, description="a command line for bash")]
    cwd: Annotated[str | None, msgspec.Meta(description="directory to start in; ~ is the home directory")] = None
    cols: Cols = 120
    rows: Rows = 30
    separate_streams: Annotated[
        bool, msgspec.Meta(description="pipes instead of a terminal, stdout and stderr apart")
    ] = False
    name: Annotated[Name | None, msgspec.Meta(description="a name for pty_resume, unique among your running ones")] = (
        None
    )
    tag: Annotated[Name | None, msgspec.Meta(description="a label for pty_list")] = None
    owner: Annotated[
        Name | None, msgspec.Meta(description="a name for you or your task; other tools need it again")
    ] = None
    scope: Annotated[
        Literal["read-only", "read-write", "control", "admin"],
        msgspec.Meta(description="what may be done with the session: control adds pty_signal"),
    ] = "read-write"
    max_output_bytes: Annotated[
        RingBytes | None, msgspec.Meta(description="how much output is kept for reading (default 1 MiB)")
    ] = None
    spawn_timeout_sec: Annotated[
        Seconds | None, msgspec.Meta(description="end the program after so many seconds; 0 never")
    ] = None
    rate_limit_bps: Annotated[Limit | None, msgspec.Meta(description="delay output to so many bytes a second")] = None
    input_rate_bps: Annotated[Limit | None, msgspec.Meta(description="refuse input beyond so many bytes a second")] = (
        None
    )
    backend: Annotated[
        Literal["subprocess", "tmux"] | None,
        msgspec.Meta(description="tmux: the session can be found again with pty_recover even when its daemon is gone"),
    ] = None
    tmux_workspace: Annotated[
        Name | None, msgspec.Meta(description="sessions of one workspace are handed over and recovered together")
    ] = None
    read_timeout_ms: Annotated[
        Milliseconds | None, msgspec.Meta(description="how long pty_read waits for output (default 300)")
    ] = None
    env: Annotated[
        dict[str, str | None] | None, msgspec.Meta(description="variables to set over your own; null means empty")
    ] = None
    dangerous_confirm_token: ConfirmToken | None = None
    dangerous_confirmed: Annotated[
        bool, msgspec.Meta(description="in legacy mode: run the command although it is dangerous")
    ] = False
    dangerous_justification: Annotated[
        Justification | None, msgspec.Meta(description="in legacy mode: why it must run, which confirms it")
    ] = None


class Resume(Arguments, kw_only=True):
    """Parameters of pty_resume."""

    name: Name
    owner: Annotated[Name | None, msgspec.Meta(description="the owner it was spawned with")] = None


class Resumed(Status, kw_only=True):
    """The status of a session that was found again."""

    resumed_via: str = "name"


async def spawn(ctx: Context, params: Spawn) -> Answer:
    """Start a program."""
    here = connection(ctx)
    settings = here.settings
    starting = confirming(ctx, params.dangerous_confirmed, params.dangerous_justification)
    info = await create(starting, **_creation(ctx, params, required_owner(ctx, params.owner)))
    if params.read_timeout_ms is not None:
        here.read_timeouts[info.session_id] = params.read_timeout_ms
    facts = msgspec.to_builtins(spawned(info))
    return Answer(to_json(facts) if settings.spawn_meta else info.session_id, facts)


async def create(ctx: Context, **creation: object) -> api.SessionInfo:
    """Create a session, unless as many are running as may. Raises `LimitReached` and what the operation raises."""
    here = connection(ctx)
    # Counted before anything is awaited: sessions spawned at the same time must not pass the limit together.
    here.starting += 1
    try:
        running = await ctx.call(api.LIST, profile=ctx.caller.profile, state="running")
        if len(running.sessions) + here.starting > here.settings.max_sessions:
            raise LimitReached(
                f"{len(running.sessions)} sessions are running, and {here.settings.max_sessions} is the limit",
                hint="close sessions you no longer need (pty_list, pty_close)",
            )
        return await ctx.call(api.CREATE, **creation)
    finally:
        here.starting -= 1


def _creation(ctx: Context, params: Spawn, owner: str | None) -> dict[str, Any]:
    here = connection(ctx)
    settings = here.settings
    asked_runtime = settings.spawn_timeout_sec if params.spawn_timeout_sec is None else params.spawn_timeout_sec
    output_rate = settings.output_rate_bps if params.rate_limit_bps is None else params.rate_limit_bps
    input_rate = settings.input_rate_bps if params.input_rate_bps is None else params.input_rate_bps
    return {
        # Not a login shell: the user's profile has its say where it belongs, in the client's environment.
        "command": ["bash", "-c", params.command],
        "backend": _backend(params, settings.backend),
        "confirm_token": params.dangerous_confirm_token or None,
        "cwd": here.directory(params.cwd, params.command, ctx.cwd, ctx.environ.get("HOME")),
        "env": {name: value or "" for name, value in (params.env or {}).items()},
        "caller_env": ctx.environ,
        "cols": params.cols,
        "rows": params.rows,
        "name": params.name,
        "owner": owner,
        "tags": [params.tag] if params.tag else [],
        "access": params.scope,
        "workspace": params.tmux_workspace,
        "max_output_bytes": ring_bytes(params.max_output_bytes or settings.ring_max_bytes),
        "overflow": "pause",  # nothing is lost while somebody reads
        "idle_timeout_ms": settings.idle_timeout_ms,
        "keep_ms": settings.keep_ms,
        "max_runtime_ms": int(asked_runtime * 1000) or None,
        "output_bytes_per_second": output_rate or None,
        "input_bytes_per_second": input_rate or None,
        "log_dir": resolved(settings.session_log_dir, ctx.cwd, ctx.environ.get("HOME"))
        if settings.session_log_dir
        else None,
    }


def _backend(params: Spawn, default: str) -> Backend:
    if params.separate_streams:
        if params.backend == "tmux":
            raise InvalidParams("separate_streams has no terminal, and tmux has nothing else", hint="choose one")
        return "pipes"
    return "tmux" if (params.backend or default) == "tmux" else "pty"


async def resume(ctx: Context, params: Resume) -> Answer:
    """Find a running session by its name."""
    owner = required_owner(ctx, params.owner)
    found = await ctx.call(api.LIST, name=params.name, state="running")
    for info in found.sessions:
        if info.owner == owner:
            detailed = await ctx.call(api.GET, session_id=info.session_id)
            return as_json(Resumed(**msgspec.structs.asdict(status(ctx, detailed))))
    raise SessionNotFound(
        f"no running session of yours is called {params.name!r}",
        hint="pty_list shows your sessions, running and exited",
    )


TOOLS: Final = (
    Tool(
        "pty_spawn",
        "Start a bash command line in a terminal session of its own and return the session's id. The session goes on "
        "when you do something else, and is the one the user sees in ptybridge. Type with pty_write, wait with "
        "pty_wait_for or pty_read_until, end it with pty_close. Its output and exit code can still be read after it "
        "has exited.",
        Spawn,
        Spawned,
        Hints("Start a terminal session", destructive=True, open_world=True),
        "core",
        spawn,
        for_agents=True,
    ),
    Tool(
        "pty_resume",
        "Find one of your running sessions by the name it was spawned with, for instance after you have been "
        "restarted. Returns its status, with the session_id.",
        Resume,
        Resumed,
        Hints("Find a session by name", read_only=True, idempotent=True),
        "core",
        resume,
    ),
)
