"""Facts about processes from Linux's /proc; each answers None or nothing where there is no /proc.

Everything here is a snapshot of something that changes by itself: a process may be gone before the answer is used.

How "blocked reading the terminal" is found: /proc/PID/syscall names the system call a thread sleeps in and its
arguments. For a read that is the descriptor; for select and poll the sets are read from the process's memory, for epoll
from its fdinfo; then the descriptors are compared with the terminal. Looking at the state or wchan alone would take
`tail -f` (which polls its standard output) and every socket reader for a prompt.
"""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

PROC: Final = Path("/proc")
# 52 numbers and a name of at most 64 bytes: proc_pid_stat(5).
_STAT_BYTES: Final = 4096

# A command line can be megabytes long; nobody reads more than this.
_COMMAND_BYTES: Final = 4096
# System calls by machine: what each is for us. From asm/unistd.h of each.
_READ, _SELECT, _POLL, _EPOLL = "read", "select", "poll", "epoll"
_CALLS: Final = {
    "x86_64": {
        0: _READ, 19: _READ, 7: _POLL, 271: _POLL, 23: _SELECT, 270: _SELECT, 232: _EPOLL, 281: _EPOLL, 441: _EPOLL,
    },
    "aarch64": {63: _READ, 65: _READ, 73: _POLL, 72: _SELECT, 22: _EPOLL, 441: _EPOLL},
}.get(os.uname().machine, {})  # fmt: skip
_POLLIN: Final = 0x001 | 0x040  # POLLIN, POLLRDNORM; of epoll too
_POLLFD: Final = struct.Struct("ihh")
_MAX_FDS: Final = 4096
_MAX_THREADS: Final = 64
# Where the kernel puts a reader of a terminal to sleep; all that is left to see when /proc/PID/syscall is refused.
_TTY_WCHAN: Final = frozenset({"n_tty_read", "wait_woken"})
# Where who waits for several things sleeps; a terminal may be one of them. "0": it runs, or we may not know.
_ANY_WCHAN: Final = frozenset({"", "0", "do_poll", "do_sys_poll", "do_select", "core_sys_select", "ep_poll",
    "do_epoll_wait", "do_epoll_pwait", "poll_schedule_timeout", "io_cqring_wait"})  # fmt: skip
