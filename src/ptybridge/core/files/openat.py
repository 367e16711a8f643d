"""Opening below a directory without ever leaving it, and renaming without replacing: system calls Python lacks.

How it works: `openat2` (openat2(2), Linux 5.6) resolves a whole path in the kernel and refuses links and `..` on the
way, so nobody can swap a directory for a link in between. Where it is missing, or a sandbox forbids it, the path is
walked one descriptor at a time with O_NOFOLLOW, which refuses the same.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
from typing import Final

# <linux/openat2.h>
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
_HOW: Final = struct.Struct("=QQQ")  # flags, mode, resolve
# The same number on every architecture: system calls since 5.x are.
_SYS_OPENAT2: Final = 437
_SYS_RENAMEAT2: Final = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}
_RENAME_NOREPLACE: Final = 1  # <linux/fs.h>
_UNUSABLE: Final = {errno.ENOSYS, errno.EPERM}
# openat2(2): the path may have been changed under it; to be tried again.
_TRIES: Final = 100

O_PATH: Final = os.O_PATH | os.O_CLOEXEC
DIRECTORY: Final = O_PATH | os.O_DIRECTORY

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_beneath(dir_fd: int, path: str, *, use_openat2: bool = True) -> int:
    """Open the directory `path` (relative, "" for itself) below `dir_fd` without following any link; an O_PATH fd.

    Raises OSError: ELOOP or ENOTDIR where a link stands in the way, EXDEV where the path leads out.
    """
    if use_openat2:
        how = _HOW.pack(DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
        for _ in range(_TRIES):
            fd = _libc.syscall(
                ctypes.c_long(_SYS_OPENAT2),
                ctypes.c_int(dir_fd),
                ctypes.c_char_p(os.fsencode(path or ".")),
                ctypes.c_char_p(how),
                ctypes.c_size_t(_HOW.size),
            )
            if fd >= 0:
                return int(fd)
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                continue
            if number in _UNUSABLE:
                break
            raise OSError(number, os.strerror(number))
    return _walk(dir_fd, path)


def _walk(dir_fd: int, path: str) -> int:
    current = os.open(".", DIRECTORY, dir_fd=dir_fd)
    try:
        for name in path.split("/"):
            if name in ("", "."):
                continue
            if name == "..":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            # With O_PATH alone O_NOFOLLOW would open the link itself; O_DIRECTORY refuses it with ENOTDIR.
            below = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def reopen(fd: int, flags: int) -> int:
    """Open what an O_PATH descriptor stands for, whatever its name leads to by now."""
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)


def rename_new(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """Rename, and raise FileExistsError instead of replacing anything."""
    number = _SYS_RENAMEAT2.get(os.uname().machine)
    if number is not None and sys.maxsize > 2**32:
        result = _libc.syscall(
            ctypes.c_long(number),
            ctypes.c_int(src_fd),
            ctypes.c_char_p(os.fsencode(src)),
            ctypes.c_int(dst_fd),
            ctypes.c_char_p(os.fsencode(dst)),
            ctypes.c_uint(_RENAME_NOREPLACE),
        )
        if result == 0:
            return
        failed = ctypes.get_errno()
        # EINVAL: this file system cannot; rename(2).
        if failed not in {errno.ENOSYS, errno.EINVAL, errno.EPERM}:
            raise OSError(failed, os.strerror(failed), dst)
    if stat.S_ISDIR(os.stat(src, dir_fd=src_fd, follow_symlinks=False).st_mode):
        # A directory replaces nothing but an empty directory; making that first claims the name.
        os.mkdir(dst, 0o700, dir_fd=dst_fd)
        os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
        return
    os.link(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd, follow_symlinks=False)
    os.unlink(src, dir_fd=src_fd)
