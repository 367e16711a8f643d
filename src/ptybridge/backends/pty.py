"""Children behind a terminal, in process: spawned by ptyprocess (see `keeper.spawn`), read and waited for by Trio."""

from typing import Final

import trio

from ptybridge.backends import terminal
from ptybridge.backends.base import ProcessBacked
from ptybridge.backends.pace import Pace
from ptybridge.backends.process import ChildProcess
from ptybridge.backends.spawn import abandon, spawn_failed, start
from ptybridge.backends.stream import close_fd, pump, write_nowait, write_some
from ptybridge.core.child import ChildSpec, LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed
from ptybridge.keeper.ring import Ring
from ptybridge.model import Backend, WindowSize

# The line discipline's buffer (N_TTY_BUF_SIZE): no read from a terminal delivers more.
_READ_BYTES: Final = 4096
# How often to look whether a program that has closed its terminal has opened it again.
_REOPEN_SECONDS: Final = 0.1


class PtyChild(ProcessBacked):
    """A program behind a terminal of its own; implements `core.child.Child`."""

    backend: Backend = "pty"
    notebook = None

    def __init__(self, process: ChildProcess, pty_fd: int, pace: Pace) -> None:
        super().__init__(process)
        self._pty_fd = pty_fd
        self._pace = pace
        self._ended = False

    async def pump(self, log: Transcript) -> None:
        """Move output into `log` until the last process has closed the terminal."""
        await pump(self._pty_fd, log, want=_READ_BYTES, pace=self._pace, session=self, reopens=self._may_reopen)
        # Linux goes on accepting input for a terminal that nobody can read any more.
        self._ended = True

    async def _may_reopen(self) -> bool:
        """Nobody has the terminal open, but as long as the program runs it may open it again as /dev/tty.

        It is over only when the program had ended before that was seen: what it wrote while we waited is to be read.
        """
        if self._process.status is not None:
            return False
        with trio.move_on_after(_REOPEN_SECONDS):
            await self._process.wait()
        return True

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

    def line_mode(self) -> LineMode | None:
        """Return the terminal's mode."""
        return terminal.line_mode(self._pty_fd)

    def line_keys(self) -> LineKeys | None:
        """Return what has an effect in line mode, None outside of it."""
        return terminal.line_keys(self._pty_fd)

    def foreground_pgid(self) -> int | None:
        """Return the terminal's foreground process group."""
        return terminal.foreground_pgid(self._pty_fd)

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
        self._pace.note_input(self)


async def spawn(spec: ChildSpec, pace: Pace | None = None) -> PtyChild:
    """Start a program behind a new terminal. `pace` is shared by the sessions of a daemon.

    Raises `SpawnFailed` with the system's reason, `OutOfTerminals` or `OutOfDescriptors`; nothing is left behind then.
    Blocks for the milliseconds a fork takes.
    """
    await trio.lowlevel.checkpoint()
    born = start("pty", spec)
    try:
        process = ChildProcess(born.pid)
    except OSError as exc:
        abandon(born)
        raise spawn_failed(spec, exc) from exc
    return PtyChild(process, born.fds["pty"], pace or Pace())


def new_transcript(spec: ChildSpec) -> Transcript:
    """Return the log for a child of this backend."""
    return Transcript(Ring.anonymous(spec.capacity))