# /dev/tty, the name every process has for its controlling terminal.
_DEV_TTY: Final = os.makedev(5, 0)


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
        # Not by `Path`, which takes as long as the kernel does: this is asked at every write of an agent.
        with open(f"{PROC}/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(_STAT_BYTES).decode(errors="replace")
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


def process_command(pid: int) -> list[str]:
    """Return the process's argv, [] if it is unknown (kernel threads, other users' hidden processes)."""
    try:
        with open(f"{PROC}/{pid}/cmdline", "rb") as file:
            data = file.read(_COMMAND_BYTES)
    except OSError:
        return []
    return [argument.decode(errors="replace") for argument in data.rstrip(b"\0").split(b"\0")] if data else []


def process_cwd(pid: int) -> str | None:
    """Return the process's directory, None if it is unknown."""
    try:
        return os.readlink(PROC / str(pid) / "cwd")
    except OSError:
        return None


def processes() -> list[ProcessStat]:
    """Return all processes there are; [] without /proc. Takes about 15 µs per process of the machine."""
    try:
        names = os.listdir(PROC)
    except OSError:
        return []
    return [stat for name in names if name.isdecimal() and (stat := process_stat(int(name))) is not None]


# A count is recent for so long, and for as long as so many counts take.
_LATELY_SECONDS: Final = 0.02
_LATELY_COUNTS: Final = 5
# What runs beside a group's leader hardly changes while nothing is printed.
_GROUP_SECONDS: Final = 0.1


class Census:
    """All processes by session id, counted anew when the last count is too old for the asker.

    Ending many sessions at once asks for each of them many times a second; counting for each would take forever.
    """

    def __init__(self) -> None:
        self.began = float("-inf")
        self._took = 0.0
        self._by_session: dict[int, list[ProcessStat]] = {}

    @property
    def lately(self) -> float:
        """How old a count may be, in seconds, for those to whom it need not be new: counting is to take a small part
        of the time, also where there are many processes or little of the processor.
        """
        return _LATELY_SECONDS + _LATELY_COUNTS * self._took

    def members(self, session_id: int, *, not_older_than: float = 0.0) -> list[ProcessStat]:
        """Return the processes of a session as they were at most so many seconds ago."""
        began = time.monotonic()
        if began - self.began > not_older_than:
            found: dict[int, list[ProcessStat]] = {}
            for stat in processes():
                found.setdefault(stat.session_id, []).append(stat)
            self.began, self._by_session = began, found
            self._took = time.monotonic() - began
        return self._by_session.get(session_id, [])


_census = Census()


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


def is_blocked_reading_terminal(pgid: int, session_id: int, *, lately: bool = False) -> bool | None:
    """Return whether a process of the foreground group waits for input from its terminal.

    None when that cannot be seen: without /proc, or for another user's program (a password prompt of sudo). Programs
    that wait for a terminal *and* something else (ssh, editors, top) count as waiting. `lately`: of those beside the
    group's leader a recent look at all processes will do, which sessions then share; one each would take forever.
    """
    verdict: bool | None = None
    not_older_than = max(_GROUP_SECONDS, _census.lately) if lately else 0.0
    for stat in _leader_first(pgid, session_id, not_older_than):
        if stat.session_id != session_id or not stat.tty:
            continue
        blocked = _blocked_on(stat.pid, device(stat.tty))
        if blocked:
            return True
        if blocked is not None:
            verdict = False
    return verdict


def _leader_first(pgid: int, session_id: int, not_older_than: float) -> Iterator[ProcessStat]:
    # Most groups are one program: its leader answers without a walk through all processes of the machine.
    leader = process_stat(pgid)
    if leader is not None and leader.pgid == pgid and leader.alive:
        yield leader
    for stat in _census.members(session_id, not_older_than=not_older_than):
        if stat.pgid == pgid and stat.pid != pgid and stat.alive:
            yield stat


def _blocked_on(pid: int, tty: int) -> bool | None:
    verdict: bool | None = None
    try:
        threads = os.listdir(PROC / str(pid) / "task")[:_MAX_THREADS]
    except OSError:
        return None
    for thread in threads:
        task = PROC / str(pid) / "task" / thread
        try:
            fields = (task / "syscall").read_text().split()
        except OSError:
            try:
                place = (task / "wchan").read_text().partition(".")[0]  # the compiler may add ".constprop.0"
            except OSError:
                continue
            if place in _TTY_WCHAN:
                return True
            if place not in _ANY_WCHAN:
                verdict = False
            continue
        verdict = False
        # "running" or "-1 …" when it is in no system call.
        call = _CALLS.get(int(fields[0])) if len(fields) > 2 else None
        if call and any(_is_terminal(pid, fd, tty) for fd in _awaited(pid, call, [int(f, 16) for f in fields[1:4]])):
            return True
    return verdict


def _awaited(pid: int, call: str, arguments: list[int]) -> Iterator[int]:
    """Yield the descriptors the call waits to read from."""
    first, second, _ = arguments
    if call == _READ:
        yield first
    elif call == _SELECT and second:
        count = min(first, _MAX_FDS)
        bits = int.from_bytes(_memory(pid, second, (count + 7) // 8), "little")
        yield from (fd for fd in range(count) if bits >> fd & 1)
    elif call == _POLL:
        data = _memory(pid, first, min(second, _MAX_FDS) * _POLLFD.size)
        whole = data[: len(data) // _POLLFD.size * _POLLFD.size]
        yield from (fd for fd, events, _ in _POLLFD.iter_unpack(whole) if fd >= 0 and events & _POLLIN)
    elif call == _EPOLL:
        yield from _epoll_fds(pid, first)


def _epoll_fds(pid: int, epoll_fd: int) -> Iterator[int]:
    try:
        lines = (PROC / str(pid) / "fdinfo" / str(epoll_fd)).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        # "tfd:        0 events:       19 data: …": proc_pid_fdinfo(5).
        words = line.split()
        if words[:1] == ["tfd:"] and int(words[3], 16) & _POLLIN:
            yield int(words[1])


def _memory(pid: int, address: int, size: int) -> bytes:
    try:
        with (PROC / str(pid) / "mem").open("rb", buffering=0) as file:
            file.seek(address)
            return file.read(size)
    except (OSError, OverflowError):
        return b""


def _is_terminal(pid: int, fd: int, tty: int) -> bool:
    try:
        # Follows the link to the very file; a terminal in another mount namespace is found too.
        return os.stat(PROC / str(pid) / "fd" / str(fd)).st_rdev in (tty, _DEV_TTY)
    except OSError:
        return False


def device(number: int) -> int:
    """Return the st_rdev of the terminal that `ProcessStat.tty` names."""
    # The kernel's new_encode_dev: 8 low bits of the minor number, 12 of the major, the rest of the minor.
    return os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
