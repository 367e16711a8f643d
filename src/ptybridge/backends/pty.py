"""Children behind a terminal, in process: spawned by ptyprocess, read and waited for by Trio.

How it works: `PtyProcess.spawn` forks and makes the terminal; `_Birth` takes the pid and the descriptor from it at
once, because a PtyProcess that keeps them closes the descriptor a second time when it is collected (by then perhaps
another session's) and sleeps in doing so. The child's last steps before exec are our own `_become`: ptyprocess would
replace argv[0], look on the daemon's PATH, lose the system's reason, and on a bad directory let the child run on as a
second daemon.
"""

import errno
import os
import signal
import termios
import traceback
from typing import Final, Never

import trio
from ptyprocess import PtyProcess

from ptybridge.backends import terminal
from ptybridge.backends.pace import Pace
from ptybridge.backends.process import ChildProcess
from ptybridge.backends.spawn import find_program, out_of_terminals, quiet_fork, reset_child, spawn_failed
from ptybridge.backends.stream import close_fd, pump, write_nowait, write_some
from ptybridge.core.child import ChildSpec, LineMode
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed, SpawnFailed
from ptybridge.keeper.ring import Ring
from ptybridge.model import Backend, ExitStatus, WindowSize

# The line discipline's buffer (N_TTY_BUF_SIZE): no read from a terminal delivers more.
_READ_BYTES: Final = 4096
# Locals of ptyprocess and the pty module that hold descriptors when a fork fails; neither closes them.
_FORGOTTEN: Final = ("exec_err_pipe_read", "exec_err_pipe_write", "master_fd", "slave_fd")


class PtyChild:
    """A program behind a terminal of its own; implements `core.child.Child`."""

    backend: Backend = "pty"
    notebook = None

    def __init__(self, process: ChildProcess, pty_fd: int, pace: Pace) -> None:
        self.pid = self.pgid = process.pid
        self._process = process
        self._pty_fd = pty_fd
        self._pace = pace
        self._ended = False

    async def pump(self, log: Transcript) -> None:
        """Move output into `log` until the last process has closed the terminal."""
        await pump(self._pty_fd, log, want=_READ_BYTES, pace=self._pace, session=self)
        # Linux goes on accepting input for a terminal that nobody can read any more.
        self._ended = True

    async def send_some(self, data: memoryview) -> int:
        """Write what fits, waiting for room."""
        self._note_input()
        return await write_some(self._pty_fd, data)

    def send_nowait(self, data: bytes) -> int:
        """Write what fits right now."""
        self._note_input()
        return write_nowait(self._pty_fd, data)

    async def close_input(self) -> None:
        """Type the terminal's end-of-file character, which ends input only at the start of a line."""
        self._note_input()
        await write_some(self._pty_fd, terminal.eof_character(self._pty_fd))

    def resize(self, size: WindowSize) -> None:
        """Set the terminal's size."""
        terminal.set_size(self._pty_fd, size)

    def signal(self, number: int, *, whole_session: bool) -> None:
        """Signal the foreground group (the child's own group when there is none), or the whole session."""
        if whole_session:
            self._process.signal_session(number)
        else:
            self._process.signal_group(self.foreground_pgid() or self.pgid, number)

    def survivors(self) -> list[int]:
        """Return the live processes of the session."""
        return self._process.survivors()

    def line_mode(self) -> LineMode | None:
        """Return the terminal's mode."""
        return terminal.line_mode(self._pty_fd)

    def foreground_pgid(self) -> int | None:
        """Return the terminal's foreground process group."""
        return terminal.foreground_pgid(self._pty_fd)

    async def wait(self) -> ExitStatus:
        """Wait for the exit status."""
        return await self._process.wait()

    def discard(self) -> None:
        """Do nothing: nobody else keeps the child."""

    async def aclose(self) -> None:
        """Release the descriptors, which hangs up the terminal: its processes get SIGHUP. Idempotent."""
        if self._pty_fd >= 0:
            close_fd(self._pty_fd)
            self._pty_fd = -1
        self._process.close()
        self._pace.forget(self)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _note_input(self) -> None:
        if self._ended:
            raise InputClosed
        self._pace.note(self)


