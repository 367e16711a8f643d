"""Starts children, behind a terminal (with ptyprocess) or behind three pipes, and leaves nothing of the keeper in them.

A child gets the environment, directory, signals and limits it is meant to have: Python ignores SIGPIPE and SIGXFSZ
and the keeper SIGHUP and SIGINT, which would be inherited over exec; the keeper's raised limit on descriptors and
its protection from the out-of-memory killer are not for children either. Only for programs without threads.
"""

import contextlib
import errno
import fcntl
import os
import resource
import signal
import stat
import termios
import traceback
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, NoReturn

from ptyprocess import PtyProcess

from ptybridge.keeper.protocol import close_all

# Locals of ptyprocess and the pty module that hold descriptors when a fork fails.
_FORGOTTEN = ("exec_err_pipe_read", "exec_err_pipe_write", "master_fd", "slave_fd")
# asm-generic/termbits.h; Python's termios has no name for it.
_IUTF8 = 0o40000


class Program(NamedTuple):
    """What to run. `argv` is executed as it is, `env` is complete, `cwd` absolute; `limits` are for RLIMIT_NOFILE."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    limits: tuple[int, int]


class Born(NamedTuple):
    """A started child: its pid and our ends by name; they are non-blocking, close-on-exec and the caller's to close."""

    pid: int
    fds: dict[str, int]


def spawn_pty(program: Program, rows: int, cols: int, *, echo: bool = True) -> Born:
    """Start `program` as the leader of a session behind a new terminal.

    Blocks for the milliseconds until it is executed. Raises OSError, with the reason of the failure as its errno.
    """
    path = find_program(program)
    keeper = os.getpid()
    _Newborn.latest = None
    try:
        born = _Newborn.spawn(
            [path],
            env=dict(program.env),
            echo=echo,
            preexec_fn=lambda: _become(path, program, terminal=True),
            dimensions=(rows, cols),
        )
    except BaseException as error:
        if os.getpid() != keeper:
            os._exit(os.EX_OSERR)  # the forked half, where ptyprocess did not expect an error
        # Before descriptors become free again, which might hide the reason.
        reason = _reason(error, program) if isinstance(error, Exception) else None
        _clean_up(error)
        if reason is None:
            raise
        raise reason from error  # noqa: ASYNC104 - no Cancelled gets here
    try:
        fd = fcntl.fcntl(born.fd, fcntl.F_DUPFD_CLOEXEC, 3)  # forkpty's own descriptor is inheritable
    finally:
        os.close(born.fd)
        _Newborn.latest = None
    os.set_blocking(fd, False)
    return Born(born.pid, {"pty": fd})


def spawn_pipes(program: Program) -> Born:
    """Start `program` as the leader of a session without a terminal, with a pipe for each standard stream.

    Blocks for the milliseconds until it is executed. Raises OSError, with the reason of the failure as its errno.
    """
    path = find_program(program)
    fds: list[int] = []
    try:
        for _ in range(4):
            fds += os.pipe2(os.O_CLOEXEC)
        stdin, ours_in, ours_out, stdout, ours_err, stderr, report, report_in = fds
        pid = os.fork()
        if pid == 0:
            _start_in_child(path, program, (stdin, stdout, stderr), report_in)
        close_all(stdio := [stdin, stdout, stderr, report_in])
        fds = [fd for fd in fds if fd not in stdio]
        failure = os.read(report, 100)
        if failure:
            os.waitpid(pid, 0)
            raise _reason(ValueError(failure.decode()), program)
    except BaseException:
        close_all(fds)
        raise
    os.close(report)
    ours = {"stdin": ours_in, "stdout": ours_out, "stderr": ours_err}
    for fd in ours.values():
        os.set_blocking(fd, False)
    return Born(pid, ours)


