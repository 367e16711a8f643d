"""How many reads a session makes in a row before others get their turn.

How it works: one flooding session alone is read fastest in long batches; but as soon as somebody types into another
session, each batch is a delay of its echo. So sessions share one `Pace`, note their activity in it, and ask it for
the length of a batch. It remembers only the last active session and when any other one was active.
"""

import time
from typing import Final

ALONE: Final = 16
SHARED: Final = 2
# Long enough to cover the gaps between keystrokes.
RECENT_SECONDS: Final = 0.25


class Pace:
    """Shared by all sessions of a daemon. A session is any hashable or unhashable object; identity counts."""

    def __init__(self) -> None:
        self._last: object = None
        self._last_at = float("-inf")
        self._others_at = float("-inf")

    def note(self, session: object) -> None:
        """Record that `session` moves input or output right now."""
        if session is not self._last:
            self._last, self._others_at = session, self._last_at
        self._last_at = time.monotonic()

    def batch(self, session: object) -> int:
        """Return how many reads `session` may make before its next checkpoint."""
        others_at = self._others_at if session is self._last else self._last_at
        return SHARED if time.monotonic() - others_at < RECENT_SECONDS else ALONE

    def forget(self, session: object) -> None:
        """Drop the reference to a session that has ended."""
        if session is self._last:
            self._last = None
