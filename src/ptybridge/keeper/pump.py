"""Moves a child's output into its ring so that no kill loses or doubles a byte.

How it works: a read that is killed may have taken bytes nobody will ever see. So bytes go through a *scratch pipe*:
`splice` moves them there inside the kernel, where a killed process cannot leave them half-way, and the pipe counts
its content exactly. A page of shared memory, the *journal*, says whose they are. One step is

    1. owner = session, stream        2. splice output → pipe, until empty or so many pages
    3. begin = end of ring, length = bytes in the pipe        4. readv pipe → ring
    5. note the stream (pipes only), end = begin + taken      6. length = 0        7. owner = 0

Whoever holds pipe, journal and ring can `recover` after a kill at any point: between 3 and 6 nothing enters the pipe,
so `length - bytes in the pipe` is exactly what step 4 took; what is still in the pipe follows it. Recovery may be
killed, too, and repeated. One pipe and one journal serve all sessions because steps never interleave.
With one output a byte thus is in the output, the pipe or the ring, never in two of them or in none. With two outputs
the pipe holds bytes of one stream at a time, the journal names it, and the segment index is written before `end`.

Two processes may hold one pump, the keeper and a daemon that moves output in its place. Each makes its step under a
lock on the journal, which the kernel releases with a process that is killed; then the step is unfinished, which the
next one sees, who leaves it to `recover`. And a daemon steps only while the journal names its epoch: one that has been
superseded, or is taken for dead, changes nothing any more from the moment the keeper has had the lock again.

Where the kernel cannot splice from a terminal (5.10, 5.11, other systems) bytes are read directly: still exact when
the daemon is killed, but a killed pump may lose the read it was in.
"""

import enum
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import NamedTuple

from ptybridge.keeper.memory import HEADER_BYTES, create_area, map_area, unmap
from ptybridge.keeper.ring import Ring, Segments

VERSION = 1
_MAGIC = int.from_bytes(b"PTYJRNL1", "little")
_OWNER, _STREAM, _BEGIN, _LENGTH, _ACTIVE = range(2, 7)

# A terminal hands out at most a page at a time; 14 pages fit the pipe (16 slots) with room for pieces.
PIECE_BYTES = 4096
MOST_PIECES = 14
_SPLICE_F_NONBLOCK = 2  # <linux/splice.h>
_COUNT = struct.Struct("i")


class State(enum.Enum):
    """What a step found; `Progress` says how much it moved besides."""

    MORE = "more"  # there may be more at once
    EMPTY = "empty"  # wait until the output is readable
    FULL = "full"  # wait until the ring's floor has moved
    HUNG_UP = "hung up"  # nobody has the terminal open; the program may open it again as /dev/tty
    ENDED = "ended"  # this output is closed
    BUSY = "busy"  # nothing was done: another process is in a step or was killed in one, or this one may not step


class Progress(NamedTuple):
    """The result of a step: `size` bytes were added to the ring."""

    size: int
    state: State


class Flow:
    """One session as the pump sees it. Owns nothing; the descriptors must be non-blocking.

    `number` is the session's, above 0 and unique among those that share a journal. `outputs` is the terminal, or
    stdout and stderr, which then need `segments`. With `pauses` the ring's floor is heeded. `reopens` is for a
    terminal whose program still runs: then that nobody has it open is not its end.
    """

    __slots__ = ("number", "open", "outputs", "pauses", "reopens", "ring", "segments")

    def __init__(
        self, number: int, outputs: list[int], ring: Ring, segments: Segments | None = None, *, pauses: bool = False
    ) -> None:
        if len(outputs) > 1 and segments is None:
            raise ValueError("two outputs need a segment index")
        self.number = number
        self.outputs = outputs
        self.ring = ring
        self.segments = segments
        self.pauses = pauses
        self.reopens = False
        self.open = [not ring.eof] * len(outputs)


_BUSY = Progress(0, State.BUSY)


