"""Handlers of `file.archive` and `file.extract`."""

import os
from contextlib import ExitStack

from ptybridge.api import archive as api
from ptybridge.api.endpoint import EventSink
from ptybridge.core.files import packing, unpacking
from ptybridge.core.files.compression import by_name
from ptybridge.core.files.facts import readable_name
from ptybridge.core.files.leftovers import Leftovers
from ptybridge.core.files.places import Places, absolute
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.file import FileThreads, still_wanted
from ptybridge.service.reporting import reported


class ArchiveService:
    """Archives."""

    def __init__(self, places: Places, threads: FileThreads, unfinished: Leftovers) -> None:
        self._places = places
        self._threads = threads
        self._note = unfinished.note

    @handles(api.ARCHIVE)
    async def archive(self, caller: Caller, params: api.Archive, sink: EventSink) -> str:
        """Make one."""
        kind = params.format or by_name(params.destination)
        work = packing.Packed()

        def pack() -> tuple[str, os.stat_result]:
            with ExitStack() as held:
                sources = [
                    held.enter_context(self._places.at(caller, one, params.cwd, follow=False)) for one in params.sources
                ]
                target = held.enter_context(
                    self._places.at(
                        caller, params.destination, params.cwd, follow=False, make_parents=params.create_parents
                    )
                )
                found = packing.archive(
                    sources,
                    target,
                    kind,
                    overwrite=params.overwrite,
                    work=work,
                    check=still_wanted,
                    note=self._note,
                )
                return readable_name(target.path)[0], found

        begun = api.FileWork(path=readable_name(absolute(params.destination, params.cwd))[0])
        path, found = await reported(self._threads, pack, sink, begun, lambda: _progress(work))
        await sink.send(
            api.Archived(
                path=path,
                format=kind,
                size=found.st_size,
                bytes=work.done_bytes,
                files=work.files,
                directories=work.directories,
                links=work.links,
                skipped=work.skipped,
            )
        )
        return "finished"

    @handles(api.EXTRACT)
    async def extract(self, caller: Caller, params: api.Extract, sink: EventSink) -> str:
        """Extract one."""
        work = unpacking.Work()
        limits = unpacking.Limits(params.max_bytes, params.max_entries, params.max_ratio)

        def unpack() -> str:
            with (
                self._places.at(caller, params.source, params.cwd) as source,
                self._places.at(
                    caller, params.destination, params.cwd, follow=False, make_parents=params.create_parents
                ) as target,
            ):
                unpacking.extract(
                    source,
                    target,
                    overwrite=params.overwrite,
                    limits=limits,
                    work=work,
                    check=still_wanted,
                    note=self._note,
                )
                return readable_name(target.path)[0]

        begun = api.FileWork(path=readable_name(absolute(params.destination, params.cwd))[0])
        path = await reported(self._threads, unpack, sink, begun, lambda: _progress(work))
        await sink.send(api.Extracted(path=path, entries=work.entries, bytes=work.done_bytes))
        return "finished"


def _progress(work: unpacking.Work) -> api.FileProgress:
    return api.FileProgress(done_bytes=work.done_bytes, entries=work.entries, name=readable_name(work.name)[0])
