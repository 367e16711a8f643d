"""Memory areas behind rings and segment indexes: sealed memfds to share between processes, or private pages.

Every area begins with one page of unsigned 64-bit words (the header). A word is read and written by a single
move, so another process sees an old or a new value, never a mixture (true of x86-64 and aarch64; the order of
two stores is only guaranteed on x86-64, see the wake-up by eventfd in `process`).
"""

import contextlib
import fcntl
import mmap
import os
import struct

HEADER_BYTES = 4096
# Values of <linux/fcntl.h>; Python 3.11 has the names only where the C library's headers had them.
_F_ADD_SEALS = 1033
_F_SEAL_SEAL, _F_SEAL_SHRINK, _F_SEAL_GROW = 1, 2, 4


class LayoutError(ValueError):
    """A shared memory area is not what it should be: another magic, an unknown version, a wrong size."""


def round_to_page(size: int) -> int:
    """Round up to whole pages (of 4096 bytes)."""
    return -(-size // 4096) * 4096


def create_area(name: str, size: int, words: tuple[int, ...]) -> int:
    """Return a new memfd of `size` bytes that begins with `words`; it is close-on-exec and can never be resized.

    The seals matter: reading a mapping whose file another process has shrunk is a SIGBUS. Pages cost memory only
    once they are written. The caller owns the descriptor.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        os.pwrite(fd, struct.pack(f"={len(words)}Q", *words), 0)
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def map_area(fd: int, magic: int, version: int) -> mmap.mmap:
    """Map the whole of a shared area and check whose it is. The caller keeps `fd` and may close it.

    Raises LayoutError when the area does not begin with `magic` and `version`.
    """
    size = os.fstat(fd).st_size
    if size < HEADER_BYTES:
        raise LayoutError(f"a shared area of {size} bytes has no header")
    area = mmap.mmap(fd, size)
    found = struct.unpack_from("=2Q", area)
    if found != (magic, version):
        area.close()
        raise LayoutError(f"expected magic {magic:#x} version {version}, found {found[0]:#x} version {found[1]}")
    return area


def private_area(size: int, words: tuple[int, ...]) -> mmap.mmap:
    """Map `size` private bytes that begin with `words`. Pages cost memory only once they are written."""
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A first byte must not cost two megabytes where the system hands out huge pages by itself.
        with contextlib.suppress(OSError):  # a kernel without huge pages
            area.madvise(mmap.MADV_NOHUGEPAGE)
    struct.pack_into(f"={len(words)}Q", area, 0, *words)
    return area


def unmap(area: mmap.mmap) -> None:
    """Unmap, or leave it to the last view: a view that is still held elsewhere must not become a crash."""
    with contextlib.suppress(BufferError):
        area.close()
