"""A session's input: a bounded queue with one writer, all or nothing per request, in order.

How it works: `write` checks (exit, rate, size, line mode) and then, in one step, either hands the bytes to the
terminal at once — the fast path of a keystroke — or queues what did not fit for `run` to send. A child that does
not read fills its own queue and nobody else's. Before another daemon takes over, `hold` ends the sending and hands on
what waits, and that daemon goes on with it.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from ptybridge.core.child import Child
from ptybridge.core.lineedit import CookedLine
from ptybridge.core.ratelimit import TokenBucket
from ptybridge.errors import InputClosed, InputFull, LineTooLong, RateLimited, SessionExited

# n_tty keeps at most 4096 bytes of an unfinished line, the newline among them, and drops the rest silently:
# N_TTY_BUF_SIZE, termios(3) "Canonical mode".
CANONICAL_LINE_BYTES = 4095
# Shells switch to raw mode within a few ms of showing the prompt; measured < 50 ms, so 250 is ample.
RAW_MODE_SECONDS = 0.25
RAW_MODE_POLL_SECONDS = 0.01

END_OF_INPUT: None = None


class InputQueue:
    """The only writer of the child's terminal."""

    def __init__(self, child: Child, max_bytes: Callable[[], int]) -> None:
        self.child = child
        self.limiter: TokenBucket | None = None
        self.accepted_bytes = 0
        # Told when something has to wait, so that `run` is needed; most sessions never come to that.
        self.on_queued: Callable[[], None] = lambda: None
        # Told of what clients send, not of what the terminal answers.
        self.on_accepted: Callable[[int], None] = lambda size: None
        # How many pieces of input have ended a line: what a shell has been given to run.
        self.enters = 0
        # Whether the last of it is the beginning of a line.
        self.unfinished = False
        # When a Ctrl-C was among it, which makes shells throw away what they are just reading.
        self.interrupted_at = float("-inf")
        self.written_at = trio.current_time()
        # How many pieces of input waited before the last one that was accepted, because the program did not read.
        self.position = 0
        self.closed = False
        self._max_bytes = max_bytes
        self._queue: deque[memoryview | None] = deque()
        self._queued_bytes = 0
        self._more = trio.Event()
        # Set by `hold`: gets what is queued; and the task that sends, which ends for it.
        self._keep: Callable[[bytes | None], None] | None = None
        self._feeding: trio.CancelScope | None = None
        self._rested = trio.Event()
        self._line = CookedLine()
        # Held by a request that has to wait before it can queue: those that come after it wait behind it, so that
        # input stays in the order in which it was asked for.
        self._turn = trio.Lock()

    def set_rate(self, rate: int | None) -> None:
        """Limit input to `rate` bytes per second, or lift the limit."""
        self.limiter = TokenBucket(rate) if rate is not None else None

    async def write(self, data: bytes, *, eof: bool = False) -> int:
        """Accept all of `data` or raise and accept nothing.

        Waits only when a line is too long for line mode, or behind somebody who waits for that or for `write_made`.
        """
        if not self._turn.locked() and not self._too_long(data):
            self._check(len(data))
            return self._accept(data, eof)
        async with self._turn:
            return await self._write_in_turn(data, eof)

    async def write_made(self, make: Callable[[], Awaitable[bytes]], *, eof: bool = False) -> int:
        """As `write`, of what `make` returns. It may wait; its place in the order is that of this call."""
        async with self._turn:
            return await self._write_in_turn(await make(), eof)

    async def _write_in_turn(self, data: bytes, eof: bool) -> int:
        self._check(len(data))
        if self._too_long(data):
            await self._wait_raw_mode(data)
            self._check(len(data))
        return self._accept(data, eof)

    def write_nowait(self, data: bytes) -> int | None:
        """As `write` but never waits: None when `write` must be used."""
        if self._turn.locked() or self._too_long(data):
            return None
        self._check(len(data))
        return self._accept(data, eof=False)

    def answer_nowait(self, data: bytes) -> None:
        """Give the program the terminal's answers to its queries; it waits for them, so they wait for nobody."""
        self._check(len(data))
        unfinished = self.unfinished
        self._put(data, eof=False)
        self.unfinished = unfinished

    def close(self) -> None:
        """The child is gone: refuse further input."""
        self.closed = True
        self._queue.clear()
        self._queued_bytes = 0

    def _check(self, size: int) -> None:
        if self.closed:
            raise SessionExited("the session's program has exited and takes no input")
        if self._queued_bytes + size > self._max_bytes():
            raise InputFull(
                f"{self._queued_bytes} bytes of input are waiting because the program does not read",
                hint="wait until the program reads, or interrupt it with `session.signal`",
                queued_bytes=self._queued_bytes,
                retry_after_ms=100,
            )

    def _accept(self, data: bytes, eof: bool) -> int:
        if self.limiter is not None and (wait := self.limiter.take(len(data))) > 0:
            raise RateLimited(
                f"input is limited to {self.limiter.rate} bytes per second", retry_after_ms=int(wait * 1000) + 1
            )
        accepted = self._put(data, eof)
        if accepted:
            self.on_accepted(accepted)
        return accepted

    def _put(self, data: bytes, eof: bool) -> int:
        if not data and not eof:
            self.position = len(self._queue)
            return 0  # who asks what waits
        self._line.take(data, self.child.line_keys())
        # Ctrl-U and Ctrl-C empty a line.
        self.unfinished = bool(data) and data[-1:] not in {b"\r", b"\n", b"\x03", b"\x15"}
        if b"\x03" in data:
            self.interrupted_at = trio.current_time()
        self.enters += b"\r" in data or b"\n" in data
        self.position = len(self._queue)
        sent = 0 if self._queue else self.child.send_nowait(data)
        if sent < len(data):
            self._push(memoryview(data)[sent:])
        if eof:
            self._push(END_OF_INPUT)
        self.accepted_bytes += len(data)
        self.written_at = trio.current_time()
        return len(data)

    def _push(self, item: memoryview | None) -> None:
        self._queue.append(item)
        self._queued_bytes += len(item) if item is not None else 0
        if self._keep is not None:
            self._keep(_whole(item))
        self._more.set()
        self.on_queued()

    def _too_long(self, data: bytes) -> int:
        """Return the length of the longest line this makes, if line mode would cut it; else 0."""
        if len(self._line) + len(data) <= CANONICAL_LINE_BYTES:
            return 0  # without asking the terminal
        return self._line.longest(data, self.child.line_keys(), CANONICAL_LINE_BYTES)

    async def _wait_raw_mode(self, data: bytes) -> None:
        with trio.move_on_after(RAW_MODE_SECONDS):
            # A terminal does not announce a change of its modes.
            while (mode := self.child.line_mode()) is not None and mode.canonical:  # noqa: ASYNC110
                await trio.sleep(RAW_MODE_POLL_SECONDS)
            return
        raise LineTooLong(
            f"a line of {self._too_long(data)} bytes would be cut at {CANONICAL_LINE_BYTES} by the terminal, "
            "which is in line mode"
        )

    # -- handing on -----------------------------------------------------------------------------------------

    async def hold(self, keep: Callable[[bytes | None], None]) -> None:
        """Send no more of what waits; give it to `keep`, in order, and all that comes to wait. None: end of input."""
        if self._keep is not None:
            return
        self._keep = keep
        if self._feeding is not None:
            self._feeding.cancel()
            await self._rested.wait()
        for item in self._queue:
            keep(_whole(item))

    def release(self) -> None:
        """Send again: nobody has taken over."""
        self._keep = None
        self._more.set()

    def restore(self, items: Sequence[bytes | None]) -> None:
        """Queue what another daemon has handed on; it was accepted there."""
        for item in items:
            self._push(None if item is None else memoryview(item))

    def wake(self) -> None:
        """Have `run` started if anything waits."""
        if self._queue:
            self.on_queued()

    # -- sending --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send what is queued and will be, for as long as the session lives."""
        while True:
            if self._keep is None:
                self._rested = trio.Event()
                with trio.CancelScope() as self._feeding:
                    try:
                        await self._feed()
                    finally:
                        self._feeding = None
                        self._rested.set()
                if self.closed:
                    return
            else:
                self._more = trio.Event()
                await self._more.wait()

    async def _feed(self) -> None:
        while True:
            while self._queue:
                item = self._queue[0]
                try:
                    if item is None:
                        await self.child.close_input()
                    else:
                        await self._send(item)
                except InputClosed:
                    # The program has closed its input and may well run on; later writes are told so by the child.
                    self._queue.clear()
                    self._queued_bytes = 0
                    break
                if self.closed:
                    return  # and the queue is already empty
                self._queue.popleft()
            self._more = trio.Event()
            await self._more.wait()

    async def _send(self, item: memoryview) -> None:
        while item:
            sent = await self.child.send_some(item)
            self._queued_bytes -= sent
            item = item[sent:]
            if self.closed:
                return
            # What is sent leaves the queue at once, so that a cancelled feeder never sends it twice.
            self._queue[0] = item


def _whole(item: memoryview | None) -> bytes | None:
    return None if item is None else bytes(item)