class Pump:
    """The scratch pipe and the journal.

    `epoch` is a daemon's: it steps only while it is the one that `allow` names. Without one, steps are always allowed.
    """

    def __init__(self, read_fd: int, write_fd: int, journal_fd: int) -> None:
        """Use an existing pipe and journal and take over all three descriptors. Raises LayoutError."""
        self.fds: tuple[int, ...] = (read_fd, write_fd, journal_fd)
        self._read_fd, self._write_fd, self._journal_fd = read_fd, write_fd, journal_fd
        self._area = map_area(journal_fd, _MAGIC, VERSION)
        self._journal = memoryview(self._area).cast("Q")
        self.exact = can_splice()
        self.epoch: int | None = None

    @classmethod
    def create(cls) -> "Pump":
        """Make a pipe and a journal; their descriptors are close-on-exec."""
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        return cls(read_fd, write_fd, create_area("ptybridge-journal", HEADER_BYTES, (_MAGIC, VERSION)))

    def step(self, flow: Flow, stream: int = 0, pieces: int = MOST_PIECES) -> Progress:
        """Move what there is (so many pages at most) from one output into the ring. Never blocks.

        Sets `ring.stalled` when the ring is full and `ring.eof` when the last output has ended. Raises OSError
        when the output cannot be read for a reason other than its end.
        """
        if not self._lock():
            return _BUSY
        try:
            journal = self._journal
            if journal[_OWNER] or (self.epoch is not None and journal[_ACTIVE] != self.epoch):
                return _BUSY
            return self._step(flow, stream, pieces * PIECE_BYTES)
        finally:
            self._unlock()

    def recover(self, find: Callable[[int], Flow | None]) -> bool:
        """Finish the step in which a pump was killed, if there is one. Idempotent.

        `find` returns the flow of a number, or None when there is no such session; its bytes are then discarded.
        Returns whether no step is under way now: False while another process is in one.
        """
        if not self._lock():
            return False
        try:
            if number := self._journal[_OWNER]:
                self._finish(find(number))
        finally:
            self._unlock()
        return True

    def allow(self, epoch: int) -> None:
        """Let the daemon of this epoch step, and no other (0: none). One of the others may still be in a step."""
        self._journal[_ACTIVE] = epoch

    def close(self) -> None:
        """Close the descriptors and unmap; idempotent."""
        for fd in self.fds:
            os.close(fd)
        self.fds = ()
        self._journal.release()
        unmap(self._area)

    # -- the step -------------------------------------------------------------------------------------------

    def _lock(self) -> bool:
        """Keep other processes out of the journal. By process and not by open file: forks have no part in it."""
        try:
            fcntl.lockf(self._journal_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(self) -> None:
        fcntl.lockf(self._journal_fd, fcntl.LOCK_UN)

    def _step(self, flow: Flow, stream: int, most: int) -> Progress:
        room = self._room(flow, most)
        if room == 0:
            return Progress(0, State.FULL)
        if not self.exact:
            return self._read(flow, stream, room)
        journal = self._journal
        journal[_STREAM] = stream
        journal[_OWNER] = flow.number
        try:
            taken, state = self._fill(flow.outputs[stream], room)
        except OSError:  # raised only while the pipe is empty
            journal[_OWNER] = 0
            raise
        if taken:
            self._empty(flow, stream, taken)
        journal[_OWNER] = 0
        return _progress(flow, stream, taken, state)

    def _finish(self, flow: Flow | None) -> None:
        journal = self._journal
        stream = journal[_STREAM]
        if flow is None:
            while waiting := self._waiting():
                os.read(self._read_fd, waiting)
            journal[_LENGTH] = 0
        else:
            if length := journal[_LENGTH]:
                _publish(flow, stream, journal[_BEGIN], length - self._waiting())
                journal[_LENGTH] = 0
            self._empty(flow, stream, self._waiting())
        journal[_OWNER] = 0

    def _room(self, flow: Flow, most: int) -> int:
        ring = flow.ring
        room = ring.reserve(most, ring.floor if flow.pauses else None)
        if room == 0:
            ring.stalled = True
            # Who moves the floor looks at `stalled` afterwards; so we look at the floor after setting it.
            room = ring.reserve(most, ring.floor)
            ring.stalled = room == 0
        return room

    def _fill(self, output: int, room: int) -> tuple[int, State]:
        """Step 2. Returns how many bytes are in the pipe and what is to be expected of the output."""
        taken = 0
        while taken < room:
            want = min(PIECE_BYTES, room - taken)
            try:
                size = os.splice(output, self._write_fd, want, flags=_SPLICE_F_NONBLOCK)
            except BlockingIOError:
                return taken, State.EMPTY
            except OSError as error:
                if error.errno == errno.EIO:
                    return taken, State.ENDED  # what Linux says once the last process on a terminal is gone: tty(4)
                if error.errno == errno.EINVAL:
                    self.exact = False
                elif not taken:
                    raise
                return taken, State.MORE
            if size == 0:
                return taken, State.ENDED
            taken += size
            # A terminal with more to come often hands out one byte less than a page. A really short piece was most
            # likely all, and asking again costs more than the next wake-up.
            if size < want // 2:
                break
        return taken, State.MORE

    def _empty(self, flow: Flow, stream: int, waiting: int) -> None:
        """Steps 3 to 6, until the pipe, in which so much is waiting, is empty; usually once."""
        journal, ring = self._journal, flow.ring
        while waiting:
            # In a step the room is there already; in a recovery the floor may have changed, but the bytes must go.
            ring.reserve(waiting)
            begin = ring.end
            journal[_BEGIN] = begin
            journal[_LENGTH] = waiting
            size = os.readv(self._read_fd, ring.views(begin, waiting))
            _publish(flow, stream, begin, size)
            journal[_LENGTH] = 0
            waiting -= size

    def _waiting(self) -> int:
        """How many bytes are in the pipe."""
        count: int = _COUNT.unpack(fcntl.ioctl(self._read_fd, termios.FIONREAD, b"\0\0\0\0"))[0]
        return count

    def _read(self, flow: Flow, stream: int, room: int) -> Progress:
        """The step without splice."""
        ring = flow.ring
        begin = ring.end
        try:
            size = os.readv(flow.outputs[stream], ring.views(begin, room))
        except BlockingIOError:
            return Progress(0, State.EMPTY)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            size = 0
        _publish(flow, stream, begin, size)
        return _progress(flow, stream, size, State.MORE if size else State.ENDED)


def end_output(flow: Flow, stream: int) -> Progress:
    """Give up an output that cannot be read, as if it had ended."""
    return _progress(flow, stream, 0, State.ENDED)


def can_splice() -> bool:
    """Whether this kernel moves bytes from a terminal into a pipe."""
    if not hasattr(os, "splice"):
        return False
    pty_fd, terminal_fd = os.openpty()
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.set_blocking(pty_fd, False)
        os.splice(pty_fd, write_fd, 1, flags=_SPLICE_F_NONBLOCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        for fd in (pty_fd, terminal_fd, read_fd, write_fd):
            os.close(fd)
    return True


def _publish(flow: Flow, stream: int, begin: int, size: int) -> None:
    """Step 5: make the `size` bytes at `begin` visible. The same call again changes nothing."""
    if flow.segments is not None:
        flow.segments.record(stream, begin, size)
    flow.ring.commit(begin + size - flow.ring.end)


def _progress(flow: Flow, stream: int, size: int, state: State) -> Progress:
    if state is State.ENDED and flow.reopens:
        return Progress(size, State.HUNG_UP)
    if state is State.ENDED:
        flow.open[stream] = False
        if not any(flow.open):
            flow.ring.eof = True
    return Progress(size, state)