async def spawn(spec: ChildSpec, pace: Pace | None = None) -> PtyChild:
    """Start a program behind a new terminal. `pace` is shared by the sessions of a daemon.

    Raises `SpawnFailed` with the system's reason, `OutOfTerminals` or `OutOfDescriptors`; nothing is left behind then.
    Blocks for the milliseconds a fork takes.
    """
    await trio.lowlevel.checkpoint()
    program = find_program(spec.argv[0], spec.env, spec.cwd)
    pid, pty_fd = _fork(spec, program)
    try:
        os.set_blocking(pty_fd, False)
        process = ChildProcess(pid)
    except OSError as exc:
        _abandon(pid, pty_fd)
        raise spawn_failed(spec.argv[0], exc.errno or errno.EAGAIN) from exc
    return PtyChild(process, pty_fd, pace or Pace())


def new_transcript(spec: ChildSpec) -> Transcript:
    """Return the log for a child of this backend."""
    return Transcript(Ring.anonymous(spec.capacity))


def _fork(spec: ChildSpec, program: str) -> tuple[int, int]:
    births: list[tuple[int, int]] = []

    class _Birth(PtyProcess):
        def __init__(self, pid: int, fd: int) -> None:
            births.append((pid, fd))
            self.fd = fd
            # Nothing for its __del__ to do.
            self.closed = True
            # forkpty(3) knows no close-on-exec: the next child would inherit this terminal.
            os.set_inheritable(fd, False)

    def become() -> None:
        _become(spec, program)

    try:
        with quiet_fork():
            _Birth.spawn([program], preexec_fn=become, dimensions=(spec.size.rows, spec.size.cols))
    except RuntimeError as exc:
        # _become's word from the child, through ptyprocess's pipe.
        for birth in births:
            _abandon(*birth)
        stage, _, number = str(exc).partition(" ")
        if stage == "chdir":
            raise spawn_failed(spec.cwd, int(number), doing="start in") from exc
        raise spawn_failed(spec.argv[0], int(number)) from exc
    except OSError as exc:
        for birth in births:
            _abandon(*birth)
        # Before descriptors become free again, which might hide the reason.
        reason = _why_no_fork(spec, exc)
        if not births:
            _close_forgotten(exc)
        raise reason from exc
    return births[0]


def _become(spec: ChildSpec, program: str) -> Never:
    """In the child: turn into the program. An exception's text reaches the parent as `RuntimeError`."""
    stage = "prepare"
    try:
        reset_child()
        terminal.prepare(0, echo=spec.echo)
        stage = "chdir"
        os.chdir(spec.cwd)
        stage = "exec"
        os.execve(program, spec.argv, spec.env)
    except (OSError, termios.error) as exc:
        raise RuntimeError(f"{stage} {exc.args[0]}") from exc


def _why_no_fork(spec: ChildSpec, exc: OSError) -> SpawnFailed:
    if exc.errno is not None:
        return spawn_failed(spec.argv[0], exc.errno)
    # The pty module says "out of pty devices" whatever the reason was; trying again tells.
    try:
        for fd in os.openpty():
            os.close(fd)
    except OSError as reason:
        if reason.errno in (errno.EMFILE, errno.ENFILE):
            return spawn_failed(spec.argv[0], reason.errno)
    return out_of_terminals()


def _close_forgotten(exc: OSError) -> None:
    found = {
        frame.f_locals[name]
        for frame, _ in traceback.walk_tb(exc.__traceback__)
        for name in _FORGOTTEN
        if name in frame.f_locals
    }
    for fd in found:
        os.close(fd)


def _abandon(pid: int, pty_fd: int) -> None:
    """End a child that never got to run its program (or that we cannot watch)."""
    os.close(pty_fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