def find_program(program: Program) -> str:
    """Return the file that `argv[0]` means with the child's PATH and directory. Raises OSError, ValueError."""
    if not program.argv or not os.path.isabs(program.cwd):
        raise ValueError("argv must not be empty and cwd must be absolute")
    if any("\0" in text for text in (*program.argv, program.cwd, *program.env, *program.env.values())):
        raise ValueError("a string contains a null character")
    if any(not name or "=" in name for name in program.env):
        raise ValueError("illegal name of an environment variable")
    if not stat.S_ISDIR(os.stat(program.cwd).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), program.cwd)
    name = program.argv[0]
    places = [""] if "/" in name else program.env.get("PATH", os.defpath).split(os.pathsep)
    failure = errno.ENOENT
    for place in places if name else []:
        path = os.path.join(program.cwd, place, name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            failure = errno.EACCES
        elif os.path.isdir(path) and "/" in name:
            failure = errno.EISDIR
    raise OSError(failure, os.strerror(failure), name)


class _Newborn(PtyProcess):
    """ptyprocess's way to spawn without its life afterwards.

    A real PtyProcess closes the terminal and kills the child when it is collected, and takes 100 ms for it.
    """

    # `spawn` does not tell whom it had already forked when it raises.
    latest: ClassVar["_Newborn | None"] = None

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd, self.closed = pid, fd, True
        _Newborn.latest = self

    def __del__(self) -> None:
        pass


def _clean_up(error: BaseException) -> None:
    """Undo what `PtyProcess.spawn` leaves behind when it fails."""
    born, _Newborn.latest = _Newborn.latest, None
    if born is not None:
        os.close(born.fd)
        os.waitpid(born.pid, 0)
        return
    # Neither it nor the pty module closes what it has opened when it cannot fork, so take it from their frames.
    close_all(
        {
            frame.f_locals[name]
            for frame, _ in traceback.walk_tb(error.__traceback__)
            for name in _FORGOTTEN
            if name in frame.f_locals
        }
    )


def _reason(error: Exception, program: Program) -> OSError:
    """Translate what came of a failed start; from the child it is a ValueError of `_become`."""
    if isinstance(error, ValueError):
        code, _, name = str(error).partition(" ")
        if code.isdecimal():
            return OSError(int(code), os.strerror(int(code)), name)
    if isinstance(error, OSError):
        return error if error.errno else _why_no_terminal()
    return OSError(errno.EAGAIN, f"could not start {program.argv[0]}: {error}")


def _why_no_terminal() -> OSError:
    """The pty module says "out of pty devices" whatever the reason was; trying again tells. ENOSPC as in ptmx(4)."""
    try:
        close_all(os.openpty())
    except OSError as reason:
        if reason.errno:
            return reason
    return OSError(errno.ENOSPC, "the system has no terminal left")


def _start_in_child(path: str, program: Program, stdio: tuple[int, int, int], report: int) -> NoReturn:
    """Be the forked half of `spawn_pipes`: never return, whatever happens."""
    try:
        os.setsid()
        # Duplicates first: a stream's number may be that of another stream's goal.
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
        report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, 10)
        for goal, fd in enumerate(copies):
            os.dup2(fd, goal)
        os.closerange(3, report)
        os.closerange(report + 1, min(1 << 20, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
        _become(path, program)
    except (ValueError, OSError) as error:
        text = str(error.errno) if isinstance(error, OSError) else str(error)
        os.write(report, text.encode(errors="replace")[:100])
    finally:
        os._exit(os.EX_OSERR)


def _become(path: str, program: Program, *, terminal: bool = False) -> None:
    """Turn this forked process into the child. Returns only by raising ValueError("errno name")."""
    name = path
    try:
        if terminal:
            _use_utf8()
        for number in signal.valid_signals():
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_NOFILE, program.limits)
        _drop_oom_protection()
        name = program.cwd
        os.chdir(program.cwd)
        name = path
        os.execve(path, list(program.argv), dict(program.env))
    except OSError as error:
        raise ValueError(f"{error.errno} {name}") from error


def _use_utf8() -> None:
    """Let line mode erase whole characters: termios(3) IUTF8, which a new terminal does not have."""
    mode = termios.tcgetattr(0)
    mode[0] |= _IUTF8
    termios.tcsetattr(0, termios.TCSANOW, mode)


def _drop_oom_protection() -> None:
    """Undo a negative OOMScoreAdjust= of the keeper's unit; raising the score is allowed to everybody."""
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        if os.read(fd, 20).startswith(b"-"):
            os.write(fd, b"0")
        os.close(fd)
