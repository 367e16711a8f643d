"""Children behind plain pipes, for programs that need no terminal: stdout and stderr stay apart.

How it works: both pipes are read into one log in order of arrival, and its segment index remembers which bytes came
from which; a stream alone is read through the index.
"""

from typing import Final

import trio

from ptybridge.backends.base import ProcessBacked
from ptybridge.backends.pace import Pace
from ptybridge.backends.process import ChildProcess
from ptybridge.backends.spawn import abandon, spawn_failed, start
from ptybridge.backends.stream import close_fd, pump, write_nowait, write_some
from ptybridge.core.child import ChildSpec, LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring, Segments
from ptybridge.keeper.segments import STDERR, STDOUT
from ptybridge.model import Backend, WindowSize

# What a pipe holds at most unless it is enlarged, so what one read can deliver: pipe(7).
_READ_BYTES: Final = 65536
# A run of one stream costs 32 bytes; programs that mix both streams line by line need a run every ~100 bytes.
BYTES_PER_RUN: Final = 128


class PipesChild(ProcessBacked):
    """A program behind pipes in a session of its own; implements `core.child.Child`."""

    backend: Backend = "pipes"
    notebook = None

    def __init__(self, process: ChildProcess, stdin: int, stdout: int, stderr: int, pace: Pace) -> None:
        super().__init__(process)
        self._stdin = stdin
        self._outputs = {STDOUT: stdout, STDERR: stderr}
        self._pace = pace

    async def pump(self, log: Transcript) -> None:
        """Move both outputs into `log` until all their writers have closed them."""
        # A quarter: a small ring should not be emptied to make room for a read that delivers little.
        want = min(_READ_BYTES, log.ring.capacity // 4)
        turn = trio.Lock()
        async with trio.open_nursery() as nursery:
            for stream, fd in self._outputs.items():

                async def follow(fd: int = fd, stream: int = stream) -> None:
                    await pump(fd, log, want=want, pace=self._pace, session=self, stream=stream, turn=turn)

                nursery.start_soon(follow)

    async def send_some(self, data: memoryview) -> int:
        """Write what fits, waiting for room."""
        self._pace.note_input(self)
        return await write_some(self._stdin, data)

    def send_nowait(self, data: bytes) -> int:
        """Write what fits right now."""
        self._pace.note_input(self)
        return write_nowait(self._stdin, data)

    async def close_input(self) -> None:
        """Close the child's standard input. Idempotent."""
        self._close_stdin()
        await trio.lowlevel.checkpoint()

    def resize(self, size: WindowSize) -> None:
        """Do nothing: pipes have no size."""

    def line_mode(self) -> LineMode | None:
        """Return None: pipes have no line discipline."""
        return None

    def line_keys(self) -> LineKeys | None:
        """Return None: pipes have no line discipline."""
        return None

    async def aclose(self) -> None:
        """Release the descriptors; a child that still writes gets SIGPIPE. Idempotent."""
        self._close_stdin()
        for fd in self._outputs.values():
            close_fd(fd)
        self._outputs.clear()
        self._process.close()
        self._pace.forget(self)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _close_stdin(self) -> None:
        if self._stdin >= 0:
            close_fd(self._stdin)
            # Writing to -1 fails with EBADF, which is `InputClosed`.
            self._stdin = -1


async def spawn(spec: ChildSpec, pace: Pace | None = None) -> PipesChild:
    """Start a program behind pipes. `pace` is shared by the sessions of a daemon.

    Raises `SpawnFailed` with the system's reason, or `OutOfDescriptors`; nothing is left behind then.
    """
    await trio.lowlevel.checkpoint()
    born = start("pipes", spec)
    try:
        process = ChildProcess(born.pid)
    except OSError as exc:
        abandon(born)
        raise spawn_failed(spec, exc) from exc
    return PipesChild(process, born.fds["stdin"], born.fds["stdout"], born.fds["stderr"], pace or Pace())


def new_transcript(spec: ChildSpec) -> Transcript:
    """Return the log for a child of this backend."""
    return Transcript(Ring.anonymous(spec.capacity), Segments.anonymous(spec.capacity // BYTES_PER_RUN))
