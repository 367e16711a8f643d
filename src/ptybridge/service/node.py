"""Handlers about the daemon itself."""

import getpass
import os
import platform
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from ptybridge import __version__
from ptybridge.api import node as api
from ptybridge.api.describe import openrpc
from ptybridge.api.operation import Done
from ptybridge.api.registry import Registry
from ptybridge.core.eventlog import now_ms
from ptybridge.core.sessions import Sessions
from ptybridge.errors import InvalidRequest
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles

# The loop answers within this even when busy; slower means somebody blocks it.
LAG_LIMIT_MS = 1000.0


class Keeper(Protocol):
    """The keeper that a daemon works with."""

    keeper_pid: int
    keeper_version: str
    exact: bool

    async def upgrade(self) -> None:
        """Turn it into the program of the daemon's version. Raises `Unavailable`."""


class NodeService:
    """The daemon. `stop` and `restart` are the composition root's."""

    def __init__(
        self,
        sessions: Sessions,
        registry: Registry,
        *,
        socket_path: str,
        keeper: Keeper | None,
        stop: Callable[[], None],
        restart: Callable[[], Awaitable[None]],
        clients: Callable[[], int],
        lag: Callable[[], float],
        web_connections: Callable[[], int] = lambda: 0,
        counted: Callable[[], tuple[Counter[str], Counter[tuple[str, str]]]] = lambda: (Counter(), Counter()),
    ) -> None:
        """`counted` returns the calls by operation, and the failures by operation and error code."""
        self._sessions = sessions
        self._registry = registry
        self._socket_path = socket_path
        self._keeper = keeper
        self._stop = stop
        self._restart = restart
        self._clients = clients
        self._lag = lag
        self._web_connections = web_connections
        self._counted = counted
        self._started = time.monotonic()
        self._started_at_ms = now_ms()

    @handles(api.INFO)
    def info(self, caller: Caller, params: api.GetInfo) -> api.NodeInfo:
        """Who answers."""
        keeper = self._keeper
        return api.NodeInfo(
            version=__version__,
            protocol=api.PROTOCOL,
            protocol_min=api.PROTOCOL_MIN,
            pid=os.getpid(),
            hostname=socket.gethostname(),
            user=getpass.getuser(),
            platform=platform.platform(),
            python=platform.python_version(),
            started_at_ms=self._started_at_ms,
            uptime_ms=int((time.monotonic() - self._started) * 1000),
            sessions=len(self._sessions),
            sessions_running=len(self._sessions.running()),
            clients=self._clients(),
            socket=self._socket_path,
            keeper=keeper is not None,
            keeper_pid=keeper.keeper_pid if keeper else None,
            keeper_version=keeper.keeper_version if keeper else None,
            keeper_exact=keeper.exact if keeper else None,
            idle=not self._sessions.running(),
        )

    @handles(api.HEALTH)
    def health(self, caller: Caller, params: api.GetHealth) -> api.NodeHealth:
        """Whether all is well."""
        open_files, files_limit = _open_files()
        lag = self._lag()
        problems = []
        if open_files > files_limit * 0.9:
            problems.append(f"{open_files} of {files_limit} file descriptors are in use")
        if lag > LAG_LIMIT_MS:
            problems.append(f"the event loop was blocked for {lag:.0f} ms")
        return api.NodeHealth(
            ok=not problems,
            problems=problems,
            sessions_running=len(self._sessions.running()),
            open_files=open_files,
            open_files_limit=files_limit,
            loop_lag_ms=round(lag, 1),
        )

    @handles(api.METRICS)
    def metrics(self, caller: Caller, params: api.GetMetrics) -> api.NodeMetrics:
        """What was counted."""
        calls, failed = self._counted()
        failures: dict[str, dict[str, int]] = {}
        for (operation, code), count in failed.items():
            failures.setdefault(operation, {})[code] = count
        open_files, files_limit = _open_files()
        return api.NodeMetrics(
            version=__version__,
            uptime_ms=int((time.monotonic() - self._started) * 1000),
            sessions=len(self._sessions),
            sessions_running=len(self._sessions.running()),
            clients=self._clients(),
            web_connections=self._web_connections(),
            open_files=open_files,
            open_files_limit=files_limit,
            loop_lag_ms=round(self._lag(), 1),
            calls=dict(calls),
            failures=failures,
        )

    @handles(api.LIMITS)
    def limits(self, caller: Caller, params: api.GetLimits) -> api.Limits:
        """Which limits hold."""
        current = self._sessions.limits
        return api.Limits(**{name: getattr(current, name) for name in api.Limits.__struct_fields__})

    @handles(api.SET_LIMITS)
    def set_limits(self, caller: Caller, params: api.SetLimits) -> api.Limits:
        """Change limits."""
        given: dict[str, Any] = {
            name: value for name in params.__struct_fields__ if (value := getattr(params, name)) is not None
        }
        self._sessions.limits = msgspec.structs.replace(self._sessions.limits, **given)
        return self.limits(caller, api.GetLimits())

    @handles(api.SHUTDOWN)
    def shutdown(self, caller: Caller, params: api.Shutdown) -> Done:
        """Stop."""
        self._stop()
        return Done()

    @handles(api.RESTART)
    async def restart(self, caller: Caller, params: api.Restart) -> api.Restarting:
        """Start anew; with a keeper only once the new daemon is known to come up."""
        kept = self._keeper is not None
        ended = 0 if kept else len(self._sessions.running())
        await self._restart()
        return api.Restarting(sessions_kept=kept, sessions_ended=ended)

    @handles(api.UPGRADE)
    async def upgrade(self, caller: Caller, params: api.Upgrade) -> api.Upgraded:
        """Bring the keeper to our version."""
        keeper = self._keeper
        before = keeper.keeper_version if keeper else None
        wanted = keeper is not None and (params.force or before != __version__)
        if keeper is not None and wanted:
            await keeper.upgrade()
        return api.Upgraded(
            daemon_version=__version__,
            keeper_version=keeper.keeper_version if keeper else None,
            keeper_version_before=before,
            keeper_pid=keeper.keeper_pid if keeper else None,
            keeper_upgraded=wanted,
        )

    @handles(api.DISCOVER)
    def discover(self, caller: Caller, params: api.Discover) -> api.OpenRpc:
        """Describe the interface."""
        return openrpc(self._registry)

    @handles(api.CANCEL)
    def cancel(self, caller: Caller, params: api.Cancel) -> api.Cancelled:
        """Only a connection knows its requests; its front end answers this before it gets here."""
        raise InvalidRequest("rpc.cancel only makes sense on a connection that carries other requests")


def _open_files() -> tuple[int, int]:
    """Return how many descriptors are open, and how many may be."""
    count = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    return count, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
