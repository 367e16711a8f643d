"""Finds the daemon of this machine by its socket, and starts it where that is wanted; blocking, for both clients."""

import logging
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from ptybridge.config import Config, load
from ptybridge.errors import ConnectionLost, DaemonUnreachable
from ptybridge.sdk.peer import dial

log = logging.getLogger(__name__)


class Local:
    """Where a daemon may be. `paths` are sockets, or directories that have one; the first that answers is taken.

    With `use_defaults` the configuration's socket comes last, and only there a daemon is started.
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]] = (),
        *,
        use_defaults: bool = True,
        start: bool = True,
        timeout: float = 10.0,
        config: Config | None = None,
    ) -> None:
        self._given = [os.path.abspath(os.path.expanduser(os.fspath(path))) for path in paths]
        self._config = config or load(os.environ).config
        self._use_defaults = use_defaults
        self._start = start
        self._timeout = timeout

    @property
    def name(self) -> str:
        """What to call the daemon in messages."""
        return self._config.paths.socket if self._use_defaults or not self._given else self._given[0]

    def dial(self) -> socket.socket:
        """Return a connected socket. Raises `DaemonUnreachable` or `UnsafePath`."""
        failure: DaemonUnreachable | None = None
        for path in self._given:
            try:
                return dial(os.path.join(path, "daemon.sock") if os.path.isdir(path) else path, self._timeout)
            except DaemonUnreachable as exc:
                failure = exc
        if not self._use_defaults:
            raise failure or DaemonUnreachable("there is no path to look for a daemon at")
        try:
            return dial(self._config.paths.socket, self._timeout)
        except DaemonUnreachable as exc:
            if not self._start or not self._config.daemon.autostart:
                exc.hint = "start one with `ptybridge serve`, or let this client do it (`start=True`)"
                raise
        from ptybridge.sdk.autostart import ensure_daemon  # rarely needed, and it takes time to import

        ensure_daemon(self._config, announce=log.info).close()
        return dial(self._config.paths.socket, self._timeout)

    def dial_again(self) -> socket.socket:
        """Like `dial`, but a daemon that was stopped stays stopped; one whose sessions are kept is started."""
        try:
            return Local(
                self._given, use_defaults=self._use_defaults, start=False, timeout=self._timeout, config=self._config
            ).dial()
        except DaemonUnreachable as exc:
            if not (exc.data.get("kept") and self._start):
                raise
        return self.dial()

    def revive(self) -> None:
        """Start the daemon that finds us in the queue of the keeper. Raises `ConnectionLost` if there will be none."""
        if not (self._start and self._config.daemon.autostart):
            raise ConnectionLost("the daemon has gone away before it answered; its sessions are kept", kept=True)
        self.dial().close()


def own_client_id(env: Mapping[str, str] = os.environ) -> str:
    """Return the name of a client that was not given one: `$PTYBRIDGE_CLIENT_ID`, or one that nobody else has."""
    return env.get("PTYBRIDGE_CLIENT_ID") or f"python-{os.getpid()}-{secrets.token_hex(4)}"


class Surroundings(Mapping[str, Any]):
    """What calls are filled in with where it is not given: who calls and, on this machine, from where."""

    def __init__(self, client_id: str, *, here: bool) -> None:
        self._client_id = client_id
        self._names = ("client_id", "cwd", "caller_env") if here else ("client_id",)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name == "client_id":
            return self._client_id
        return os.getcwd() if name == "cwd" else dict(os.environ)

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
