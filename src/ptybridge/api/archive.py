"""Streams that make archives and extract them, with progress: whole or not at all."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.file import Directory, Path
from ptybridge.api.operation import Effect, Params, Result, declare_stream
from ptybridge.errors import (
    BadArchive,
    DirectoryNotEmpty,
    FileExists,
    FileFailed,
    FileNotFound,
    FileTooLarge,
    IsADirectory,
    NoSpace,
    NotADirectory,
    NotAFile,
    OutsideRoots,
    PermissionDenied,
    UnsafeArchive,
)

ArchiveFormat = Literal["zip", "tar", "tar.gz", "tar.zst"]


class Archive(Params):
    """Put files and trees into an archive at exactly `destination`; it has its name when it is complete.

    Each source is in it under its own name, with permissions and times. Links are kept as links; devices, FIFOs and
    sockets are left out, and counted. Without `format` the name of `destination` tells it. Cancelling the stream
    leaves nothing behind.
    """

    sources: Annotated[list[Path], msgspec.Meta(min_length=1, max_length=10_000)]
    destination: Path
    cwd: Directory | None = None
    format: ArchiveFormat | None = None
    overwrite: bool = False
    create_parents: bool = False


class Extract(Params):
    """Extract an archive to exactly `destination`, a directory that appears when everything is in it.

    zip, tar, tar.gz, tar.zst, tar.bz2 and tar.xz are known by their content. An archive is refused whole when a name
    or a link leads out of the directory, when a name comes twice, and when it holds devices; set-user-ID bits and
    owners are not taken over. More than `max_bytes` or `max_entries`, or more than `max_ratio` times the archive's
    own size (from 64 MiB on), is refused as well. `overwrite` replaces an empty directory. Cancelling the stream
    leaves nothing behind.
    """

    source: Path
    destination: Path
    cwd: Directory | None = None
    overwrite: bool = False
    create_parents: bool = False
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 64 << 30
    max_entries: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 1_000_000
    max_ratio: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 200


class FileWork(Result):
    """It has begun."""

    path: str


class FileProgress(Result, tag_field="type", tag="progress"):
    """How far it is, now and then. `name` is what it is at; `total_bytes` is null where nobody knows."""

    done_bytes: int
    entries: int
    name: str
    total_bytes: int | None = None


class Archived(Result, tag_field="type", tag="archived"):
    """It is there; nothing follows. `bytes` went in, `size` came out; `skipped` were devices, FIFOs and sockets."""

    path: str
    format: ArchiveFormat
    size: int
    bytes: int
    files: int
    directories: int
    links: int
    skipped: int


class Extracted(Result, tag_field="type", tag="extracted"):
    """It is there; nothing follows. `entries` members with `bytes` in all."""

    path: str
    entries: int
    bytes: int


_ERRORS: Final = (
    FileNotFound, NotADirectory, PermissionDenied, OutsideRoots, FileFailed, FileExists, IsADirectory, NotAFile,
    NoSpace, FileTooLarge,
)  # fmt: skip

ARCHIVE: Final = declare_stream(
    "file.archive",
    Archive,
    FileWork,
    events=(FileProgress, Archived),
    scope="file:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=_ERRORS,
    http="POST /v1/files/archive",
)
EXTRACT: Final = declare_stream(
    "file.extract",
    Extract,
    FileWork,
    events=(FileProgress, Extracted),
    scope="file:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*_ERRORS, DirectoryNotEmpty, BadArchive, UnsafeArchive),
    http="POST /v1/files/extract",
)
