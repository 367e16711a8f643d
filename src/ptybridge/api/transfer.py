"""Channels that carry whole files, up and down: in constant memory, resumable, verified."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.file import Directory, Etag, Path, Position, ToWrite
from ptybridge.api.operation import Params, Result, declare_channel
from ptybridge.errors import (
    ChecksumMismatch,
    EtagMismatch,
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
    TransferRunning,
)

UploadId = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-z]{8,32}$", description="a name for this upload, by which it can be resumed")
]


class Upload(ToWrite):
    """Send a file up: DATA frames from the answer's `offset` on, then FINISH; STORED tells that it has its name.

    The bytes go into a hidden file beside the target, which is there only when all has arrived, with the size and
    checksum of FINISH, and is on the disk. At most `window_bytes` may be on the way, not acknowledged by ACK.
    When the connection is lost what has arrived stays, and the same `upload_id` goes on from there; DETACH throws it
    away. ERROR is the last frame when something fails. Other parameters as for `file.write`.
    """

    upload_id: UploadId | None = None


class Uploading(Result):
    """Send from `offset` on, which is not 0 when the upload is resumed."""

    path: str
    upload_id: str
    offset: int
    window_bytes: int


class Download(Params):
    """Get a file: DATA frames from `offset` on, then FINISH with the size and checksum of the whole file.

    At most `window_bytes` are on the way that were not acknowledged by ACK. To resume, ask for the `offset` that is
    missing with the `etag` of the first answer as `if_match`. A file that changes meanwhile ends it with ERROR.
    """

    path: Path
    cwd: Directory | None = None
    offset: Position = 0
    if_match: Etag | None = None


class Downloading(Result):
    """The file as it is; `size` bytes in all."""

    path: str
    size: int
    mode: str
    modified_ms: int
    etag: str
    offset: int
    window_bytes: int


_PATH_ERRORS: Final = (FileNotFound, NotADirectory, PermissionDenied, OutsideRoots, FileFailed, IsADirectory, NotAFile)

UPLOAD: Final = declare_channel(
    "file.upload",
    Upload,
    Uploading,
    scope="file:write",
    since="0.1",
    errors=(*_PATH_ERRORS, FileExists, NoSpace, FileTooLarge, EtagMismatch, ChecksumMismatch, TransferRunning),
    http="PUT /v1/files/content",
)
DOWNLOAD: Final = declare_channel(
    "file.download",
    Download,
    Downloading,
    scope="file:read",
    since="0.1",
    errors=(*_PATH_ERRORS, EtagMismatch),
    http="GET /v1/files/content",
)
