"""Which turns sessions take when one has more output than anybody needs and others are waited for.

How it works: one flooding session alone is read fastest in long batches, one after the other. When another one has
output, too, batches are short and they take turns. And when somebody has just typed into another session, each batch
is a delay of the echo: then a flood rests after each batch, until its terminal has filled again, and batches are long,
because what counts is how often an echo meets one. So sessions share one `Pace` and note their activity in it.
"""

import time
from typing import Final

import trio

ALONE: Final = 16
SHARED: Final = 2
# Long enough to cover the gaps between keystrokes.
RECENT_SECONDS: Final = 0.25
# How soon an echo comes from whatever echoes at all. Much longer would cost a flood more than it is worth to the echo.
ECHO_SECONDS: Final = 0.02
# Shorter is not to be had of the system's poll. A flood gets about a third of its speed through then.
REST_SECONDS: Final = 0.001


class _Latest:
    """When which session was last active: remembers only the last one and when any other was."""

    def __init__(self) -> None:
        self._last: object = None
        self._last_at = float("-inf")
        self._others_at = float("-inf")

    def note(self, session: object) -> None:
        if session is not self._last:
            self._last, self._others_at = session, self._last_at
        self._last_at = time.monotonic()

    def others(self, session: object, recent: float) -> bool:
        """Whether another one than `session` was active in the last so many seconds."""
        others_at = self._others_at if session is self._last else self._last_at
        return time.monotonic() - others_at < recent

    def forget(self, session: object) -> None:
        if session is self._last:
            self._last = None


class Pace:
    """Shared by all sessions of a daemon. A session is any hashable or unhashable object; identity counts."""

    def __init__(self) -> None:
        self._moving = _Latest()
        self._typing = _Latest()

    def note(self, session: object) -> None:
        """Record that `session` moves output right now."""
        self._moving.note(session)

    def note_input(self, session: object) -> None:
        """Record that `session` gets input right now, whose echo somebody may wait for."""
        self._moving.note(session)
        self._typing.note(session)

    def batch(self, session: object) -> int:
        """Return how many reads `session` may make before `turn`."""
        return SHARED if self._moving.others(session, RECENT_SECONDS) and not self._yields(session) else ALONE

    async def turn(self, session: object) -> None:
        """Let others have their turn, after a batch behind which there is more. A checkpoint."""
        if self._yields(session):
            await trio.sleep(REST_SECONDS)
        else:
            await trio.lowlevel.checkpoint()

    def _yields(self, session: object) -> bool:
        return self._typing.others(session, ECHO_SECONDS)

    def forget(self, session: object) -> None:
        """Drop the references to a session that has ended."""
        self._moving.forget(session)
        self._typing.forget(session)
