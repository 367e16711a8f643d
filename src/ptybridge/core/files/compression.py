"""Kinds of archives: told by the name when one is made, by the content when one is read, and their compression."""

import bz2
import gzip
import lzma
import os
import sys
import zlib
from typing import IO, Final, Literal, Protocol, cast

from ptybridge.errors import BadArchive, InvalidParams

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Format = Literal["zip", "tar", "tar.gz", "tar.zst"]
# What is read besides.
Readable = Literal["zip", "tar", "tar.gz", "tar.zst", "tar.bz2", "tar.xz"]

_SUFFIXES: Final[dict[str, Format]] = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
}
# PKWARE's APPNOTE 4.3 (an empty zip has only its end), RFC 1952, RFC 8878, bzip2, xz.
_MAGIC: Final[tuple[tuple[bytes, Readable], ...]] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "tar.gz"),
    (b"\x28\xb5\x2f\xfd", "tar.zst"),
    (b"BZh", "tar.bz2"),
    (b"\xfd7zXZ\x00", "tar.xz"),
)
# pax(1): where a tar header says that it is one.
_USTAR_OFFSET: Final = 257
_BLOCK: Final = 512
# What decompressors raise for damaged data. EOFError: it ends too early.
DAMAGED: Final = (zlib.error, lzma.LZMAError, zstd.ZstdError, gzip.BadGzipFile, EOFError)


class Source(Protocol):
    """What a tar file is read from."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class Writable(Protocol):
    """What a tar file is written into; closing it writes the end of the compressed data."""

    def write(self, data: bytes, /) -> int: ...
    def close(self) -> None: ...


def by_name(path: str) -> Format:
    """Return the kind a name asks for. Raises `InvalidParams` when it says none."""
    name = os.path.basename(path).lower()
    for suffix, kind in sorted(_SUFFIXES.items(), key=lambda one: -len(one[0])):
        if name.endswith(suffix):
            return kind
    raise InvalidParams(
        f"{os.path.basename(path)} does not tell what kind of archive is wanted",
        hint="give `format`, or a name that ends with .zip, .tar, .tar.gz or .tar.zst",
    )


def by_content(fd: int, path: str) -> Readable:
    """Return what kind of archive a file is. Raises `BadArchive` when it is none."""
    head = os.pread(fd, _BLOCK, 0)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    # An empty tar is nothing but zeros.
    if head[_USTAR_OFFSET : _USTAR_OFFSET + 5] == b"ustar" or (len(head) == _BLOCK and not head.strip(b"\0")):
        return "tar"
    raise BadArchive(f"{path} is no archive of a kind that is known", hint="zip, tar, tar.gz, tar.zst, tar.bz2, tar.xz")


def decompressing(fd: int, kind: Readable) -> Source:
    """Return the plain bytes of a file from its beginning. The caller keeps `fd`."""
    source = os.fdopen(os.dup(fd), "rb")
    source.seek(0)
    match kind:
        case "tar.gz":
            return _Owning(gzip.GzipFile(fileobj=source, mode="rb"), source)
        case "tar.zst":
            return _Owning(cast(Source, zstd.ZstdFile(source, "rb")), source)
        case "tar.bz2":
            return _Owning(bz2.BZ2File(source, "rb"), source)
        case "tar.xz":
            return _Owning(lzma.LZMAFile(source, "rb"), source)
        case _:
            return source


def compressing(target: IO[bytes], kind: Format) -> Writable:
    """Return what compresses into `target`, which stays open; `target` itself where nothing is compressed."""
    match kind:
        case "tar.gz":
            return cast(Writable, gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6))
        case "tar.zst":
            options = {zstd.CompressionParameter.checksum_flag: 1}
            return cast(Writable, zstd.ZstdFile(target, "wb", options=options))  # type: ignore[call-overload]
        case _:
            return cast(Writable, target)


class _Owning:
    """A decompressor that closes what it reads from, which those of the standard library leave to their caller."""

    def __init__(self, reader: Source, source: Source) -> None:
        self._reader = reader
        self._source = source
        self.read = reader.read

    def close(self) -> None:
        """Close both."""
        self._reader.close()
        self._source.close()
