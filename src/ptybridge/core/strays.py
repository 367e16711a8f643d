"""Processes that come from a session and have left it, by `setsid` or by a double fork and `setsid`.

How it works: the kernel has no list of them, so two traces are followed. Who still has its parents is found below a
member of the session; who has lost them began with the variable that all programs of a session begin with. A program
written for the purpose can get rid of both. Whoever calls should look while the session's members still live.

While execve(2) puts a program in the place of another, the process has neither arguments nor environment to be seen:
who is found so is looked at again (`somebody_begins`).
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from ptybridge.core import procinfo

VARIABLE: Final = b"PTYBRIDGE_SESSION_ID="
# What a process began with can be megabytes; ours is among the first.
_ENVIRONMENT_BYTES: Final = 1 << 20
_MAX_GENERATIONS: Final = 256


class Stray(msgspec.Struct, frozen=True):
    """A process; `start_time` tells it from another that gets its number."""

    pid: int
    start_time: int

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        now = procinfo.process_stat(self.pid)
        return now is not None and now.alive and now.start_time == self.start_time


class _Look:
    """All processes at one time, by parent and by the session they say they began in."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.by_pid = {stat.pid: stat for stat in procinfo.processes()}
        self.children: dict[int, list[procinfo.ProcessStat]] = {}
        self.named: dict[str, list[procinfo.ProcessStat]] = {}
        self.beginning: list[procinfo.ProcessStat] = []
        for stat in self.by_pid.values():
            self.children.setdefault(stat.ppid, []).append(stat)
            self._read(stat)

    def read_again(self) -> None:
        """Look again at those that were just becoming another program."""
        beginning, self.beginning = self.beginning, []
        for stat in beginning:
            self._read(stat)

    def _read(self, stat: procinfo.ProcessStat) -> None:
        environment = _environment(stat.pid)
        if (name := _named(environment)) is not None:
            self.named.setdefault(name, []).append(stat)
        elif environment == b"" and stat.alive and _begins(stat.pid):
            self.beginning.append(stat)

    def parents(self, stat: procinfo.ProcessStat) -> Iterator[int]:
        """Yield the pids of a process's parents, nearest first."""
        for _ in range(_MAX_GENERATIONS):
            yield stat.ppid
            above = self.by_pid.get(stat.ppid)
            if above is None:
                return
            stat = above


_last: list[_Look] = []


def began_in(pid: int) -> str | None:
    """Return the id of the session a process says it began in; None if it does not, or is another user's."""
    return _named(_environment(pid))


def _environment(pid: int) -> bytes | None:
    try:
        with Path(procinfo.PROC, str(pid), "environ").open("rb", buffering=0) as file:
            return file.read(_ENVIRONMENT_BYTES)
    except OSError:
        return None


def _named(environment: bytes | None) -> str | None:
    _, found, rest = (b"\0" + (environment or b"")).partition(b"\0" + VARIABLE)
    return rest.partition(b"\0")[0].decode(errors="replace") if found else None


def _begins(pid: int) -> bool:
    """Tell whether a process without an environment is in execve(2), before its new arguments are there."""
    if procinfo.process_command(pid):
        return False  # it was started without one
    try:
        return bool(os.readlink(f"{procinfo.PROC}/{pid}/exe"))
    except OSError:
        return False  # the kernel's own, or gone


def somebody_begins(not_older_than: float = 0.0) -> bool:
    """Tell whether a process was just becoming another program when a recent look was taken, and still is.

    Until it is done nobody can say whose it is; that takes no more than milliseconds, unless the machine is busy.
    """
    look = _look(not_older_than)
    look.read_again()
    return bool(look.beginning)


def strays_of(session_id: str, members: Collection[int], not_older_than: float = 0.0) -> list[Stray]:
    """Return what has left the session and lives. `members` are the processes that are still in it.

    A look at all processes that was begun at most `not_older_than` seconds ago will do: a machine may have thousands,
    and whoever ends hundreds of sessions at one time must not look for each.
    """
    look = _look(not_older_than)
    inside = set(members)
    own = os.getpid()
    # What we run ourselves for a session (a command that gets a secret) is told its id, and is none of its programs.
    # As process 1 of a container we are everybody's parent, and that says nothing.
    found = [
        stat for stat in look.named.get(session_id, []) if own == 1 or own not in _until(look.parents(stat), inside)
    ]
    found += [stat for pid in inside for stat in look.children.get(pid, [])]
    strays: dict[int, Stray] = {}
    seen: set[int] = {own}
    while found:
        stat = found.pop()
        if stat.pid in seen:
            continue
        seen.add(stat.pid)
        found += look.children.get(stat.pid, [])
        if stat.pid not in inside:
            strays[stat.pid] = Stray(stat.pid, stat.start_time)
    return [stray for _, stray in sorted(strays.items()) if stray.alive]


def signal_stray(stray: Stray, number: int) -> None:
    """Signal a stray, never another process that has got its number; who does not take it from us is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        pidfd = os.pidfd_open(stray.pid)
        try:
            if stray.alive:  # the pidfd is open: from here on the number cannot become another's
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _look(not_older_than: float) -> _Look:
    if not _last or time.monotonic() - _last[0].at > not_older_than:
        _last[:] = [_Look()]
    return _last[0]


def _until(pids: Iterator[int], stop: Collection[int]) -> Iterator[int]:
    for pid in pids:
        if pid in stop:
            return
        yield pid
