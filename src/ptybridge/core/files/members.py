"""What an archive holds, one member after the other, in constant memory and without believing anything it says.

How it works: tar files are read forward only. `tarfile` is used for their headers alone; what it reads at once is
bounded, and it is made to forget the members it has passed. A tar file must come to its end mark, and compressed ones
to the end of their data, so that what was cut off or damaged never passes for a smaller archive.
"""

import os
import stat
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, Literal, cast

import msgspec

from ptybridge.core.files.compression import DAMAGED, Readable, Source, decompressing
from ptybridge.errors import BadArchive, UnsafeArchive

PIECE_BYTES: Final = 1 << 20
# Headers of tar (PAX records, long names) are held in memory; honest ones have a few hundred bytes.
_HEADER_BYTES: Final = 4 << 20
# So is the directory of a zip file: about 50 bytes and the name for each member.
_DIRECTORY_BYTES: Final = 256 << 20
_BLOCK: Final = 512
# Linux: limits.h. The target of a link in a zip file is its content.
_PATH_MAX: Final = 4096
# What the readers of the standard library raise for nonsense.
_NONSENSE: Final = (
    tarfile.TarError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError,
    AttributeError, TypeError, struct.error, *DAMAGED,
)  # fmt: skip

Kind = Literal["file", "directory", "symlink", "hardlink"]


class Member(msgspec.Struct):
    """One member. `name` is what the archive says; `pieces` gives the content of a file, and can be used once.

    `mode` is None where the archive does not tell permissions.
    """

    name: str
    kind: Kind
    size: int
    mode: int | None
    modified: float
    target: str
    pieces: Callable[[], Iterator[bytes]]


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except _NONSENSE as exc:
        said = str(exc) or type(exc).__name__
        raise BadArchive(f"{path} is damaged, or no archive that can be read: {said[:200]}", path=path) from exc


def members(fd: int, path: str, kind: Readable, passed: Callable[[int], None]) -> Iterator[Member]:
    """Go through an archive; each member must be used before the next. `passed` is told the bytes decompressed.

    Raises `BadArchive` and `UnsafeArchive`.
    """
    if kind == "zip":
        yield from _zip_members(fd, path)
    else:
        yield from _tar_members(fd, path, kind, passed)


# -- tar ------------------------------------------------------------------------------------------------------


class _Forward:
    """Plain bytes that can only be read forward, as much of a file as `tarfile` needs."""

    def __init__(self, source: Source, passed: Callable[[int], None]) -> None:
        self._source = source
        self._passed = passed
        self._at = 0
        self.last = b""

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes, fewer at the end."""
        if size > _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        parts = []
        left = size
        while left > 0 and (data := self._source.read(left)):
            parts.append(data)
            left -= len(data)
        self.last = data = b"".join(parts)
        self._at += len(data)
        self._passed(len(data))
        return data

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._at

    def seek(self, to: int) -> None:
        """Read on to a position."""
        if to < self._at:
            raise tarfile.ReadError("a member before the one that comes")
        while self._at < to:
            if not self.read(min(PIECE_BYTES, to - self._at)):
                raise EOFError("it ends in the middle of a member")


def _tar_members(fd: int, path: str, kind: Readable, passed: Callable[[int], None]) -> Iterator[Member]:
    source = decompressing(fd, kind)
    try:
        forward = _Forward(source, passed)
        with _reading(path):
            tar = tarfile.TarFile(fileobj=cast(IO[bytes], forward), mode="r", errors="surrogateescape")
        while True:
            with _reading(path):
                info = tar.next()
                tar.members.clear()  # type: ignore[attr-defined]
                if info is None:
                    # `tarfile` takes a damaged header for the end as well.
                    if len(forward.last) != _BLOCK or forward.last.strip(b"\0"):
                        raise tarfile.ReadError("it ends before its end mark")
                    while forward.read(PIECE_BYTES):
                        pass  # the checksum of compressed data comes last
                    return
            yield _tar_member(tar, info, path)
    finally:
        source.close()


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> Member:
    kind: Kind
    if info.isreg():
        kind = "file"
    elif info.isdir():
        kind = "directory"
    elif info.issym():
        kind = "symlink"
    elif info.islnk():
        kind = "hardlink"
    else:
        raise UnsafeArchive(f"{info.name!r} in {path} is a device, a FIFO or something unknown", path=path)

    def pieces() -> Iterator[bytes]:
        left = info.size
        with _reading(path):
            content = tar.extractfile(info)
        assert content is not None
        while left > 0:
            with _reading(path):
                data = content.read(min(PIECE_BYTES, left))
                if not data:
                    raise EOFError("it ends in the middle of a member")
            left -= len(data)
            yield data

    return Member(info.name, kind, info.size, stat.S_IMODE(info.mode), _time(info.mtime), info.linkname, pieces)


# -- zip ------------------------------------------------------------------------------------------------------


def _zip_members(fd: int, path: str) -> Iterator[Member]:
    with os.fdopen(os.dup(fd), "rb") as source:
        with _reading(path):
            # What the end of the file says of its directory decides how much is read at once.
            end = cast(Any, zipfile)._EndRecData(source)
            if end is not None and end[5] > _DIRECTORY_BYTES:
                raise zipfile.BadZipFile(f"a directory of {end[5]} bytes")
            opened = zipfile.ZipFile(source)
        with opened as file:
            for info in file.infolist():
                yield _zip_member(file, info, path)


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> Member:
    # The upper half is the mode where Unix has made it, 0 elsewhere.
    mode = info.external_attr >> 16
    kind: Kind
    if info.is_dir() or stat.S_ISDIR(mode):
        kind = "directory"
    elif stat.S_ISLNK(mode):
        kind = "symlink"
    elif stat.S_ISREG(mode) or not stat.S_IFMT(mode):
        kind = "file"
    else:
        raise UnsafeArchive(f"{info.filename!r} in {path} is a device or a FIFO", path=path)

    def pieces() -> Iterator[bytes]:
        with _reading(path):
            content = file.open(info)
        with content:
            while True:
                with _reading(path):
                    data = content.read(PIECE_BYTES)
                if not data:
                    return
                yield data

    target = ""
    if kind == "symlink":
        if info.file_size > _PATH_MAX:
            raise UnsafeArchive(f"{info.filename!r} in {path} is a link that leads too far", path=path)
        target = os.fsdecode(b"".join(pieces()))
    try:
        modified = _time(time.mktime((*info.date_time, 0, 0, -1)))
    except (ValueError, OverflowError):
        modified = 0.0
    permissions = stat.S_IMODE(mode) if mode else None
    return Member(info.filename, kind, info.file_size, permissions, modified, target, pieces)


def _time(seconds: float) -> float:
    """Return a time that files can have."""
    return float(seconds) if 0 <= seconds < 2**40 else 0.0
