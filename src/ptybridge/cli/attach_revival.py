"""Starts the next daemon for a client that is attached, while its user can still detach.

A keeper has the sessions of a daemon that was killed, but starts none itself: clients do. That takes a moment, in
which the terminal is raw and its user may want to leave, so it happens in a thread.
"""

import threading
from collections.abc import Callable

from ptybridge.errors import ConnectionLost, PtybridgeError


class Revival:
    """Has a daemon again as often as it is asked to. `revive` waits for one, and starts it where that is allowed."""

    def __init__(self, revive: Callable[[], None] | None) -> None:
        self._revive = revive
        self._thread: threading.Thread | None = None
        self._given_up = False
        self.failure: PtybridgeError | None = None  # why a daemon could not be started

    @property
    def under_way(self) -> bool:
        """Whether there may be a daemon soon."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self) -> None:
        """Have a daemon again, unless that is under way or was in vain; what was had may be gone again."""
        if self._revive is None or self._given_up or self.under_way:
            return
        # Not waited for when the user leaves; a daemon that has been started by then goes on alone.
        self._thread = threading.Thread(target=self._run, args=(self._revive,), name="revival", daemon=True)
        self._thread.start()

    def _run(self, revive: Callable[[], None]) -> None:
        try:
            revive()
        except PtybridgeError as exc:
            # That nobody came back is what the user is told anyway.
            self.failure = None if isinstance(exc, ConnectionLost) else exc
            self._given_up = True
