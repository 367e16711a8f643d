"""Token buckets: one refuses what is over the limit (input), one delays it (output)."""

import trio

from ptybridge.core.transcript import Transcript

# How often a delayed writer may go on: often enough to look smooth, rarely enough to cost nothing.
REFILL_SECONDS = 0.05


class TokenBucket:
    """`rate` bytes per second, with up to one second's worth saved up. A single larger request is let through once
    the bucket is full, so that the limit delays it but never forbids it.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._tokens = float(rate)
        self._at = trio.current_time()

    def _refill(self) -> None:
        now = trio.current_time()
        self._tokens = min(float(self.rate), self._tokens + (now - self._at) * self.rate)
        self._at = now

    def take(self, amount: int) -> float:
        """Take `amount` and return 0.0, or take nothing and return the seconds after which it will succeed."""
        self._refill()
        needed = min(amount, self.rate)
        if self._tokens >= needed:
            self._tokens -= amount
            return 0.0
        return (needed - self._tokens) / self.rate

    @property
    def available(self) -> int:
        """Whole bytes that may pass now."""
        self._refill()
        return max(0, int(self._tokens))


class OutputDelay:
    """Delays a transcript's writer: it may only reserve what the bucket holds. Nothing is dropped."""

    def __init__(self, log: Transcript, rate: int) -> None:
        self.bucket = TokenBucket(rate)
        self._log = log
        self._counted = log.end

    def floor(self) -> int:
        """Return the floor that leaves exactly the allowance as room in the ring."""
        end = self._log.end
        if end > self._counted:
            self.bucket.take(end - self._counted)
            self._counted = end
        return end + self.bucket.available - self._log.ring.capacity

    async def run(self) -> None:
        """Let a waiting writer look again as the bucket refills."""
        self._log.add_floor(self.floor)
        try:
            while True:
                await trio.sleep(REFILL_SECONDS)
                self._log.floor_moved()
        finally:
            self._log.remove_floor(self.floor)
