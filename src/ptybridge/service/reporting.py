"""Work in a thread whose progress is told now and then, as events of a stream.

The stream opens when the work has gone on for a moment, or has succeeded: what fails before is an answer like that of
a call, over HTTP with its status.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import trio

from ptybridge.api.endpoint import EventSink
from ptybridge.errors import PtybridgeError
from ptybridge.service.file import FileThreads

T = TypeVar("T")
# Often enough for a bar that moves.
INTERVAL_SECONDS: Final = 0.2


async def reported(
    threads: FileThreads,
    work: Callable[[], T],
    sink: EventSink,
    opening: msgspec.Struct,
    progress: Callable[[], msgspec.Struct],
) -> T:
    """Run `work` in a thread and send what `progress` returns while that changes. Raises what `work` raises."""
    results: list[T] = []
    failed: PtybridgeError | None = None
    telling = _Telling(sink, opening, progress)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(telling.run)
        # What is raised in here would come out in a group.
        try:
            results.append(await threads.run(work))
        except PtybridgeError as exc:
            failed = exc
        # Not cancelled: that could be in the middle of what it sends.
        telling.over.set()
    if failed is not None:
        raise failed
    if not telling.opened:
        await sink.opened(opening)
    return results[0]


class _Telling:
    def __init__(self, sink: EventSink, opening: msgspec.Struct, progress: Callable[[], msgspec.Struct]) -> None:
        self.over = trio.Event()
        self.opened = False
        self._sink = sink
        self._opening = opening
        self._progress = progress

    async def run(self) -> None:
        """Tell how far it is, until it is over."""
        last: msgspec.Struct | None = None
        while not await self._over_within(INTERVAL_SECONDS):
            if not self.opened:
                self.opened = True
                await self._sink.opened(self._opening)
            now = self._progress()
            if now != last:
                last = now
                await self._sink.send(now)

    async def _over_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self.over.wait()
        return self.over.is_set()
