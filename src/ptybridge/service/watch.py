"""The handler of `file.watch`."""

from contextlib import ExitStack
from typing import Final

import trio

from ptybridge.api import watch as api
from ptybridge.api.endpoint import EventSink
from ptybridge.core.files.facts import readable_name
from ptybridge.core.files.places import Places
from ptybridge.core.files.watching import Change, Watch
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.file import FileThreads, still_wanted

# The kernel tells both halves of a move at once; they may only come in two reads.
HALF_SECONDS: Final = 0.05


class WatchService:
    """Watching."""

    def __init__(self, places: Places, threads: FileThreads) -> None:
        self._places = places
        self._threads = threads

    @handles(api.WATCH)
    async def watch(self, caller: Caller, params: api.WatchFiles, sink: EventSink) -> str:
        """Watch until what is watched is gone."""
        with ExitStack() as held:

            def begin() -> Watch:
                with self._places.at(caller, params.path, params.cwd) as place:
                    watch = Watch(place, recursive=params.recursive, most=params.max_directories, check=still_wanted)
                held.callback(watch.close)
                return watch

            watch = await self._threads.run(begin)
            number = params.after or 0
            await sink.opened(api.WatchingFiles(path=readable_name(watch.path)[0], number=number))
            if params.after is not None:
                number += 1
                await sink.send(api.FileGap(number=number))
            while True:
                await trio.lowlevel.wait_readable(watch.fd)
                changes = await self._threads.run(watch.take)
                if halves := watch.halves:
                    with trio.move_on_after(HALF_SECONDS):
                        await trio.lowlevel.wait_readable(watch.fd)
                    changes += await self._threads.run(watch.take)
                    changes += watch.settle(halves)
                for one in changes:
                    number += 1
                    await sink.send(_event(one, number))
                if watch.gone:
                    return "gone"


def _event(change: Change, number: int) -> api.FileChange | api.FileGap:
    if change.what == "gap":
        return api.FileGap(number=number)
    return api.FileChange(
        number=number,
        change=change.what,
        path=readable_name(change.path)[0],
        directory=change.directory,
        old_path=None if change.old_path is None else readable_name(change.old_path)[0],
    )
