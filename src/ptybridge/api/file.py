"""Operations on files: whole or not at all, never following a link out of where the caller may go."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import Effect, Params, Result, declare
from ptybridge.errors import (
    DirectoryNotEmpty,
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
)
from ptybridge.model import Encoding

Path = Annotated[
    str, msgspec.Meta(min_length=1, max_length=4096, description="absolute, or from `~` on, or with `cwd`")
]
Directory = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, description="where relative paths begin")]
FileMode = Annotated[str, msgspec.Meta(pattern=r"^[0-7]{3,4}$", description='permissions in octal, e.g. "0644"')]
FileKind = Literal["file", "directory", "symlink", "fifo", "socket", "device", "unknown"]
Etag = Annotated[str, msgspec.Meta(max_length=200, description="what a file was when it was looked at")]
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# An answer is one line of JSON; base64 makes 4 bytes of 3 and a line may have 24 MiB.
ReadBytes = Annotated[int, msgspec.Meta(ge=1, le=16 << 20, description="bytes to read at most")]

PATH_ERRORS: Final = (FileNotFound, NotADirectory, PermissionDenied, OutsideRoots, FileFailed)
_WRITE_ERRORS: Final = (*PATH_ERRORS, FileExists, IsADirectory, NotAFile, NoSpace, FileTooLarge)


class _At(Params):
    """What names an entry."""

    path: Path
    cwd: Directory | None = None


class FileEntry(Result):
    """An entry of a directory. Times are milliseconds since 1970; `permissions` as `ls -l` shows them.

    `target`: where a symbolic link leads. `name_base64`: the name, when it is not UTF-8 and `name` only describes it.
    """

    name: str
    path: str
    type: FileKind
    size: int
    modified_ms: int
    mode: str
    permissions: str
    hidden: bool
    target: str | None = None
    name_base64: str | None = None


class ListFiles(_At):
    """List a directory, in pages of `limit` entries.

    `cursor` is the `next_cursor` of the page before; it is a place in the order, so what comes and goes meanwhile
    neither repeats nor hides other entries. `hidden` adds the names that begin with a dot.
    """

    hidden: bool = False
    sort: Literal["name", "size", "modified"] = "name"
    descending: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000
    cursor: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class FilePage(Result):
    """A page. `total` counts the whole directory; `next_cursor` is null on the last page."""

    path: str
    entries: list[FileEntry]
    total: int
    next_cursor: str | None


class ReadFile(_At):
    """Read a file, or a range of it: `max_bytes` from `offset` on.

    Text is UTF-8 and cut between characters; bytes that are none are replaced, and `lossy` says so.
    """

    offset: Position = 0
    max_bytes: ReadBytes = 1 << 20
    encoding: Encoding = "text"


class FileRange(Result):
    """The bytes from `offset` to `next_offset`. `eof`: nothing followed. `etag`: for `if_match` of a write."""

    path: str
    data: str
    encoding: Encoding
    lossy: bool
    offset: int
    next_offset: int
    size: int
    eof: bool
    etag: str


class ToWrite(_At, kw_only=True):
    """What is said of a file that is to be written, in one piece or by an upload."""

    create_parents: bool = False
    overwrite: bool = True
    mode: FileMode | None = None
    if_match: Etag | None = None


class WriteFile(ToWrite, kw_only=True):
    """Write a file whole: into a temporary file beside it, to the disk, and then in place of the old one.

    Who reads meanwhile sees the old file or the new one, and after a crash there is one of them. Permissions, owner
    and extended attributes of a replaced file stay; `mode` sets the permissions. A link at the end of the path leads
    on, for callers who may follow links. `append` adds to the end instead, and takes it back when it fails.
    `if_match` is the `etag` the file must still have. Larger files: `file.upload`.
    """

    data: str
    encoding: Encoding = "text"
    append: bool = False


class FileWritten(Result):
    """The file as it is now."""

    path: str
    size: int
    etag: str


class DeleteFile(_At):
    """Delete a file, a link (never what it leads to), an empty directory or, with `recursive`, a whole tree.

    "/" and the roots of confined callers are refused. With `missing_ok` it is no error that there is nothing.
    """

    recursive: bool = False
    missing_ok: bool = False


class FilesDeleted(Result):
    """How many entries are gone."""

    path: str
    deleted: int


class _FromTo(Params):
    """What names two entries."""

    source: Path
    destination: Path
    cwd: Directory | None = None
    overwrite: bool = False
    create_parents: bool = False


class CopyFile(_FromTo):
    """Copy a file or, with `recursive`, a tree to exactly `destination`; it appears there when it is complete.

    Permissions and times go along, holes stay holes, and links inside a tree stay links. `overwrite` replaces a file
    or an empty directory; a directory that holds something is never mixed with another.
    """

    recursive: bool = False


class FilesCopied(Result):
    """How many files, links and directories were made."""

    path: str
    copied: int


class MoveFile(_FromTo):
    """Move or rename a file, a link or a tree to exactly `destination`, also to another file system.

    `overwrite` as for `file.copy`.
    """


class FileMoved(Result):
    """Where it is now."""

    path: str


class MakeDirectory(_At):
    """Make a directory; with `parents` also those above it, and one that is there is no error."""

    parents: bool = False
    mode: FileMode | None = None


class DirectoryMade(Result):
    """`created` is false when it was there."""

    path: str
    created: bool


class GetFileInfo(_At):
    """Tell everything about an entry. A link is a link, unless `follow`; `checksum` reads the whole file."""

    follow: bool = False
    checksum: Literal["sha256"] | None = None


class FileDetails(FileEntry):
    """An entry and what else is known of it; `readable` and so on are what the daemon may do with it.

    `created_ms` is null where the file system does not know; `owner` and `group` where the numbers have no names.
    `mime_type` goes by the name. `links` counts the names (hard links) the file has.
    """

    accessed_ms: int = 0
    changed_ms: int = 0
    created_ms: int | None = None
    uid: int = 0
    gid: int = 0
    owner: str | None = None
    group: str | None = None
    links: int = 1
    readable: bool = False
    writable: bool = False
    executable: bool = False
    mime_type: str | None = None
    etag: str = ""
    sha256: str | None = None


class SearchFiles(_At):
    """Find files below a directory: by name, by a line they hold, or both.

    `glob` is for the name alone or, with a slash in it, for the path below `path`; `**` stands for any directories.
    `pattern` is a regular expression (RE2) for single lines of text; files with NUL bytes in their beginning are
    skipped. `max_results` counts matching lines, without `pattern` entries. `ignore` keeps to `.gitignore` files
    and leaves `.git` out; `hidden` adds names that begin with a dot. Links are found and not followed.
    """

    glob: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] | None = None
    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    ignore_case: bool = False
    context_lines: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    max_results: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    max_depth: Annotated[int, msgspec.Meta(ge=1, le=500)] | None = None
    hidden: bool = False
    ignore: bool = True


class MatchingLine(Result):
    """A line that matches, its number from 1, and its neighbours. Lines beyond 64 KiB count as several."""

    number: int
    text: str
    before: list[str]
    after: list[str]


class FileMatch(Result):
    """A file that fits, and which of its lines match."""

    entry: FileEntry
    lines: list[MatchingLine]


class FileMatches(Result):
    """What was found, in the order of the paths. `truncated`: there is more than `max_results`.

    `searched_files` were read; `skipped` are binary, not readable, or kept from the caller.
    """

    path: str
    matches: list[FileMatch]
    truncated: bool
    searched_files: int
    skipped: int


LIST: Final = declare(
    "file.list",
    ListFiles,
    FilePage,
    scope="file:read",
    effect=Effect.READS,
    since="0.1",
    errors=PATH_ERRORS,
    http="GET /v1/files/list",
)
READ: Final = declare(
    "file.read",
    ReadFile,
    FileRange,
    scope="file:read",
    effect=Effect.READS,
    since="0.1",
    errors=(*PATH_ERRORS, IsADirectory, NotAFile),
    http="GET /v1/files/read",
)
INFO: Final = declare(
    "file.info",
    GetFileInfo,
    FileDetails,
    scope="file:read",
    effect=Effect.READS,
    since="0.1",
    errors=PATH_ERRORS,
    http="GET /v1/files/info",
)
SEARCH: Final = declare(
    "file.search",
    SearchFiles,
    FileMatches,
    scope="file:read",
    effect=Effect.READS,
    since="0.1",
    errors=PATH_ERRORS,
    http="GET /v1/files/search",
)
WRITE: Final = declare(
    "file.write",
    WriteFile,
    FileWritten,
    scope="file:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*_WRITE_ERRORS, EtagMismatch),
    http="POST /v1/files/write",
)
DELETE: Final = declare(
    "file.delete",
    DeleteFile,
    FilesDeleted,
    scope="file:write",
    effect=Effect.DESTROYS,
    since="0.1",
    errors=(*PATH_ERRORS, IsADirectory),
    http="POST /v1/files/delete",
)
COPY: Final = declare(
    "file.copy",
    CopyFile,
    FilesCopied,
    scope="file:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*_WRITE_ERRORS, DirectoryNotEmpty),
    http="POST /v1/files/copy",
)
MOVE: Final = declare(
    "file.move",
    MoveFile,
    FileMoved,
    scope="file:write",
    effect=Effect.DESTROYS,
    since="0.1",
    errors=(*_WRITE_ERRORS, DirectoryNotEmpty),
    http="POST /v1/files/move",
)
MKDIR: Final = declare(
    "file.mkdir",
    MakeDirectory,
    DirectoryMade,
    scope="file:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(*PATH_ERRORS, FileExists, NoSpace),
    http="POST /v1/files/mkdir",
)
