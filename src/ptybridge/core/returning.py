"""Holds a pausing session's output for the viewers it had when its daemon was lost, until they are back.

Without this the first instant of a new daemon, in which nobody is attached yet, would look as if nobody wanted the
output, and a viewer that comes back a moment later would find a gap where the program was to wait for it.
"""

import trio

from ptybridge.core.transcript import Transcript

# A client tries to come back all the time; one that takes longer, even on a machine under load, has ended, too.
RETURN_SECONDS = 20.0


class Returning:
    """The viewers that are expected. `floor` is what the transcript's writer may not overwrite for their sake.

    `expected`: how many are not back yet. The next daemon waits for them as well, if this one is lost before.
    """

    def __init__(self, log: Transcript) -> None:
        self._log = log
        self._floor = 0
        self.expected = 0
        self._over = trio.Event()

    def expect(self, viewers: int) -> None:
        """Wait for so many, from where the writer stood still for those before them."""
        self._floor = max(0, self._log.ring.floor)
        self.expected = viewers

    def came(self) -> None:
        """One of them is back; from now on it holds the output itself."""
        self.expected -= 1
        if self.expected == 0:
            self._over.set()

    def floor(self) -> int | None:
        """See `Transcript.add_floor`."""
        return self._floor if self.expected > 0 else None

    async def run(self) -> None:
        """Wait for them, but not for ever."""
        if self.expected > 0:
            with trio.move_on_after(RETURN_SECONDS):
                await self._over.wait()
            self.expected = 0
            self._log.floor_moved()
