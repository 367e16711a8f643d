"""Starting a program from the daemon itself, with the keeper's own code, and typed failures for both ways."""

import contextlib
import errno
import os
import signal
import warnings
from collections.abc import Iterator

from ptybridge.backends import nofile
from ptybridge.core.child import ChildSpec
from ptybridge.errors import OutOfDescriptors, OutOfTerminals, SpawnFailed
from ptybridge.keeper.spawn import Born, Program, spawn_pipes, spawn_pty
from ptybridge.model import Backend


def start(kind: Backend, spec: ChildSpec) -> Born:
    """Start a program; blocks for the milliseconds a fork takes. Raises `SpawnFailed` and its kinds."""
    program = Program(spec.argv, spec.cwd, spec.env, nofile.inherited())
    try:
        with quiet_fork():
            if kind == "pty":
                return spawn_pty(program, spec.size.rows, spec.size.cols, echo=spec.echo)
            return spawn_pipes(program)
    except OSError as exc:
        raise spawn_failed(spec, exc) from exc
    except ValueError as exc:
        raise SpawnFailed(f"cannot run {spec.argv[0]}: {exc}") from exc


def abandon(born: Born) -> None:
    """Take back a child that cannot be looked after."""
    for fd in born.fds.values():
        os.close(fd)
    with contextlib.suppress(ProcessLookupError):
        os.kill(born.pid, signal.SIGKILL)
    os.waitpid(born.pid, 0)


def spawn_failed(spec: ChildSpec, exc: OSError) -> SpawnFailed:
    """Type the system's reason."""
    number = exc.errno or errno.EAGAIN
    if number == errno.ENOSPC:  # what opening a terminal says when there is none left: ptmx(4)
        return OutOfTerminals("the system has no terminal left", errno=number)
    doing, what = ("start in", spec.cwd) if exc.filename == spec.cwd else ("run", spec.argv[0])
    message = f"cannot {doing} {what}: {os.strerror(number)}"
    if number in (errno.EMFILE, errno.ENFILE):
        return OutOfDescriptors(message, errno=number)
    return SpawnFailed(message, errno=number)


@contextlib.contextmanager
def quiet_fork() -> Iterator[None]:
    """Hide Python 3.12's warning about forking beside threads, which turned into an error would lose a live child.

    What it warns of does not happen to us: the child takes no lock before exec.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*", category=DeprecationWarning)
        yield
