"""Work in a thread whose progress is told now and then, as events of a stream."""

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
    threads: FileThreads, work: Callable[[], T], sink: EventSink, progress: Callable[[], msgspec.Struct]
) -> T:
    """Run `work` in a thread and send what `progress` returns while that changes. Raises what `work` raises."""
    results: list[T] = []
    failed: PtybridgeError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, sink, progress)
        # What is raised in here would come out in a group.
        try:
            results.append(await threads.run(work))
        except PtybridgeError as exc:
            failed = exc
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return results[0]


async def _tell(sink: EventSink, progress: Callable[[], msgspec.Struct]) -> None:
    last: msgspec.Struct | None = None
    while True:
        await trio.sleep(INTERVAL_SECONDS)
        now = progress()
        if now != last:
            last = now
            await sink.send(now)
