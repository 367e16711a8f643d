"""The Unix socket: a safe directory, one daemon per path, no window in which the socket is open to others.

How it works: a lock file beside the socket decides who serves it (flock(2) is released by the kernel with the
process, so it is never stale). Only the holder removes a socket that is in the way, and only one of its own user.
The socket is bound under a umask of 0177, in a directory that nobody else can enter, so its mode is right from birth.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import trio

from ptybridge.errors import AlreadyRunning, UnsafePath

BACKLOG = 512
# A client that looks whether there is a daemon may have the lock for an instant.
LOCK_PATIENCE_SECONDS = 0.2
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START
# FileDescriptorName= of the web front's sockets (systemd.socket(5)); without it they are called like their unit.
WEB = "web"
_WEB_NAMES = frozenset({WEB, "ptybridge-web.socket"})
# struct ucred: pid, uid, gid; unix(7).
_UCRED = struct.Struct("3i")


def prepare_directory(directory: Path) -> None:
    """Create the socket's directory 0700, or check that it is ours, no symlink, and closed to others."""
    parent = directory.parent
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.path.lexists(directory):
            directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise UnsafePath(
            f"cannot make the directory {directory}: {exc.strerror}", hint="choose another socket path"
        ) from exc
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath(f"{directory} is not a directory", hint="remove it, or choose another socket path")
    if found.st_uid != os.geteuid():
        raise UnsafePath(f"{directory} belongs to another user", hint="choose another socket path")
    if found.st_mode & 0o077:
        raise UnsafePath(
            f"{directory} is open to other users (mode {stat.S_IMODE(found.st_mode):o})",
            hint=f"chmod 700 {directory}",
        )
    _check_parent(parent)


def _check_parent(parent: Path) -> None:
    """Others who may write to the parent could put a directory of theirs in place of ours."""
    found = os.stat(parent)
    writable_by_others = found.st_mode & 0o022
    if writable_by_others and not found.st_mode & stat.S_ISVTX:
        raise UnsafePath(
            f"{parent} can be written by others (mode {stat.S_IMODE(found.st_mode):o}) and is not sticky",
            hint=f"chmod go-w {parent}, or choose another socket path",
        )


class SocketLock:
    """Held for as long as a daemon serves the path."""

    def __init__(self, path: Path, inherited_fd: int | None = None, *, patience: float = LOCK_PATIENCE_SECONDS) -> None:
        """Take the lock, or go on with the one a daemon that hands over to us has. Raises `AlreadyRunning`."""
        if inherited_fd is not None:
            self.fd = inherited_fd
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self.fd = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise UnsafePath(f"{path}.lock is a symbolic link") from exc
            raise
        deadline = time.monotonic() + patience
        while not self._try():
            if time.monotonic() > deadline:
                os.close(self.fd)
                raise _served(path)
            time.sleep(LOCK_PATIENCE_SECONDS / 20)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def retake(self, path: Path) -> None:
        """Hold it again where somebody has removed its file. Raises `AlreadyRunning`, OSError."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self.fd), os.lstat(path.with_name(path.name + ".lock"))):
                if not self._try():  # after `let_go`; who holds it may take it again
                    raise _served(path)
                return
        anew = SocketLock(path, patience=0)
        os.dup2(anew.fd, self.fd, inheritable=False)
        anew.release()

    def let_go(self) -> None:
        """Let another daemon have the path until `retake`."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let another daemon have the path."""
        os.close(self.fd)


def _served(path: Path) -> AlreadyRunning:
    return AlreadyRunning(
        f"another daemon serves {path}", hint="use it, stop it with `ptybridge stop`, or set --socket"
    )


def check_path(path: Path) -> bool:
    """Return whether something is at the path. Raises `UnsafePath` for whatever is no socket of ours."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise UnsafePath(
            f"{path} exists and is no socket of this user; it was left as it is",
            hint="remove it, or choose another socket path",
        )
    return True


def bind(path: Path) -> socket.socket:
    """Bind and listen; the caller holds the lock.

    Raises `UnsafePath` for whatever is no socket of ours, `AlreadyRunning` for one on which somebody answers.
    """
    if check_path(path):
        if _answers(path):
            raise AlreadyRunning(
                f"something else listens on {path}, perhaps a service manager", hint="use it, or set --socket"
            )
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    old_umask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(old_umask)
    listener.listen(BACKLOG)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class Passed:
    """What systemd passed (sd_listen_fds(3)): the daemon's own listener, and those of its web front."""

    own: socket.socket | None = None
    web: tuple[socket.socket, ...] = ()

    def hand_on(self) -> None:
        """Let the program that this process turns into find them as `passed` does. Call it right before exec."""
        # Copies beyond all places that they are put in, so that none is put in another's before that is moved.
        ours = [] if self.own is None else [("own", self.own)]
        ours += [(WEB, sock) for sock in self.web]
        beyond = _FIRST_PASSED + len(ours)
        copies = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, beyond) for _, sock in ours]
        for place, copy in enumerate(copies, _FIRST_PASSED):
            os.dup2(copy, place, inheritable=True)
        if ours:
            names = ":".join(name for name, _ in ours)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(ours)), LISTEN_FDNAMES=names)


def passed(*, own: bool) -> Passed:
    """Take the listeners that systemd passed, and clear the variables. Without `own` only those of the web front.

    Raises `UnsafePath` for what cannot be listened on.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return Passed()
    mine, web = None, []
    for place in range(int(count)):
        fd = _FIRST_PASSED + place
        os.set_inheritable(fd, False)
        if place < len(names) and names[place] in _WEB_NAMES:
            web.append(_listening(fd, (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)))
        elif own and mine is None:
            mine = _listening(fd, (socket.AF_UNIX,))
    return Passed(mine, tuple(web))


def _listening(fd: int, families: tuple[int, ...]) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as exc:
        raise UnsafePath(f"the service manager passed no socket: {exc.strerror}") from exc
    if sock.family not in families or sock.type != socket.SOCK_STREAM:
        sock.close()
        kinds = "Unix stream socket" if families == (socket.AF_UNIX,) else "Unix or TCP socket"
        raise UnsafePath(f"the socket passed by the service manager is no {kinds}")
    return sock


def peer(sock: trio.socket.SocketType) -> tuple[int, int]:
    """Return (pid, uid) of the other side as the kernel knows them. The pid is advisory: it may be reused."""
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid
