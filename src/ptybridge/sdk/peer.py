"""Reaches a daemon's socket, and makes sure that it is this user's daemon that answers.

How it works: somebody else could have put a socket, a link or a directory of theirs where ours belongs, to read
what we send. So the path is looked at without following links before connecting, and then the kernel is asked who
listens at the other end, which no path can forge.
"""

import fcntl
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Callable
from typing import Final

from ptybridge.errors import ConnectionLost, DaemonUnreachable, UnsafePath

# A full backlog answers EAGAIN at once instead of waiting (unix(7)), so we come again after this long.
RETRY_SECONDS: Final = 0.02
# How soon and how rarely to look whether a daemon is still there that has not said anything yet.
LOOK_SECONDS: Final = 0.2
LOOK_MOST_SECONDS: Final = 2.0
# Beside the daemon's socket, while a keeper runs.
KEEPER_SOCKET: Final = "keeper.sock"
# struct xucred of BSD and macOS: u_int version, uid_t uid, …; SOL_LOCAL is 0, LOCAL_PEERCRED 1.
_XUCRED_BYTES: Final = 76


def dial(path: str, timeout: float) -> socket.socket:
    """Return a blocking socket connected to this user's daemon.

    Raises `DaemonUnreachable` when nobody answers there within `timeout` seconds, `UnsafePath` when it is not ours.
    """
    check_path(path)
    deadline = time.monotonic() + timeout
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        while True:
            try:
                sock.connect(path)
                break
            except BlockingIOError:
                # The queue is full. Those who look for a daemon again and again fill it where there is none.
                if not is_served(path):
                    raise DaemonUnreachable(f"no daemon serves {path}; its sessions are kept", kept=True) from None
                if time.monotonic() >= deadline:
                    raise DaemonUnreachable(f"the daemon on {path} accepts no connections") from None
                time.sleep(RETRY_SECONDS)
            except (FileNotFoundError, ConnectionRefusedError) as exc:
                raise DaemonUnreachable(f"no daemon listens on {path}") from exc
            except TimeoutError as exc:
                raise DaemonUnreachable(f"the daemon on {path} does not answer") from exc
            except OSError as exc:
                raise DaemonUnreachable(f"cannot connect to {path}: {exc.strerror}") from exc
        check_peer(sock, path)
        if not is_served(path):
            raise DaemonUnreachable(f"no daemon serves {path}; its sessions are kept", kept=True)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def check_path(path: str) -> None:
    """Raise `UnsafePath` unless `path` is a socket of ours in a directory only we can enter."""
    directory = os.path.dirname(path) or "."
    try:
        found = os.lstat(directory)
        there = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise DaemonUnreachable(f"no daemon listens on {path}") from exc
    except OSError as exc:
        raise UnsafePath(f"cannot look at {path}: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UnsafePath(
            f"{directory} is not a directory that only you can enter; nothing was sent to the socket in it",
            hint=f"chmod 700 {directory}, or choose another socket path",
        )
    if not stat.S_ISSOCK(there.st_mode) or there.st_uid != os.geteuid():
        raise UnsafePath(f"{path} is no socket of yours; nothing was sent to it", hint="remove it")


def is_served(path: str) -> bool:
    """Tell whether a daemon is there to accept what has connected to `path`.

    The keeper goes on listening when its daemon has ended, so that nobody is turned away during a restart; only the
    daemon's lock on `<path>.lock` tells that there is none. It is looked up in /proc/locks (proc_locks(5)) first,
    because trying it keeps a daemon that starts just then waiting for a moment. But in a container that list has no
    lock whose first owner has exited, as a daemon's has that has handed over.
    """
    if not os.path.exists(os.path.join(os.path.dirname(path), KEEPER_SOCKET)):
        return True
    try:
        with open(path + ".lock") as lock:
            inode = os.fstat(lock.fileno()).st_ino
            with open("/proc/locks") as locks:
                # A shared lock is somebody's who asks the same as we do.
                if any("FLOCK" in line and "WRITE" in line and f":{inode} " in line for line in locks):
                    return True
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def wait_answer(sock: socket.socket, path: str, revive: Callable[[], None] | None = None) -> None:
    """Wait for the first word on a new connection, as long as the socket's own time-out allows.

    A daemon that dies before it accepts us leaves us, and what we have sent, in the queue of the keeper's socket. The
    next daemon finds us there, so it must not be sent again elsewhere; but somebody has to start one: `revive` is
    called for that, and raises when there will be none. Without it raises `ConnectionLost`. Raises TimeoutError.
    """
    timeout = sock.gettimeout()
    if timeout == 0 or not path:
        return
    deadline = None if timeout is None else time.monotonic() + timeout
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    look = LOOK_SECONDS
    while True:
        left = look if deadline is None else min(look, deadline - time.monotonic())
        if poll.poll(max(0.0, left) * 1000):
            return
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError
        # Its last word may have come while we looked.
        if not is_served(path) and not poll.poll(0):
            if revive is None:
                raise ConnectionLost("the daemon has gone away before it answered; its sessions are kept", kept=True)
            revive()
        look = min(2 * look, LOOK_MOST_SECONDS)


def check_peer(sock: socket.socket, path: str) -> None:
    """Raise `UnsafePath` unless the process that listens at the other end is this user's."""
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    else:
        _, uid = struct.unpack_from("2I", sock.getsockopt(0, 1, _XUCRED_BYTES))
    if uid != os.geteuid():
        raise UnsafePath(f"the daemon on {path} belongs to another user (uid {uid}); nothing was sent to it")
