"""Facts about processes from Linux's /proc; each answers None or nothing where there is no /proc.

Everything here is a snapshot of something that changes by itself: a process may be gone before the answer is used.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

PROC: Final = Path("/proc")

# A command line can be megabytes long; nobody reads more than this.
_COMMAND_BYTES: Final = 4096


class ProcessStat(msgspec.Struct, frozen=True):
    """The fields of /proc/PID/stat we use; `start_time` is in clock ticks since boot and tells recycled pids apart."""

    pid: int
    name: str
    state: str
    ppid: int
    pgid: int
    session_id: int
    tty: int
    start_time: int

    @property
    def alive(self) -> bool:
        """False for a zombie, which is only an exit status."""
        return self.state not in "ZXx"


class ForegroundProcess(msgspec.Struct, frozen=True):
    """What a terminal's foreground process group runs; for a pipeline its leader, else its oldest member."""

    pid: int
    pgid: int
    name: str
    command: list[str]


def process_stat(pid: int) -> ProcessStat | None:
    """Return the process's facts, None if there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may itself contain any of them: proc_pid_stat(5).
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return ProcessStat(
        pid=pid,
        name=head.partition("(")[2],
        state=fields[0],
        ppid=int(fields[1]),
        pgid=int(fields[2]),
        session_id=int(fields[3]),
        tty=int(fields[4]),
        start_time=int(fields[19]),
    )


def process_start_time(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; (pid, start time) is never reused."""
    stat = process_stat(pid)
    return None if stat is None else stat.start_time


def process_command(pid: int) -> list[str]:
    """Return the process's argv, [] if it is unknown (kernel threads, other users' hidden processes)."""
    try:
        with (PROC / str(pid) / "cmdline").open("rb") as file:
            data = file.read(_COMMAND_BYTES)
    except OSError:
        return []
    return [argument.decode(errors="replace") for argument in data.rstrip(b"\0").split(b"\0")] if data else []


def processes() -> list[ProcessStat]:
    """Return all processes there are; [] without /proc. Takes about 15 µs per process of the machine."""
    try:
        names = os.listdir(PROC)
    except OSError:
        return []
    return [stat for name in names if name.isdecimal() and (stat := process_stat(int(name))) is not None]


def session_members(session_id: int) -> list[int]:
    """Return the live processes of a session (the kernel's, made by setsid), zombies not counted."""
    return [stat.pid for stat in processes() if stat.session_id == session_id and stat.alive]


def group_members(pgid: int) -> list[ProcessStat]:
    """Return the live processes of a process group, its leader first, then by age."""
    members = [stat for stat in processes() if stat.pgid == pgid and stat.alive]
    return sorted(members, key=lambda stat: (stat.pid != pgid, stat.start_time, stat.pid))


def foreground(pgid: int | None) -> ForegroundProcess | None:
    """Return what a foreground process group runs, None if the group is unknown or empty."""
    if not pgid:
        return None
    leader = process_stat(pgid)
    if leader is None or not leader.alive or leader.pgid != pgid:
        leader = next(iter(group_members(pgid)), None)
    if leader is None:
        return None
    return ForegroundProcess(pid=leader.pid, pgid=pgid, name=leader.name, command=process_command(leader.pid))
