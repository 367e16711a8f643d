"""Keeps a session's screen model level with its transcript without slowing the transcript down.

How it works: a little output is parsed at once. A flood is parsed in large blocks in a worker thread (the emulator
releases the GIL) that leaves out what has no lasting effect, because parsing every chunk as it comes would cost half
the throughput. The transcript's writer may
not overwrite what is not yet parsed, so the model is exact. Resizes carry the offset they happened at and are applied
just there, however late the parser is.
"""

from collections.abc import Awaitable, Callable

import trio

from ptybridge.core.emulator import ScreenEvent
from ptybridge.core.screen import Screen
from ptybridge.core.transcript import Transcript
from ptybridge.model import WindowSize

# Parsing this much takes ~0.1 ms; more goes to a thread.
INLINE_BYTES = 16 * 1024
# So long the model may lag behind a little output.
LAG_SECONDS = 0.004
# While a flood goes on the model may lag this long; a snapshot that is asked for catches up first.
FLOOD_LAG_SECONDS = 0.02


class ScreenFollower:
    """Owns the `Screen`. `changed` is called after each advance, with replies the program is owed."""

    def __init__(self, log: Transcript, screen: Screen, limiter: trio.CapacityLimiter) -> None:
        self.log = log
        self.screen = screen
        self.on_advance: Callable[[], None] = lambda: None
        self._limiter = limiter
        self._resizes: list[tuple[int, WindowSize]] = []  # few; an empty deque is 760 bytes
        self._feeding = trio.Lock()
        self._past_until = 0
        self.on_past: Callable[[list[ScreenEvent]], None] = lambda events: None
        # Where marks of prompts begin and end in a range of the transcript: the screen keeps their lines.
        self.prompts: Callable[[int, int], Awaitable[list[tuple[int, int]]]] | None = None

    def rebuild(self, on_past: Callable[[list[ScreenEvent]], None]) -> None:
        """Take what the transcript holds by now for the past: what it brings about is told to `on_past` alone.

        Programs' questions in it are not answered any more. Parsing it is left to `run`, or to who asks for the screen.
        """
        self._past_until = self.log.end
        self.on_past = on_past

    def resize(self, size: WindowSize) -> None:
        """Note that the terminal has this size from the transcript's present end on."""
        self.resize_at(self.log.end, size)

    def resize_at(self, offset: int, size: WindowSize) -> None:
        """Note that the terminal has this size from `offset` on."""
        if self._feeding.locked() or self.screen.offset < offset:
            self._resizes.append((offset, size))
        else:
            self.screen.resize(size)

    @property
    def pending_resizes(self) -> int:
        """How many changes of size lie ahead of what is parsed."""
        return len(self._resizes)

    def floor(self) -> int:
        """The transcript's writer must not overwrite what is not parsed."""
        return self.screen.offset

    async def run(self) -> None:
        """Follow the transcript until it is closed and parsed to its end."""
        log = self.log
        reader = log.reader(self.screen.offset)
        while not (log.closed and self.screen.offset >= log.end):
            reader.offset = self.screen.offset
            await reader.wait()
            if not log.closed:
                # Nobody waits for the model (who asks for it catches up), but those do who wait for their echo.
                await trio.sleep(LAG_SECONDS)
            if log.end - self.screen.offset > INLINE_BYTES and not log.closed:
                await self._let_flood_gather()
            await self.catch_up()

    async def _let_flood_gather(self) -> None:
        reader = self.log.reader(self.screen.offset)
        with trio.move_on_after(FLOOD_LAG_SECONDS):
            # The larger the block the more of it can be left out; the other half keeps the writer going meanwhile.
            await reader.wait(self.log.ring.capacity // 2)

    async def catch_up(self) -> None:
        """Parse everything up to the transcript's end as it is at this call. Checkpoint."""
        target = self.log.end
        async with self._feeding:
            while self.screen.offset < target:
                await self._feed_some(target)
            self._apply_resizes()
        self.on_advance()

    async def _feed_some(self, target: int) -> None:
        screen = self.screen
        self._apply_resizes()
        if screen.offset < self._past_until:
            # In pieces, so that what has been parsed once can be written down: we may not live to see the end.
            target = min(target, self._past_until, screen.offset + self.log.ring.capacity // 4)
        if self._resizes:
            target = min(target, self._resizes[0][0])
        past = screen.offset < self._past_until
        prompts = [] if self.prompts is None else await self.prompts(screen.offset, target)
        offset, data = self.log.read(screen.offset, target - screen.offset)
        if offset > screen.offset:
            screen.offset = offset  # only after a restart without the lost bytes: go on with what there is
        at = 0
        for key, behind in prompts:
            if at < (to := behind - offset) <= len(data):
                await self._feed(data[at:to])
                screen.mark(key)
                at = to
        await self._feed(data[at:])
        if past:
            self.on_past(screen.take_events())
            screen.take_replies()
            self.on_advance()
        self.log.floor_moved()

    async def _feed(self, data: bytes) -> None:
        if len(data) <= INLINE_BYTES:
            self.screen.feed(data)
        else:
            await trio.to_thread.run_sync(self.screen.skim, data, limiter=self._limiter)

    def _apply_resizes(self) -> None:
        while self._resizes and self._resizes[0][0] <= self.screen.offset:
            self.screen.resize(self._resizes.pop(0)[1])
