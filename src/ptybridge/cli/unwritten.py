"""What a command does when its output cannot be written: a reader that has gone, a full disk."""

import contextlib
import errno
import os
import select
import sys
import threading
from typing import Final

from ptybridge.cli.exits import EXIT_BROKEN_PIPE, EXIT_FAILURE

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def unwritten(error: OSError) -> int:
    """Say it if it must be said, and return the exit code. Raises `error` when it is of something else."""
    broken = isinstance(error, BrokenPipeError)  # `| head` has seen enough
    if not broken and (error.errno not in _FULL or error.filename is not None):
        raise error
    # What is still buffered must go nowhere, or the interpreter complains at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if broken:
        return EXIT_BROKEN_PIPE
    with contextlib.suppress(OSError):
        print(f"ptybridge: the output cannot be written: {error.strerror}", file=sys.stderr)
    return EXIT_FAILURE


def end_with_reader() -> None:
    """End this process when nobody reads its standard output any more, as `tail -f x | grep -m 1 y` should.

    Only a write would tell that otherwise, and what is followed may be silent for hours. For commands that only look.
    """
    threading.Thread(target=_await_reader, name="reader", daemon=True).start()


def _await_reader() -> None:
    poll = select.poll()
    poll.register(1, 0)
    # poll(2): POLLERR "is also set for a file descriptor referring to the write end of a pipe when the read end has
    # been closed". A terminal's POLLHUP is for SIGHUP.
    if any(event & select.POLLERR for _, event in poll.poll()):
        os._exit(EXIT_BROKEN_PIPE)
