"""The handler of `file.fetch`."""

import os
from typing import Final

import trio

from ptybridge.api import archive as archive_api
from ptybridge.api import fetch as api
from ptybridge.api.endpoint import EventSink
from ptybridge.core.files import writing
from ptybridge.core.files.facts import etag_of, readable_name
from ptybridge.core.files.fetching import Fetch, is_public
from ptybridge.core.files.leftovers import Leftovers
from ptybridge.core.files.places import Places, absolute
from ptybridge.errors import Denied, PtybridgeError
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.file import FileThreads, mode_of, still_wanted
from ptybridge.service.reporting import reported

# They wait for others most of the time, so files have threads of their own.
MOST_FETCHES: Final = 4


class FetchService:
    """Getting files from elsewhere."""

    def __init__(self, places: Places, unfinished: Leftovers, *, allowed: bool) -> None:
        self._places = places
        self._note = unfinished.note
        self._threads = FileThreads(MOST_FETCHES)
        self._on = allowed

    @handles(api.FETCH)
    async def fetch(self, caller: Caller, params: api.FetchFile, sink: EventSink) -> str:
        """Get one."""
        if not self._on:
            raise Denied("fetching is switched off", hint="`[files] fetch = true` in the configuration allows it")
        fetch = Fetch(
            params.url,
            allowed=_everywhere if self._places.rules_for(caller) is None else is_public,
            most=params.max_bytes,
            within=params.timeout_ms / 1000,
            sha256=params.sha256,
            check=still_wanted,
        )

        def get() -> tuple[str, os.stat_result]:
            with self._places.at(caller, params.path, params.cwd, make_parents=params.create_parents) as place:
                mode = mode_of(params.mode)
                found = writing.replace(place, fetch.fill, overwrite=params.overwrite, mode=mode, note=self._note)
                return readable_name(place.path)[0], found

        def progress() -> archive_api.FileProgress:
            work = fetch.work
            return archive_api.FileProgress(
                done_bytes=work.done_bytes, entries=0, name=work.name, total_bytes=work.total
            )

        begun = archive_api.FileWork(path=readable_name(absolute(params.path, params.cwd))[0])
        failed: PtybridgeError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_abort_when_cancelled, fetch)
            try:
                path, found = await reported(self._threads, get, sink, begun, progress)
                work = fetch.work
                await sink.send(
                    api.FileFetched(
                        path=path,
                        url=work.url,
                        size=found.st_size,
                        sha256=work.sha256,
                        etag=etag_of(found),
                        content_type=work.content_type,
                    )
                )
            except PtybridgeError as exc:
                failed = exc  # out of the nursery it would come in a group
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        return "finished"


async def _abort_when_cancelled(fetch: Fetch) -> None:
    """A thread that waits for the other side does not notice by itself."""
    try:
        await trio.sleep_forever()
    finally:
        fetch.abort()


def _everywhere(address: str) -> bool:
    return True
