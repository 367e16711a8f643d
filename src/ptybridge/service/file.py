"""Handlers of the operations on files. The system's calls block, so they run in threads, a few at a time."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import trio

from ptybridge.api import file as api
from ptybridge.core.files import copying, reading, trees, writing
from ptybridge.core.files.facts import etag_of, readable_name
from ptybridge.core.files.globs import glob
from ptybridge.core.files.leftovers import Leftovers
from ptybridge.core.files.places import Places
from ptybridge.core.files.search import Search, Wanted
from ptybridge.core.matching import finder
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.terminal import decode, encode

T = TypeVar("T")

# Disks serve a few requests at once well and many badly; other threads (names, screens) must find room, too.
MOST_THREADS: Final = 8
# Text is cut between characters, and one has up to 4 bytes: a range shorter than that could never end.
_LONGEST_CHARACTER: Final = 4


class FileThreads:
    """Where everything that blocks on files runs. A cancelled call ends between two pieces of its work."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._limiter = trio.CapacityLimiter(most)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; it calls `still_wanted` now and then."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


def still_wanted() -> None:
    """End the work of this thread if its call was cancelled."""
    trio.from_thread.check_cancelled()


class FileService:
    """Files."""

    def __init__(self, places: Places, threads: FileThreads, unfinished: Leftovers) -> None:
        self._places = places
        self._threads = threads
        self._note = unfinished.note

    @handles(api.LIST)
    async def list(self, caller: Caller, params: api.ListFiles) -> api.FilePage:
        """List a directory."""

        def work() -> api.FilePage:
            with self._places.at(caller, params.path, params.cwd) as place:
                page = reading.list_directory(
                    place,
                    hidden=params.hidden,
                    sort=params.sort,
                    descending=params.descending,
                    limit=params.limit,
                    cursor=params.cursor,
                    check=still_wanted,
                )
                entries = [msgspec.convert(one, api.FileEntry, from_attributes=True) for one in page.entries]
                return api.FilePage(path=_shown(place.path), entries=entries, total=page.total, next_cursor=page.cursor)

        return await self._threads.run(work)

    @handles(api.READ)
    async def read(self, caller: Caller, params: api.ReadFile) -> api.FileRange:
        """Read a range."""
        limit = params.max_bytes if params.encoding == "base64" else max(params.max_bytes, _LONGEST_CHARACTER)

        def work() -> tuple[str, reading.Range]:
            with self._places.at(caller, params.path, params.cwd) as place:
                return place.path, reading.read(place, params.offset, limit, still_wanted)

        path, found = await self._threads.run(work)
        text, held, lossy = encode(found.data, params.encoding, final=found.at_end)
        return api.FileRange(
            path=_shown(path),
            data=text,
            encoding=params.encoding,
            lossy=lossy,
            offset=params.offset,
            next_offset=params.offset + len(found.data) - held,
            size=found.size,
            eof=found.at_end,
            etag=found.etag,
        )

    @handles(api.INFO)
    async def info(self, caller: Caller, params: api.GetFileInfo) -> api.FileDetails:
        """Tell about an entry."""

        def work() -> api.FileDetails:
            with self._places.at(caller, params.path, params.cwd, follow=params.follow) as place:
                found = reading.info(place, checksum=params.checksum is not None, check=still_wanted)
                return msgspec.convert(found, api.FileDetails, from_attributes=True)

        return await self._threads.run(work)

    @handles(api.SEARCH)
    async def search(self, caller: Caller, params: api.SearchFiles) -> api.FileMatches:
        """Find files."""

        def work() -> api.FileMatches:
            search = Search(wanted_by(params), still_wanted)
            with self._places.at(caller, params.path, params.cwd) as place:
                found = [one for one in search.run(place) if one is not None]
                return api.FileMatches(
                    path=_shown(place.path),
                    matches=[msgspec.convert(one, api.FileMatch, from_attributes=True) for one in found],
                    truncated=search.truncated,
                    searched_files=search.searched,
                    skipped=search.skipped,
                )

        return await self._threads.run(work)

    @handles(api.WRITE)
    async def write(self, caller: Caller, params: api.WriteFile) -> api.FileWritten:
        """Write a file."""
        data = decode(params.data, params.encoding)

        def work() -> api.FileWritten:
            with self._places.at(caller, params.path, params.cwd, make_parents=params.create_parents) as place:
                mode = mode_of(params.mode)
                if params.append:
                    found = writing.append(place, data, mode=mode, if_match=params.if_match, check=still_wanted)
                else:
                    found = writing.write(
                        place,
                        data,
                        overwrite=params.overwrite,
                        mode=mode,
                        if_match=params.if_match,
                        check=still_wanted,
                    )
                return api.FileWritten(path=_shown(place.path), size=found.st_size, etag=etag_of(found))

        return await self._threads.run(work)

    @handles(api.DELETE)
    async def delete(self, caller: Caller, params: api.DeleteFile) -> api.FilesDeleted:
        """Delete an entry or a tree."""

        def work() -> api.FilesDeleted:
            with self._places.at(caller, params.path, params.cwd, follow=False) as place:
                count = trees.delete(
                    place, recursive=params.recursive, missing_ok=params.missing_ok, check=still_wanted
                )
                return api.FilesDeleted(path=_shown(place.path), deleted=count)

        return await self._threads.run(work)

    @handles(api.COPY)
    async def copy(self, caller: Caller, params: api.CopyFile) -> api.FilesCopied:
        """Copy a file or a tree."""

        def work() -> api.FilesCopied:
            with (
                self._places.at(caller, params.source, params.cwd, follow=not params.recursive) as source,
                self._places.at(
                    caller, params.destination, params.cwd, follow=False, make_parents=params.create_parents
                ) as target,
            ):
                count = copying.copy(
                    source,
                    target,
                    overwrite=params.overwrite,
                    recursive=params.recursive,
                    check=still_wanted,
                    note=self._note,
                )
                return api.FilesCopied(path=_shown(target.path), copied=count)

        return await self._threads.run(work)

    @handles(api.MOVE)
    async def move(self, caller: Caller, params: api.MoveFile) -> api.FileMoved:
        """Move an entry."""

        def work() -> api.FileMoved:
            with (
                self._places.at(caller, params.source, params.cwd, follow=False) as source,
                self._places.at(
                    caller, params.destination, params.cwd, follow=False, make_parents=params.create_parents
                ) as target,
            ):
                copying.move(source, target, overwrite=params.overwrite, check=still_wanted, note=self._note)
                return api.FileMoved(path=_shown(target.path))

        return await self._threads.run(work)

    @handles(api.MKDIR)
    async def mkdir(self, caller: Caller, params: api.MakeDirectory) -> api.DirectoryMade:
        """Make a directory."""

        def work() -> api.DirectoryMade:
            with self._places.at(
                caller, params.path, params.cwd, follow=params.parents, make_parents=params.parents
            ) as place:
                created = writing.make_directory(place, parents=params.parents, mode=mode_of(params.mode))
                return api.DirectoryMade(path=_shown(place.path), created=created)

        return await self._threads.run(work)


def wanted_by(params: api.SearchFiles) -> Wanted:
    """Return what is looked for. Raises `InvalidParams` for patterns that are none."""
    line = None
    if params.pattern is not None:
        line = finder(params.pattern, regex=True, ignore_case=params.ignore_case)
    return Wanted(
        name=None if params.glob is None else glob(params.glob, ignore_case=params.ignore_case),
        line=line,
        context=params.context_lines,
        limit=params.max_results,
        depth=params.max_depth,
        hidden=params.hidden,
        ignore=params.ignore,
    )


def mode_of(text: str | None) -> int | None:
    """Return permissions written in octal as a number."""
    return None if text is None else int(text, 8)


def _shown(path: str) -> str:
    return readable_name(path)[0]
