"""How much output may be on its way to a client that acknowledges what it has shown.

A connection's buffers hold back the sender of a program that does not read. A browser reads for its page whether the
page draws or not, so what a hidden tab has not drawn would pile up there: only acknowledgements tell (R24).
"""

import trio


class AckWindow:
    """Counts what is out and not acknowledged, in bytes of transcript. Without a size it never holds anything back."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._sent = 0
        self._acked = 0
        self._picture = 0
        self._moved = trio.Event()

    def restart(self, offset: int) -> None:
        """Go on from `offset`: a snapshot, or the place of a resume. Nothing is out."""
        self._sent = self._acked = self._picture = offset

    def sent(self, offset: int) -> None:
        """Note that everything before `offset` is on its way."""
        self._sent = offset

    def painted(self, offset: int) -> None:
        """Note that a picture as of `offset` is on its way, which counts until it is acknowledged by itself."""
        self._sent = self._picture = offset
        self._acked = min(self._acked, offset - 1)

    def acknowledge(self, offset: int) -> None:
        """Note that the client has shown everything before `offset`."""
        if offset > self._acked:
            self._acked = offset
            self._moved.set()

    def room(self, wanted: int) -> int:
        """Return how many of `wanted` bytes may be sent now."""
        return wanted if self._size is None else max(0, min(wanted, self._size - (self._sent - self._acked)))

    async def wait(self) -> None:
        """Wait for the next acknowledgement."""
        self._moved = trio.Event()
        await self._moved.wait()

    async def drained(self) -> None:
        """Wait until everything sent is acknowledged; at once for a client without a window."""
        while self._size is not None and self._acked < self._sent:
            await self.wait()

    async def mostly_shown(self) -> None:
        """Wait until the last picture is acknowledged, and all but half a window of what was sent behind it.

        Not until everything is: a client may acknowledge in larger steps than the rest of what it has been sent.
        """
        while self._size is not None and (self._acked < self._picture or self._sent - self._acked > self._size // 2):
            await self.wait()
