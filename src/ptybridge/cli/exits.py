"""Exit codes: few, documented in docs/cli.md, and kept for ever because scripts depend on them."""

import errno
import signal
from typing import Final

from ptybridge import errors
from ptybridge.errors import PtybridgeError

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNREACHABLE: Final = 4
EXIT_REFUSED: Final = 5
# Those of timeout(1), env(1) and shells.
EXIT_TIMEOUT: Final = 124
EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NO_PROGRAM: Final = 127
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_BROKEN_PIPE: Final = 128 + signal.SIGPIPE  # as if it had been ended by that

# The first class that fits decides.
_BY_CLASS: Final[tuple[tuple[type[PtybridgeError], int], ...]] = (
    (errors.NotFound, EXIT_NOT_FOUND),
    (errors.InvalidParams, EXIT_USAGE),
    (errors.InvalidRequest, EXIT_USAGE),
    (errors.MethodNotFound, EXIT_USAGE),
    (errors.ConfigInvalid, EXIT_USAGE),
    (errors.RequestTooLarge, EXIT_USAGE),
    (errors.Unavailable, EXIT_UNREACHABLE),
    (errors.VersionMismatch, EXIT_UNREACHABLE),
    (errors.Denied, EXIT_REFUSED),
    (errors.Conflict, EXIT_REFUSED),
    (errors.UnsafePath, EXIT_REFUSED),
    (errors.RateLimited, EXIT_REFUSED),
    (errors.InputFull, EXIT_REFUSED),
    (errors.TooManyRequests, EXIT_REFUSED),
)


def exit_code_of(error: PtybridgeError) -> int:
    """Return the exit code of an error."""
    if isinstance(error, errors.SpawnFailed):
        number = error.data.get("errno")
        if number == errno.ENOENT:
            return EXIT_NO_PROGRAM
        return EXIT_NOT_EXECUTABLE if number in {errno.EACCES, errno.ENOEXEC, errno.EISDIR} else EXIT_FAILURE
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), EXIT_FAILURE)


def status_of(exit_code: int | None, exit_signal: str | None) -> int:
    """Return the status to leave with for a child's end: its own, or 128 + the number of the signal."""
    if exit_signal is not None:
        return 128 + signal_number(exit_signal)
    return EXIT_FAILURE if exit_code is None else exit_code


def signal_number(name: str) -> int:
    """Return the number of "SIGINT"; 0 for a name this system does not have."""
    found = signal.Signals.__members__.get(name)
    return int(found) if found is not None else 0
