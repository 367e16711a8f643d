"""What backends share in starting a program: finding it, the child's first steps, and typed failures.

Everything marked "in the child" runs between fork and exec, where only the forking thread exists: no imports, no
logging, no locks.
"""

import contextlib
import errno
import os
import resource
import signal
import stat
import warnings
from collections.abc import Iterator, Mapping
from typing import Final

from ptybridge.errors import OutOfDescriptors, OutOfTerminals, SpawnFailed

# As execvp(3) does when PATH is unset.
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
# The daemon may raise its own limit; programs that use select(2) break above 1024, so children get the first one.
INHERITED_NOFILE: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def find_program(name: str, env: Mapping[str, str], cwd: str) -> str:
    """Return the path to execute, found as the child would find it: on its own PATH, from its own directory.

    Raises `SpawnFailed` if nothing is there or it is not executable. Does not checkpoint.
    """
    if "/" in name:
        candidates = [os.path.join(cwd, name)]
    else:
        folders = env.get("PATH", _DEFAULT_PATH).split(os.pathsep)
        candidates = [os.path.join(cwd, folder, name) for folder in folders]
    reason = errno.ENOENT
    for path in candidates:
        try:
            mode = os.stat(path).st_mode
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR):
                reason = exc.errno or errno.EACCES
            continue
        if stat.S_ISDIR(mode):
            reason = errno.EISDIR if "/" in name else reason
        elif os.access(path, os.X_OK):
            return path
        else:
            reason = errno.EACCES
    raise spawn_failed(name, reason)


def spawn_failed(what: str, number: int, *, doing: str = "run") -> SpawnFailed:
    """Return the error for the system's reason `number`; `what` is the program or the directory."""
    message = f"cannot {doing} {what}: {os.strerror(number)}"
    if number in (errno.EMFILE, errno.ENFILE):
        return OutOfDescriptors(message, errno=number)
    return SpawnFailed(message, errno=number)


def out_of_terminals() -> OutOfTerminals:
    """Return the error for a system that has no pty left."""
    return OutOfTerminals("the system has no terminal left", errno=errno.ENOSPC)


@contextlib.contextmanager
def quiet_fork() -> Iterator[None]:
    """Hide Python 3.12's warning about forking beside threads, which turned into an error would lose a live child.

    What it warns of does not happen to us: the child takes no lock before exec (see the module's docstring).
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*", category=DeprecationWarning)
        yield


def reset_child() -> None:
    """In the child: undo what it would inherit from the daemon over exec: signal handling, mask, file limit."""
    # Ignored signals survive exec. Python itself ignores PIPE and XFSZ; a daemon may ignore INT and HUP.
    for number in signal.valid_signals():
        # KILL and STOP have no handler to set.
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft > INHERITED_NOFILE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (INHERITED_NOFILE, hard))
