"""How often somebody may: token buckets by name, of which only the newest are kept."""

from collections import OrderedDict
from typing import Final

import trio

from ptybridge.errors import RateLimited

# An attacker with many addresses must not fill the memory; whoever is forgotten starts afresh.
MAX_BUCKETS: Final = 10_000


class Limit:
    """`burst` at once, and `per_second` in the long run, for each name."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._rate = per_second
        # The tokens left, and when that was.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Take one token. Raises `RateLimited` when there is none."""
        left = self._left(name)
        if left < 1:
            raise self.refusal(name)
        self._put(name, left - 1)

    def refusal(self, name: str) -> RateLimited:
        """Return the error for a name without a token."""
        wait_ms = max(1, int((1 - self._left(name)) / self._rate * 1000) + 1)
        return RateLimited("too many requests of this kind; wait a little", retry_after_ms=wait_ms)

    def _left(self, name: str) -> float:
        now = trio.current_time()
        tokens, then = self._buckets.get(name, (float(self._burst), now))
        return min(float(self._burst), tokens + (now - then) * self._rate)

    def _put(self, name: str, tokens: float) -> None:
        self._buckets[name] = (tokens, trio.current_time())
        self._buckets.move_to_end(name)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
