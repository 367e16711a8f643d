"""Non-blocking descriptors: a child's output into a transcript, and input to a child.

How the pump works: it reads first and waits only when there was nothing, because a terminal hands over at most 4 KB a
read and waiting before each read halves the throughput. Bytes go straight from the kernel into the ring.
"""

import errno
import os
import select
from collections.abc import Awaitable, Callable

import trio

from ptybridge.backends.pace import Pace
from ptybridge.core.transcript import INLINE_BYTES, Transcript
from ptybridge.errors import InputClosed


async def never() -> bool:
    """For outputs that cannot come back."""
    await trio.lowlevel.checkpoint()
    return False


async def pump(
    fd: int,
    log: Transcript,
    *,
    want: int,
    pace: Pace,
    session: object,
    stream: int = 0,
    turn: trio.Lock | None = None,
    reopens: Callable[[], Awaitable[bool]] = never,
) -> None:
    """Move what `fd` delivers into `log` until its end. Cancellable at any time without losing a byte.

    `reopens` is asked at the end of a terminal's output; after it has waited a while it says whether to look again.
    `want` is how much to ask for in one read: that much of the oldest output is given up as soon as the ring is full,
    so it should not exceed what one read can deliver. `session` is how `pace` knows us. Pumps into the same log share
    a `turn` for waiting until there is room, because a transcript wakes one writer only.
    """
    turn = turn or trio.Lock()
    ring = log.ring
    while True:
        for _ in range(pace.batch(session)):
            before = ring.end
            room = ring.reserve(want, log.floor())
            if room == 0:
                async with turn:
                    if ring.reserve(want, log.floor()) == 0:
                        await log.wait_room()
                break
            try:
                count = os.readv(fd, ring.views(before, room))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(fd)
                break
            except OSError as exc:
                # Linux reports EIO, not EOF, once the last process has closed the terminal, and only after
                # everything it wrote was read: tty_ioctl(4).
                if exc.errno != errno.EIO:
                    raise
                if await reopens():
                    break
                count = 0
            if count == 0:
                await trio.lowlevel.checkpoint()
                return
            if log.segments is not None:
                log.segments.record(stream, before, count)
            ring.commit(count)
            pace.note(session)
            log.grew(before, ring.read(before, count)[1] if count <= INLINE_BYTES else None)
        else:
            await pace.turn(session)


def write_nowait(fd: int, data: bytes | memoryview) -> int:
    """Write what fits right now, maybe nothing. Raises `InputClosed`."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except OSError as exc:
        # EIO: the terminal has lost its last process. EPIPE: the pipe its reader. EBADF: we closed it ourselves.
        if exc.errno in (errno.EIO, errno.EPIPE, errno.EBADF):
            raise InputClosed from exc
        raise


async def write_some(fd: int, data: bytes | memoryview) -> int:
    """Write what fits, waiting for room if there is none; return the count ≥ 1 (0 only for no data).

    Always a checkpoint; a cancelled call has written nothing. Raises `InputClosed`.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    while (count := write_nowait(fd, data)) == 0 and len(data):
        try:
            await trio.lowlevel.wait_writable(fd)
        except trio.ClosedResourceError as exc:
            raise InputClosed from exc
        if _hung_up(fd):
            # A full terminal without processes would be "writable" and "full" in turns for ever.
            raise InputClosed
    await trio.lowlevel.cancel_shielded_checkpoint()
    return count


def close_fd(fd: int) -> None:
    """Close a descriptor other tasks may be waiting on: they get `trio.ClosedResourceError`, not a recycled fd."""
    trio.lowlevel.notify_closing(fd)
    os.close(fd)


def _hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))
