"""Readers that come again and again instead of waiting, and how a pausing session's program waits for them.

A reader with a position of its own is live for a while after each read: long enough to come back for the next page,
short enough that a program nobody reads any more is soon let run on.
"""

from collections.abc import Callable

import trio

from ptybridge.core.transcript import Transcript

# A program that polls comes back within milliseconds, a language model thinks for seconds between two reads.
LIVE_SECONDS = 10.0
Key = tuple[str, ...]


class PollingReaders:
    """Who has read a moment ago. `position` tells where a reader stands in its stream."""

    def __init__(self, log: Transcript, position: Callable[[Key], int]) -> None:
        self.read_at = trio.current_time()
        self._log = log
        self._position = position
        self._live: dict[Key, float] = {}

    def read(self, key: Key) -> None:
        """Note that this reader has read, or is about to: it has just created the session."""
        self.read_at = self._live[key] = trio.current_time()
        self._log.floor_moved()

    def leave(self, key: Key) -> None:
        """Note that this reader waits for something else than output, so the program need not wait for it."""
        if self._live.pop(key, None) is not None:
            self._log.floor_moved()

    def floor(self) -> int | None:
        """Return the lowest offset that live readers still need; see `Transcript.add_floor`."""
        if not self._live:
            return None
        return min((self._offset(key) for key in self._live), default=None)

    def forget_old(self, now: float) -> None:
        """Let those go who have not come back."""
        for key in [key for key, at in self._live.items() if now - at > LIVE_SECONDS]:
            self.leave(key)

    def _offset(self, key: Key) -> int:
        segments, stream = self._log.segments, key[-1]
        if segments is None or not stream:
            return self._position(key)
        number = 0 if stream == "stdout" else 1
        return segments.read_stream(self._log.ring, number, self._position(key), 0)[2]
