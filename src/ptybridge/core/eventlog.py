"""What happened, numbered: a bounded log of events with waiting followers that can resume behind a number."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from ptybridge.model import Event, Gap

# A day of a busy user fits; at ~200 bytes an event this is at most a few MB.
KEPT_EVENTS = 10_000


def now_ms() -> int:
    """Return the wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class EventLog:
    """Publish with `publish`; followers call `after` and `wait_past`. Nothing here is a queue per follower."""

    def __init__(self, kept: int = KEPT_EVENTS, first: int = 1) -> None:
        # Called after every `block` events (0: never), so that numbers can be made to survive the daemon.
        self.block = 0
        self.on_block: Callable[[], None] = lambda: None
        self.on_event: Callable[[Event], None] = lambda event: None
        self._events: deque[Event] = deque(maxlen=kept)
        self._first = self._next = first
        self._changed = trio.Event()
        self.closed = False

    @property
    def newest(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._next - 1

    def publish(self, kind: type[Event], session_id: str | None = None, **fields: Any) -> None:
        """Add an event and wake followers. Never a checkpoint."""
        event = kind(number=self._next, time_ms=now_ms(), session_id=session_id, **fields)
        self._events.append(event)
        self._next += 1
        self._changed.set()
        self._changed = trio.Event()
        if self.block and self.newest % self.block == 0:
            self.on_block()
        self.on_event(event)

    def close(self) -> None:
        """Let followers end: nothing more comes."""
        self.closed = True
        self._changed.set()

    def after(self, number: int) -> list[Event]:
        """Return the events behind `number`, led by a `Gap` when some of them are, or may be, gone."""
        if self.newest <= number:
            return []
        oldest = self._events[0].number if self._events else self._next
        missed = oldest - number - 1
        if missed <= 0:
            return list(self._events)[number + 1 - oldest :]
        # Behind a daemon's life follow numbers that were never used: nobody knows how many events there were.
        if number < self._first - 1:
            missed = max(0, oldest - self._first)
        gap = Gap(number=oldest - 1, time_ms=self._events[0].time_ms if self._events else now_ms(), missed=missed)
        return [gap, *self._events]

    async def wait_past(self, number: int) -> None:
        """Wait until there is an event behind `number`, or never will be. Always a checkpoint."""
        while self.newest <= number and not self.closed:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
