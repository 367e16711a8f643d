"""A child process as the kernel sees it: its exit, and signals to it, its groups and its session.

How it works: a pidfd names the process for good, so waiting needs no SIGCHLD and no thread, and a signal can never hit
a recycled pid. A child is the leader of its own session, whose id is its pid; Linux does not reuse that number while
any process of the session lives.
"""

import contextlib
import os
import signal
import time

import trio

from ptybridge.core import procinfo
from ptybridge.core.signals import signal_name
from ptybridge.errors import Denied
from ptybridge.model import ExitStatus

# A process may fork while the list of a session is being read; each pass catches the children of the last.
_PASSES = 3
# For waiting until a session is empty, and for a first look at it, a count of lately is good enough.
_census = procinfo.Census()
# A stopped process sees these only once it runs again.
_NEED_CONT = frozenset({signal.SIGHUP, signal.SIGTERM})


class ChildProcess:
    """A direct child of this process, leader of its own session. Owns the pidfd."""

    def __init__(self, pid: int, pidfd: int | None = None) -> None:
        self.pid = pid
        self._status: ExitStatus | None = None
        self._reaped_at = 0.0
        self._pidfd = os.pidfd_open(pid) if pidfd is None else pidfd
        # Guards the wait on the pidfd: Trio allows one waiter per descriptor, so the others queue here.
        self._reaping = trio.Lock()

    @property
    def status(self) -> ExitStatus | None:
        """How the child ended; None until that is known, which is after it was reaped."""
        return self._status

    @status.setter
    def status(self, status: ExitStatus | None) -> None:
        self._status = status
        self._reaped_at = time.monotonic()

    async def wait(self) -> ExitStatus:
        """Wait until the child has exited and is reaped. Any number of tasks may wait. Always a checkpoint."""
        async with self._reaping:
            while self.status is None:
                await trio.lowlevel.wait_readable(self._pidfd)
                self.reap_nowait()
        return self.status

    def reap_nowait(self) -> ExitStatus | None:
        """Collect the exit status if there is one; None while the child runs."""
        if self.status is None:
            self.status = _reap(self.pid)
        return self.status

    def survivors(self, not_older_than: float = 0.0) -> list[int]:
        """Return the live processes of the session. Cheap while there are some, however many sessions ask.

        All sessions are counted together now and then, and each looks after its own again. Only that nobody is left
        takes a count that is `not_older_than` so many seconds.
        """
        found = self._still_there(max(_census.lately, not_older_than))
        return found or self._still_there(not_older_than)

    def _still_there(self, not_older_than: float) -> list[int]:
        return [
            stat.pid
            for stat in self.members(not_older_than=not_older_than)
            if (now := procinfo.process_stat(stat.pid)) is not None and now.alive and now.start_time == stat.start_time
        ]

    def members(self, *, not_older_than: float = 0.0) -> list[procinfo.ProcessStat]:
        """Return the live processes of the child's session; the child alone where there is no /proc."""
        found = [stat for stat in _census.members(self.pid, not_older_than=not_older_than) if stat.alive]
        if self.status is not None and any(stat.pid == self.pid for stat in found):
            if _census.began > self._reaped_at:
                # The child is reaped, yet its pid is in use: the session was empty and the number belongs to another.
                return []
            found = [stat for stat in found if stat.pid != self.pid]
        return found

    def signal_group(self, pgid: int, number: int) -> None:
        """Signal a process group if it belongs to the child's session; else nothing happens."""
        if pgid == self.pid and self.status is None:
            pass  # not reaped: the number is still the child's
        elif not any(stat.pgid == pgid for stat in self.members()):
            return
        try:
            os.killpg(pgid, number)
        except ProcessLookupError:
            return
        except PermissionError as exc:
            raise Denied("the system does not allow this process to be signalled") from exc

    def signal_session(self, number: int) -> None:
        """Signal every process of the child's session, also those of stopped and background jobs."""
        told: set[int] = set()
        for turn in range(_PASSES):
            lately = _census.lately if turn == 0 else 0.0
            members = self.members(not_older_than=lately)
            fresh = [stat for stat in members if stat.pid not in told]
            if not fresh:
                break
            for stat in fresh:
                told.add(stat.pid)
                self._signal_member(stat, number)
            if [stat.pid for stat in members] == [self.pid]:
                # Most sessions are one process, and counting all others again for each would take long. Should it
                # have forked just now, the next step of whoever ends the session finds that out.
                break
        if not told and self.status is None:
            self._signal_child(number)

    def close(self) -> None:
        """Release the pidfd; reaps the child if it has exited."""
        self.reap_nowait()
        if self._pidfd >= 0:
            trio.lowlevel.notify_closing(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _signal_child(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _signal_member(self, stat: procinfo.ProcessStat, number: int) -> None:
        # The pid may have been recycled since the list was made, but not after the pidfd is open: so look again then.
        # Other users' processes (setuid programs) refuse; the terminal's hang-up reaches them all the same.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            pidfd = os.pidfd_open(stat.pid)
            try:
                again = procinfo.process_stat(stat.pid)
                if again is None or (again.session_id, again.start_time) != (self.pid, stat.start_time):
                    return
                signal.pidfd_send_signal(pidfd, number)
                if number in _NEED_CONT and again.state in "Tt":
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            finally:
                os.close(pidfd)


def _reap(pid: int) -> ExitStatus | None:
    try:
        result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        # Somebody else has collected it; how it ended is lost.
        return ExitStatus()
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return ExitStatus(code=result.si_status)
    return ExitStatus(signal=signal_name(result.si_status))
