"""Session facts as the contract shows them, and the checks every session handler shares."""

import msgspec
import trio

from ptybridge.api import lease as lease_api
from ptybridge.api import session as api
from ptybridge.core import leases, procinfo
from ptybridge.core.housekeeping import waits_for_input
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.model import Caller

STREAMS = {"stdout": 0, "stderr": 1}
# A terminal looks the same when it was stopped and in the moments in which a flood has filled it.
STOPPED_SECONDS = 0.25


def position_key(caller: Caller, client_id: str | None, stream: str | None = None) -> tuple[str, ...]:
    """Whose position: (principal, client), the client being the connection unless it named itself."""
    name = client_id or caller.client_id
    who = ("name", name) if name else ("connection", caller.connection_id)
    return (caller.principal, *who, stream or "")


def milliseconds(seconds: float | None) -> int | None:
    """Seconds as the wire has them."""
    return None if seconds is None else int(seconds * 1000)


def seconds(ms: int | None) -> float | None:
    """Milliseconds as the core has them."""
    return None if ms is None else ms / 1000


def attachments(session: Session) -> list[api.Attachment]:
    """Describe who is on the session."""
    end = session.log.end
    return [
        api.Attachment(
            attachment_id=one.attachment_id,
            client_id=one.client_id,
            mode=one.mode,
            rows=one.size.rows,
            cols=one.size.cols,
            rendered=one.rendered,
            lag_bytes=max(0, end - one.sent_offset),
            attached_at_ms=one.attached_at_ms,
            pid=one.pid,
        )
        for one in session.attachments
    ]


def foreground(session: Session) -> api.Foreground | None:
    """Describe the process group that has the terminal; a few system calls and /proc reads."""
    if session.status is not None:
        return None
    pgid = session.child.foreground_pgid()
    found = procinfo.foreground(pgid) if pgid is not None else None
    if found is None:
        return None
    mode = session.child.line_mode()
    still = trio.current_time() - session.log.grew_at >= STOPPED_SECONDS
    stopped = still and mode is not None and mode.flow_stopped
    return api.Foreground(pid=found.pid, name=found.name, command=list(found.command), flow_stopped=stopped)


def info(sessions: Sessions, session: Session, *, detailed: bool = False) -> api.SessionInfo:
    """Describe a session; `detailed` also looks at its processes."""
    log, labels, limits, status = session.log, session.labels, session.limits, session.status
    commands = session.commands
    commands.catch_up()
    return api.SessionInfo(
        session_id=session.session_id,
        name=labels.name,
        owner=labels.owner,
        created_by=session.created_by,
        tags=labels.tags,
        access=labels.access,
        backend=session.child.backend,
        command=session.command,
        cwd=session.cwd,
        pid=session.child.pid,
        pgid=session.child.pgid,
        state=session.state,
        exit_code=status.code if status is not None else None,
        exit_signal=status.signal if status is not None else None,
        exit_reason=session.exit_reason,
        output_closed=session.output_closed,
        rows=session.size.rows,
        cols=session.size.cols,
        window_size_policy=session.attachments.policy,
        title=session.title,
        created_at_ms=session.created_at_ms,
        # By the session's own clock, so that two looks at one moment agree.
        last_active_at_ms=session.created_at_ms + int((session.active_at - session.started_at) * 1000),
        exited_at_ms=session.exited_at_ms,
        start_offset=log.start,
        end_offset=log.end,
        bytes_read=log.end,
        bytes_written=session.input.accepted_bytes,
        waiting_for_input=waits_for_input(session) if detailed else session.waiting_for_input,
        foreground=foreground(session) if detailed else None,
        clients=attachments(session),
        streams=stream_offsets(session),
        overflow=limits.overflow,
        max_output_bytes=log.ring.capacity,
        idle_timeout_ms=milliseconds(limits.idle_timeout),
        max_runtime_ms=milliseconds(limits.max_runtime),
        linger_ms=int(limits.linger * 1000),
        input_bytes_per_second=limits.input_rate,
        output_bytes_per_second=limits.output_rate,
        keep_ms=milliseconds(limits.keep),
        unattended_timeout_ms=milliseconds(limits.unattended_timeout),
        max_clients=limits.max_clients,
        shared=session.labels.shared,
        profile=labels.profile,
        log_dir=session.journal.saved.directory if session.journal is not None else None,
        shell_integration=commands.state,
        current_cwd=commands.cwd,
        running_command=commands.running.command if commands.running is not None else None,
        workspace=labels.workspace,
        recovered_at_ms=session.recovered_at_ms,
        lease=lease_info(sessions, session),
    )


def lease_info(sessions: Sessions, session: Session) -> lease_api.LeaseInfo:
    """Describe a session's lease, and those of its workspace."""
    lease, last = session.lease, session.lease.last
    workspace = session.labels.workspace
    members = {one.session_id: one.lease for one in sessions.workspace_of(session)} if workspace is not None else {}
    shared = leases.workspace_holder(members.values())
    return lease_api.LeaseInfo(
        session_id=session.session_id,
        client_id=lease.holder.client_id if lease.holder is not None else None,
        principal=lease.holder.principal if lease.holder is not None else None,
        holder_gone=lease.holder_gone,
        attached_at_ms=lease.attached_at_ms,
        detached_at_ms=lease.detached_at_ms,
        last=lease_api.LeaseTransfer(
            at_ms=last.at_ms,
            event=last.event,
            from_client_id=last.from_client_id,
            to_client_id=last.to_client_id,
            reason=last.reason,
        )
        if last is not None
        else None,
        workspace=workspace,
        workspace_client_id=shared.client_id if shared is not None else None,
        workspace_session_ids=leases.leased(members),
    )


class InfoCache:
    """Descriptions of sessions nothing has happened to since; listing many idle sessions is mostly this."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[object, ...], api.SessionInfo]] = {}

    def info(self, sessions: Sessions, session: Session) -> api.SessionInfo:
        """As `info`, made anew only if it would differ."""
        lease = session.lease
        if len(session.attachments) or lease.holder is not None or session.labels.workspace is not None:
            # How far each viewer lags changes all the time, and whether a holder is there without our knowing.
            return info(sessions, session)
        state = _state(session)
        known = self._known.get(session.session_id)
        if known is not None and known[0] == state:
            return known[1]
        if len(self._known) > 2 * len(sessions):
            self._known.clear()
        fresh = info(sessions, session)
        self._known[session.session_id] = state, fresh
        return fresh


def _state(session: Session) -> tuple[object, ...]:
    """Everything a description depends on that can change."""
    return (
        session.log.start,
        session.log.end,
        session.input.accepted_bytes,
        session.labels,
        session.lease.last,
        session.size,
        session.attachments.policy,
        session.status,
        session.exit_reason,
        session.exited_at_ms,
        session.output_closed,
        session.title,
        session.waiting_for_input,
        session.commands.state,
        session.commands.offset,
        msgspec.structs.astuple(session.limits),
    )


def stream_offsets(session: Session) -> dict[str, api.StreamOffsets] | None:
    """The own offsets of stdout and stderr; None where there is only one stream."""
    segments = session.log.segments
    if segments is None:
        return None
    start = session.log.start
    return {
        name: api.StreamOffsets(
            start_offset=segments.stream_start(number, start), end_offset=segments.stream_end(number)
        )
        for name, number in STREAMS.items()
    }
