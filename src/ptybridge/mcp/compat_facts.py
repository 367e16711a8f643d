"""A session's facts as pty-mcp gives them: fields of its answers to spawn, status and list."""

import shlex

from ptybridge.api import session as api
from ptybridge.mcp.compat_common import EXIT_REASONS, Answered, connection, exit_code, stamp
from ptybridge.mcp.toolset import Context

# pty-mcp's words for what became of a lease.
LEASE_EVENTS = {"acquire": "attach", "release": "detach", "handoff": "handoff", "takeover": "takeover"}


class Lease(Answered, kw_only=True):
    """Who is attached, and the last change of that. Times are seconds since the epoch."""

    attached: bool = False
    attached_client_id: str | None = None
    attached_at: float | None = None
    detached_at: float | None = None
    last_lease_at: float | None = None
    last_lease_event: str | None = None
    last_lease_from_client_id: str | None = None
    last_lease_to_client_id: str | None = None
    last_lease_reason: str | None = None


class Known(Lease, kw_only=True):
    """What spawn, status and list have in common."""

    session_id: str
    backend: str
    pid: int
    pgid: int
    cwd: str
    name: str | None
    cols: int
    rows: int
    tag: str | None
    owner: str | None
    tmux_workspace: str | None
    recovered: bool
    recovered_at: float | None
    separate_streams: bool
    created_at: float


class Spawned(Known, kw_only=True):
    """A new session."""

    max_output_bytes: int
    max_runtime_sec: float
    rate_limit_bps: int


class Listed(Known, kw_only=True):
    """A session in a list."""

    running: bool
    exit_code: int | None
    exit_reason: str | None
    command: str
    last_active: float
    workspace_attached: bool
    workspace_attached_client_id: str | None
    workspace_attached_session_count: int
    truncated: bool


class Status(Listed, kw_only=True):
    """Everything about a session. Offsets count bytes; `start` is the oldest kept, `total` all there has been."""

    buffer_bytes: int
    stdout_buffer_bytes: int
    stderr_buffer_bytes: int
    buf_start_offset: int
    buf_total_offset: int
    stdout_start_offset: int
    stdout_total_offset: int
    stderr_start_offset: int
    stderr_total_offset: int
    max_output_bytes: int
    max_runtime_sec: float
    rate_limit_bps: int
    rate_dropped: int
    input_rate_bps: int
    input_dropped: int
    bytes_read: int
    bytes_written: int
    scope: str
    waiting_for_input: bool
    title: str


def command_of(info: api.SessionInfo) -> str:
    """Return the command line as it was given to pty_spawn, or one that would do the same."""
    return (
        info.command[2] if info.command[:2] == ["bash", "-c"] and len(info.command) == 3 else shlex.join(info.command)
    )


def _lease(info: api.SessionInfo) -> dict[str, object]:
    lease = info.lease
    if lease is None:
        return {}
    facts: dict[str, object] = {
        "attached": lease.client_id is not None,
        "attached_client_id": lease.client_id,
        "attached_at": stamp(lease.attached_at_ms) if lease.client_id is not None else None,
        "detached_at": stamp(lease.detached_at_ms),
    }
    if lease.last is not None:
        facts |= {
            "last_lease_at": stamp(lease.last.at_ms),
            "last_lease_event": LEASE_EVENTS[lease.last.event],
            "last_lease_from_client_id": lease.last.from_client_id,
            "last_lease_to_client_id": lease.last.to_client_id,
            "last_lease_reason": lease.last.reason,
        }
    return facts


def _known(info: api.SessionInfo) -> dict[str, object]:
    return _lease(info) | {
        "session_id": info.session_id,
        "backend": "tmux" if info.backend == "tmux" else "subprocess",
        "pid": info.pid,
        "pgid": info.pgid,
        "cwd": info.cwd,
        "name": info.name,
        "cols": info.cols,
        "rows": info.rows,
        "tag": info.tags[0] if info.tags else None,
        "owner": info.owner,
        "tmux_workspace": info.workspace,
        "recovered": info.recovered_at_ms is not None,
        "recovered_at": stamp(info.recovered_at_ms),
        "separate_streams": info.backend == "pipes",
        "created_at": stamp(info.created_at_ms),
    }


def spawned(info: api.SessionInfo) -> Spawned:
    """Describe a new session."""
    return Spawned(**_known(info), **_limits(info))  # type: ignore[arg-type]


def _limits(info: api.SessionInfo) -> dict[str, object]:
    return {
        "max_output_bytes": info.max_output_bytes,
        "max_runtime_sec": (info.max_runtime_ms or 0) / 1000,
        "rate_limit_bps": info.output_bytes_per_second or 0,
    }


def _listed(info: api.SessionInfo) -> dict[str, object]:
    workspace_client = info.lease.workspace_client_id if info.lease is not None else None
    return _known(info) | {
        "running": info.state == "running",
        "exit_code": exit_code(info),
        "exit_reason": EXIT_REASONS[info.exit_reason],
        "command": command_of(info),
        "last_active": stamp(info.last_active_at_ms),
        "workspace_attached": workspace_client is not None,
        "workspace_attached_client_id": workspace_client,
        "workspace_attached_session_count": len(info.lease.workspace_session_ids) if info.lease is not None else 0,
        "truncated": info.start_offset > 0,
    }


def listed(info: api.SessionInfo) -> Listed:
    """Describe a session in a list."""
    return Listed(**_listed(info))  # type: ignore[arg-type]


def status(ctx: Context, info: api.SessionInfo) -> Status:
    """Describe a session with all there is."""
    streams = info.streams or {}
    apart = {
        f"{name}_{part}": value
        for name in ("stdout", "stderr")
        for found in [streams.get(name) or api.StreamOffsets(start_offset=0, end_offset=0)]
        for part, value in (
            ("buffer_bytes", found.end_offset - found.start_offset),
            ("start_offset", found.start_offset),
            ("total_offset", found.end_offset),
        )
    }
    facts = _listed(info) | _limits(info) | apart
    return Status(
        **facts,  # type: ignore[arg-type]
        buffer_bytes=info.end_offset - info.start_offset,
        buf_start_offset=info.start_offset,
        buf_total_offset=info.end_offset,
        rate_dropped=0,  # output over its limit is delayed
        input_rate_bps=info.input_bytes_per_second or 0,
        input_dropped=connection(ctx).refused_input.get(info.session_id, 0),
        bytes_read=info.bytes_read,
        bytes_written=info.bytes_written,
        scope=info.access,
        waiting_for_input=info.waiting_for_input,
        title=info.title,
    )
