"""The stream that tells what happens to files."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.file import Directory, Path
from ptybridge.api.operation import Params, Result, declare_stream
from ptybridge.errors import (
    FileFailed,
    FileNotFound,
    FileTooLarge,
    NotADirectory,
    OutsideRoots,
    PermissionDenied,
)


class WatchFiles(Params):
    """Watch a file or a directory; with `recursive` everything below it.

    Links are not followed, and what is kept from the caller is not told. `after` is the number of the last event that
    was seen: numbers go on from there, and the first event is a gap, because meanwhile nobody has watched. The stream
    ends with the reason "gone" when what is watched is deleted or moved away.
    """

    path: Path
    cwd: Directory | None = None
    recursive: bool = False
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    max_directories: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000


class WatchingFiles(Result):
    """From here on changes are told."""

    path: str
    number: int


class FileChange(Result, tag_field="type", tag="change"):
    """What happened: `moved` has also an `old_path`; from or to elsewhere it is `deleted` or `created`."""

    number: int
    change: Literal["created", "modified", "deleted", "moved"]
    path: str
    directory: bool
    old_path: str | None = None


class FileGap(Result, tag_field="type", tag="gap"):
    """Something may have happened that is not told: look at everything again."""

    number: int


WATCH: Final = declare_stream(
    "file.watch",
    WatchFiles,
    WatchingFiles,
    events=(FileChange, FileGap),
    scope="file:read",
    since="0.1",
    errors=(FileNotFound, NotADirectory, PermissionDenied, OutsideRoots, FileFailed, FileTooLarge),
    http="GET /v1/files/watch",
)
