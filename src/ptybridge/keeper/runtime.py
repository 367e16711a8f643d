"""The keeper's place in the system: its directory, lock and sockets, and what systemd hands over and is told."""

import errno
import fcntl
import os
import socket
import stat
import time
from typing import NamedTuple

LOCK_NAME = "keeper.lock"
_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START
_BACKLOG = 512
# `is_locked` of a daemon holds the lock for a moment; and a keeper may be on its way out.
LOCK_PATIENCE_SECONDS = 1.0


class RefusedError(Exception):
    """The keeper must not start here; the message says why."""


class AlreadyRunningError(RefusedError):
    """Another keeper serves this directory."""


class Sockets(NamedTuple):
    """`control` is for daemons, `listener` is the one clients connect to; the keeper only holds it."""

    control: socket.socket | None
    listener: socket.socket | None


def prepare_directory(path: str) -> None:
    """Make sure that `path` is a directory of ours that nobody else can enter. Raises RefusedError, OSError."""
    os.makedirs(path, 0o700, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RefusedError(f"{path} must be a directory of ours with mode 0700")


def take_lock(directory: str, *, patience: float = 0.0) -> int:
    """Return the descriptor that holds the lock on `directory` as long as it is open.

    Blocks for up to `patience` seconds while somebody else has it. Raises AlreadyRunningError, OSError.
    """
    fd = os.open(os.path.join(directory, LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            os.close(fd)
            if error.errno != errno.EWOULDBLOCK:
                raise
            raise AlreadyRunningError(f"another keeper serves {directory}") from error
        return fd


def holds_lock(fd: int, directory: str) -> bool:
    """Whether the lock that `fd` holds is still the one in the directory, and not one that was removed."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(os.path.join(directory, LOCK_NAME), follow_symlinks=False))
    except FileNotFoundError:
        return False


def is_locked(directory: str) -> bool:
    """Whether a keeper lives. A daemon that lost its connection must know: it may pump only when none does."""
    try:
        os.close(take_lock(directory))
    except AlreadyRunningError:
        return True
    except FileNotFoundError:
        return False
    return False


def listen(path: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that listens at `path`, mode 0600, in place of what was there. Needs the lock."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        if os.path.lexists(path):
            os.unlink(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def inherited_sockets() -> Sockets:
    """Take the listening sockets that systemd (or a daemon in its manner) handed over, told apart by their type.

    sd_listen_fds(3). Removes the variables, so that neither children nor a later image see them.
    """
    count = os.environ.pop("LISTEN_FDS", "0")
    pid = os.environ.pop("LISTEN_PID", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    found: dict[int, socket.socket] = {}
    if pid in ("", str(os.getpid())) and count.isdecimal():
        for fd in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)):
            sock = socket.socket(fileno=fd)
            sock.set_inheritable(False)
            # Clients are told by the kernel who listens: from now on us, not the service manager.
            sock.listen(_BACKLOG)
            found[sock.type] = sock
    return Sockets(found.get(socket.SOCK_SEQPACKET), found.get(socket.SOCK_STREAM))


def notify_ready() -> None:
    """Tell systemd that we are ready, if it waits for it: sd_notify(3). Removes the variable."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.sendall(b"READY=1")
