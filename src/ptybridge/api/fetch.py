"""The stream that gets a URL into a file."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.archive import FileProgress, FileWork
from ptybridge.api.file import Directory, FileMode, Path
from ptybridge.api.operation import Effect, Params, Result, declare_stream
from ptybridge.errors import (
    ChecksumMismatch,
    Denied,
    FetchFailed,
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
)


class FetchFile(Params):
    """Get an http or https URL into a file, which has its name when all of it has come and has this `sha256`.

    Off unless `[files] fetch = true`. Callers who are confined reach public addresses only, redirects included.
    `timeout_ms` bounds it all; 30 seconds of silence end it as well. Cancelling the stream leaves nothing behind.
    """

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
    path: Path
    cwd: Directory | None = None
    overwrite: bool = False
    create_parents: bool = False
    mode: FileMode | None = None
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 4 << 30
    timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] = 3_600_000


class FileFetched(Result, tag_field="type", tag="fetched"):
    """It is there; nothing follows. `url` is where it came from in the end, without its query."""

    path: str
    url: str
    size: int
    sha256: str
    etag: str
    content_type: str | None


FETCH: Final = declare_stream(
    "file.fetch",
    FetchFile,
    FileWork,
    events=(FileProgress, FileFetched),
    scope="file:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(
        FileNotFound,
        NotADirectory,
        PermissionDenied,
        OutsideRoots,
        FileFailed,
        FileExists,
        IsADirectory,
        NotAFile,
        NoSpace,
        FileTooLarge,
        ChecksumMismatch,
        FetchFailed,
        Denied,
    ),
    http="POST /v1/files/fetch",
)
