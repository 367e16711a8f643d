"""The stream that finds files: what `file.search` answers, told while it is being found."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.file import PATH_ERRORS, FileEntry, MatchingLine, SearchFiles
from ptybridge.api.operation import Effect, Result, declare_stream


class FindFiles(SearchFiles):
    """Find files as `file.search` does, each told as soon as it is found.

    Cancelling the stream ends the search. It goes on as fast as its results are taken, and holds nothing up.
    """

    max_results: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 10_000


class FindingFiles(Result):
    """It has begun, below `path`."""

    path: str


class FileFound(Result, tag_field="type", tag="found"):
    """A file that fits, and which of its lines match."""

    entry: FileEntry
    lines: list[MatchingLine]


class FindProgress(Result, tag_field="type", tag="progress"):
    """How many files were read so far, where nothing was found for a while."""

    searched_files: int


class FindFinished(Result, tag_field="type", tag="finished"):
    """That was all. The fields are those of `file.search`."""

    truncated: bool
    searched_files: int
    skipped: int


FIND: Final = declare_stream(
    "file.find",
    FindFiles,
    FindingFiles,
    events=(FileFound, FindProgress, FindFinished),
    scope="file:read",
    effect=Effect.READS,
    since="0.1",
    errors=PATH_ERRORS,
    http="GET /v1/files/find",
)
