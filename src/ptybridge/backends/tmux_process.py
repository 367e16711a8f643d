"""The program in a tmux pane as the kernel sees it: its exit, read from the launcher's file, and its terminal."""

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from ptybridge.backends import terminal
from ptybridge.backends.process import ChildProcess
from ptybridge.core import procinfo
from ptybridge.core.child import LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.core.signals import signal_name
from ptybridge.model import ExitStatus

# How long after the exit its launcher may take to write it down, while it lives.
_STATUS_SECONDS: Final = 10.0
# /proc/PID/stat, proc(5): the fields after the name begin with the third.
_TTY, _TPGID = 7 - 3, 8 - 3


class PaneProcess(ChildProcess):
    """A process whose parent is a launcher: its status is in that one's file."""

    def __init__(self, pid: int, launcher_pid: int, status_file: Path) -> None:
        """Raises OSError when the launcher, or what it has to tell, is gone."""
        self._status_file = status_file
        self._launcher = os.pidfd_open(launcher_pid)
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            pidfd = -1  # reaped long ago
        except OSError:
            os.close(self._launcher)
            raise
        super().__init__(pid, pidfd)
        if pidfd < 0:
            self.status = self._read() or ExitStatus()

    async def wait(self) -> ExitStatus:
        """Wait for the exit and for its status. Any number of tasks may wait."""
        async with self._reaping:
            if self.status is None:
                await trio.lowlevel.wait_readable(self._pidfd)
                self.status = await self._told()
        return self.status

    def reap_nowait(self) -> ExitStatus | None:
        """Return the status if it is known; reaping is the launcher's."""
        return self.status

    async def _told(self) -> ExitStatus:
        delay = 0.001
        deadline = trio.current_time() + _STATUS_SECONDS
        while True:
            gone = _readable(self._launcher)
            status = self._read()
            if status is not None:
                return status
            if gone or trio.current_time() > deadline:
                return ExitStatus()  # it was killed first; nobody can know any more
            await trio.sleep(delay)
            delay = min(2 * delay, 0.1)

    def said_end(self) -> bool:
        """Tell whether the launcher has printed its mark, or is gone."""
        try:
            return self._status_file.read_text().endswith("end\n")
        except OSError:
            return _readable(self._launcher)

    def _read(self) -> ExitStatus | None:
        try:
            kind, number = self._status_file.read_text().split()[:2]
        except (OSError, ValueError):
            return None
        return ExitStatus(code=int(number)) if kind == "exit" else ExitStatus(signal=signal_name(int(number)))

    def end_launcher(self) -> None:
        """Let the pane's own process go, and what it has written down."""
        if self._launcher >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._launcher, signal.SIGKILL)
        self._status_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the pidfds."""
        super().close()
        if self._launcher >= 0:
            os.close(self._launcher)
            self._launcher = -1


class PaneTerminal:
    """The terminal of a pane, through its path: opened for a moment each time, so that its end is seen by tmux.

    The path is another terminal's once this one has ended; so it is trusted only while the program has it.
    """

    def __init__(self, pid: int, path: str) -> None:
        self._pid = pid
        self._path = path

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Give a descriptor, -1 when there is none to be had."""
        fd = -1
        with contextlib.suppress(OSError):
            # A terminal may be opened by nobody else (TIOCEXCL).
            fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if fd >= 0 and not self._is_ours(fd):
                os.close(fd)
                fd = -1
            yield fd
        finally:
            if fd >= 0:
                os.close(fd)

    def _is_ours(self, fd: int) -> bool:
        stat = procinfo.process_stat(self._pid)
        return stat is not None and bool(stat.tty) and procinfo.device(stat.tty) == os.fstat(fd).st_rdev

    def unread_input(self) -> int:
        """Return how much input lies in the terminal that the program could read and has not."""
        with self.opened() as fd:
            if fd < 0:
                return 0
            (unread,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
            return int(unread)

    def line_mode(self) -> LineMode | None:
        """Return the line discipline's state."""
        with self.opened() as fd:
            mode = terminal.line_mode(fd)
            if mode is None:
                return None
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            # As in `terminal`: a stopped terminal has no room for output. tmux leaves no unread output for long.
            return LineMode(canonical=mode.canonical, echo=mode.echo, flow_stopped=not poll.poll(0))

    def line_keys(self) -> LineKeys | None:
        """Return what has an effect in line mode, None outside of it."""
        with self.opened() as fd:
            return terminal.line_keys(fd)

    def eof_character(self) -> bytes:
        """Return what ends input."""
        with self.opened() as fd:
            return terminal.eof_character(fd) if fd >= 0 else b""

    def stop_output(self, *, stop: bool) -> bool:
        """Hold the program's output back in the kernel, or let it go on; return whether that was possible."""
        with self.opened() as fd:
            if fd < 0:
                return False
            with contextlib.suppress(termios.error):
                termios.tcflow(fd, termios.TCOOFF if stop else termios.TCOON)
                return True
            return False

    def foreground_pgid(self) -> int | None:
        """Return the foreground process group, None if there is none any more."""
        try:
            text = (procinfo.PROC / str(self._pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        if fields[0] in "ZXx" or fields[_TTY] == "0":
            return None
        group = int(fields[_TPGID])
        return group if group > 0 else None


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
