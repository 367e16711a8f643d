"""What a command does when its output cannot be written: a reader that has gone, a full disk."""

import contextlib
import errno
import os
import sys
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
