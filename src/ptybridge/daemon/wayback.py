"""Notices that somebody has removed the daemon's sockets, and makes them anew: its sessions must stay reachable.

That happens when a user logs out who does not linger: the processes may stay, their runtime directory does not, and
comes back empty with the next login. Cleaners of temporary files remove sockets, too. Without this the next command
would start a second daemon, and nobody would ever see the sessions of the first one again.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ptybridge.errors import PtybridgeError
from ptybridge.keeper.protocol import KeeperError
from ptybridge.rpc import listener

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
# Once they are gone: who logs in again shall not come before us.
LOOK_AGAIN_SECONDS = 0.5


class WayBack:
    """Keeps `paths` leading here; the first one is the clients' socket, and `lock` belongs to it."""

    def __init__(self, lock: listener.SocketLock, paths: list[Path]) -> None:
        self._lock = lock
        self._paths = paths
        self._lost = self._told = False

    async def run(self, rebind: Callable[[], Awaitable[None]], end: trio.Event) -> None:
        """Look until `end`. `rebind` binds all paths; it raises OSError, `KeeperError`, `PtybridgeError`."""
        while True:
            with trio.move_on_after(LOOK_AGAIN_SECONDS if self._lost else LOOK_SECONDS):
                await end.wait()
                return
            missing = self._missing()
            # Seen twice: whoever binds a path anew removes the old one first.
            if missing and self._lost:
                await self._find_it(rebind)
            self._lost = missing

    def _missing(self) -> bool:
        return not all(os.path.lexists(path) for path in self._paths)

    async def _make(self, rebind: Callable[[], Awaitable[None]]) -> None:
        try:
            await rebind()
        except (OSError, KeeperError, PtybridgeError):
            # As with a keeper of an older version. With the lock held nobody at all could serve the path.
            self._lock.let_go()
            raise

    async def _find_it(self, rebind: Callable[[], Awaitable[None]]) -> None:
        socket = self._paths[0]
        try:
            listener.prepare_directory(socket.parent)
            self._lock.retake(socket)
            await self._make(rebind)
        except (OSError, KeeperError, PtybridgeError) as exc:
            if not self._told:
                log.error("somebody has removed %s, and it cannot be made anew for now: %s", socket, exc)
            self._told = True
        else:
            log.warning("somebody has removed %s; it was made anew", socket)
            self._told = False
