"""What is done for sessions every so often: limits and retention kept, and silence noticed.

A program "waits for input" when the foreground process is blocked reading the terminal, nothing was printed for half
a second, and no shell shows its prompt.
"""

import gc
from typing import TYPE_CHECKING

import trio

from ptybridge.core import closing, procinfo
from ptybridge.core.eventlog import now_ms
from ptybridge.core.session import Session
from ptybridge.model import ExitReason, Idle, WaitingForInput

if TYPE_CHECKING:
    from ptybridge.core.sessions import Sessions

WAITING_SECONDS = 0.5
# One `idle` event per silence of this length.
IDLE_EVENT_SECONDS = 5.0
# A snapshot that was taken in the middle of a flood is completed after this much silence.
QUIET_SECONDS = 1.0
# What closed sessions have printed stays in memory, and its mapping holds a descriptor, until the garbage collector
# finds the session. It comes with allocations, so an idle daemon would keep them for long; it is called when this much
# is worth its some milliseconds, and no more often than this; and of less once no session has been closed for a while.
LEFT_BYTES = 1 << 20
LEFT_SESSIONS = 64
COLLECT_SECONDS = 5.0
LEFT_SECONDS = 10.0


def waits_for_input(session: Session) -> bool:
    """Tell whether the foreground process is blocked reading the terminal after half a second of silence."""
    if session.state != "running" or trio.current_time() - session.active_at < WAITING_SECONDS:
        return False
    session.commands.catch_up()
    if session.commands.at_prompt:
        return False  # a shell at its prompt has done what it was told
    pgid = session.child.foreground_pgid()
    return pgid is not None and bool(procinfo.is_blocked_reading_terminal(pgid, session.child.pid, lately=True))


def _over(limit: float | None, waited: float) -> bool:
    return limit is not None and waited >= limit


class Housekeeping:
    """Looks after the sessions of one daemon at every tick."""

    def __init__(self, sessions: "Sessions") -> None:
        self._sessions = sessions
        self._idle_told: dict[str, float] = {}
        self._checked: dict[str, tuple[float, float]] = {}
        self._left_bytes = self._left_sessions = 0
        self._collected_at = self._left_at = float("-inf")

    def forget(self, session: Session) -> None:
        """Forget what was noticed of a session that is gone."""
        self._idle_told.pop(session.session_id, None)
        self._checked.pop(session.session_id, None)
        self._left_bytes += session.log.end - session.log.start
        self._left_sessions += 1
        self._left_at = trio.current_time()

    def tick(self, nursery: trio.Nursery) -> None:
        """Look after every session once; what takes time is started in the nursery."""
        now = trio.current_time()
        for session in self._sessions.running():
            if session.log.ring.stalled:
                # Normally who moves a floor says so; a daemon that was just taking its leave may have been the last.
                session.log.floor_moved()
            session.polling.forget_old(now)
            session.saver.keep_count()
            silence = now - session.active_at
            self._tell_idle(session, silence)
            self._check_waiting(session, now)
            if silence >= QUIET_SECONDS:
                session.saver.quiet()
            limits = session.limits
            if session.ending is not None:
                continue
            if limits.max_runtime is not None and now - session.started_at >= limits.max_runtime:
                session.ending = "timeout"
                nursery.start_soon(self._end_quietly, session, "timeout")
            elif _over(limits.idle_timeout, self._unused(session, now)) or _over(
                limits.unattended_timeout, session.unattended(now)
            ):
                session.ending = "idle"
                nursery.start_soon(self._end_quietly, session, "idle")
        self._forget_old(nursery)
        self._free_memory(now)

    def _unused(self, session: Session, now: float) -> float:
        """For how long nobody has used the session; 0 while somebody is attached or has its lease."""
        used = len(session.attachments) or session.lease.holder is not None
        return 0.0 if used else now - session.used_at

    async def _end_quietly(self, session: Session, reason: ExitReason) -> None:
        await closing.end(session, reason, 1.5)

    def _tell_idle(self, session: Session, silence: float) -> None:
        if silence >= IDLE_EVENT_SECONDS and self._idle_told.get(session.session_id) != session.active_at:
            self._idle_told[session.session_id] = session.active_at
            self._sessions.events.publish(Idle, session.session_id, idle_ms=int(silence * 1000))

    def _check_waiting(self, session: Session, now: float) -> None:
        """Look whether the program waits for input, ever less often while nothing changes."""
        since = session.active_at
        silence = now - since
        if silence < WAITING_SECONDS:
            session.waiting_for_input = False
            return
        last_since, last_at = self._checked.get(session.session_id, (0.0, 0.0))
        if last_since == since and now - last_at < min(30.0, (last_at - since) / 2):
            return
        self._checked[session.session_id] = (since, now)
        was = session.waiting_for_input
        session.waiting_for_input = waits_for_input(session)
        if session.waiting_for_input and not was:
            self._sessions.events.publish(WaitingForInput, session.session_id)

    def _forget_old(self, nursery: trio.Nursery) -> None:
        exited = sorted(
            (one for one in self._sessions.all() if one.state == "exited"), key=lambda one: one.exited_at_ms or 0
        )
        surplus = len(exited) - self._sessions.limits.max_exited_sessions
        for at, session in enumerate(exited):
            old = at < surplus or self._kept_long_enough(session)
            if old and len(session.attachments) == 0 and session.output_closed:
                nursery.start_soon(self._sessions.close, session, 1.5)

    def _kept_long_enough(self, session: Session) -> bool:
        since_exit = (now_ms() - (session.exited_at_ms or 0)) / 1000
        if session.limits.keep is None:
            return since_exit * 1000 > self._sessions.limits.exited_retention_ms
        unused = trio.current_time() - session.polling.read_at
        return min(since_exit, unused) > session.limits.keep

    def _free_memory(self, now: float) -> None:
        worth_it = self._left_bytes >= LEFT_BYTES or self._left_sessions >= LEFT_SESSIONS
        worth_it |= self._left_sessions > 0 and now - self._left_at >= LEFT_SECONDS
        if worth_it and now - self._collected_at >= COLLECT_SECONDS:
            self._left_bytes = self._left_sessions = 0
            self._collected_at = now
            gc.collect()
