"""inotify(7): the kernel's news of directories."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ptybridge.errors import FileFailed

# <sys/inotify.h>
MODIFY: Final = 0x2
ATTRIB: Final = 0x4
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
Q_OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x01000000
ISDIR: Final = 0x40000000
_MASK: Final = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF | ONLYDIR
_HEAD: Final = struct.Struct("=iIII")  # wd, mask, cookie, length of the name
_READ_BYTES: Final = 256 << 10

_libc = ctypes.CDLL(None, use_errno=True)


class News(NamedTuple):
    """One event. `cookie` joins the two halves of a move."""

    wd: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """One queue of events. The kernel keeps 16384 of them (fs.inotify.max_queued_events), then says Q_OVERFLOW."""

    def __init__(self) -> None:
        self.fd = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self.fd < 0:
            raise _failed("no more watchers", "fs.inotify.max_user_instances")

    def add(self, directory: int) -> int:
        """Watch the directory a descriptor stands for; return its number, the same for the same directory."""
        # By the descriptor, so that nobody can put a link in its place meanwhile.
        wd = int(_libc.inotify_add_watch(self.fd, f"/proc/self/fd/{directory}".encode(), ctypes.c_uint32(_MASK)))
        if wd < 0:
            raise _failed("no more directories can be watched", "fs.inotify.max_user_watches")
        return wd

    def remove(self, wd: int) -> None:
        """Watch a directory no longer. One that is gone is no failure."""
        _libc.inotify_rm_watch(self.fd, ctypes.c_int(wd))

    def read(self) -> Iterator[News]:
        """Return what is there, nothing if that is nothing."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            wd, mask, cookie, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            name = data[at : at + size].rstrip(b"\0")
            at += size
            yield News(wd, mask, cookie, os.fsdecode(name))

    def close(self) -> None:
        """End it."""
        os.close(self.fd)


def _failed(what: str, limit: str) -> Exception:
    number = ctypes.get_errno()
    if number in {errno.ENOSPC, errno.EMFILE, errno.ENFILE}:
        return FileFailed(f"the system allows {what} at present", hint=f"raise it: sysctl {limit}", errno=number)
    return OSError(number, os.strerror(number))
