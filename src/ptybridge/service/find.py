"""The handler of `file.find`.

How it works: the search is a generator, and a thread drives it for a short while at a time. Between two turns what it
has found is sent, so a reader that is slow holds no thread, and one that has gone ends the search.
"""

from contextlib import ExitStack
from time import monotonic
from typing import Final

import msgspec

from ptybridge.api import find as api
from ptybridge.api.endpoint import EventSink
from ptybridge.core.files.facts import readable_name
from ptybridge.core.files.places import Places
from ptybridge.core.files.search import Found, Search
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.file import FileThreads, still_wanted, wanted_by

# Soon enough for who looks on, and long enough to be worth the change of threads.
TURN_SECONDS: Final = 0.05
TURN_RESULTS: Final = 200


class FindService:
    """Finding."""

    def __init__(self, places: Places, threads: FileThreads) -> None:
        self._places = places
        self._threads = threads

    @handles(api.FIND)
    async def find(self, caller: Caller, params: api.FindFiles, sink: EventSink) -> str:
        """Find until everything was looked at."""
        search = Search(wanted_by(params), still_wanted)
        with ExitStack() as held:
            place = await self._threads.run(
                lambda: held.enter_context(self._places.at(caller, params.path, params.cwd))
            )
            steps = search.run(place)
            # Its directories are open between the turns.
            held.callback(steps.close)

            def turn() -> tuple[list[Found], bool]:
                found: list[Found] = []
                end = monotonic() + TURN_SECONDS
                for one in steps:
                    if one is not None:
                        found.append(one)
                    if len(found) >= TURN_RESULTS or monotonic() >= end:
                        return found, False
                return found, True

            found, over = await self._threads.run(turn)
            await sink.opened(api.FindingFiles(path=readable_name(place.path)[0]))
            told = 0
            while True:
                for one in found:
                    await sink.send(msgspec.convert(one, api.FileFound, from_attributes=True))
                if over:
                    break
                if not found and search.searched > told:
                    told = search.searched
                    await sink.send(api.FindProgress(searched_files=told))
                found, over = await self._threads.run(turn)
            await sink.send(
                api.FindFinished(truncated=search.truncated, searched_files=search.searched, skipped=search.skipped)
            )
            return "finished"
