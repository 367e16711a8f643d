"""The way from a channel to the SDK that speaks MCP, which is imported in a thread before anybody asks for it.

How it works: importing the SDK takes some 0.3 to 0.9 s, during which the daemon would serve nobody, and it is an
extra that may be missing. So only modules that are imported here, when they are wanted, import it.
"""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import trio

from ptybridge.api import mcp as api
from ptybridge.api.endpoint import Channel, Endpoint
from ptybridge.errors import NotInstalled, Unavailable
from ptybridge.mcp.asgi import Receive, Scope, Send
from ptybridge.model import Caller


class McpFront:
    """Serves MCP clients over an endpoint. `hold` runs a block until the key or login that a caller has shown ends."""

    def __init__(self, endpoint: Endpoint, hold: Callable[[Caller], AbstractContextManager[object]]) -> None:
        self._endpoint = endpoint
        self._hold = hold
        self._nursery: trio.Nursery | None = None
        self._http: Any = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the sessions over HTTP until cancelled, or `close`."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def close(self) -> None:
        """End the sessions over HTTP, so that nothing keeps the web front from ending."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def warm(self) -> None:
        """Import the SDK, if it is installed."""
        if is_installed():
            await self._server()

    async def speak(self, caller: Caller, params: api.Open, channel: Channel) -> None:
        """Serve one client until it goes. Raises `NotInstalled`."""
        _require_installed()
        server = await self._server()
        await server.serve(self._endpoint, caller, params, channel)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request whose sender is known. Raises `PtybridgeError` before anything is answered."""
        _require_installed()
        if self._http is None:
            module: Any = await trio.to_thread.run_sync(importlib.import_module, "ptybridge.mcp.http")
            if self._nursery is None or self._nursery.cancel_scope.cancel_called:
                raise Unavailable("the daemon is ending")
            self._set_up(module)
        await self._http.serve(scope, receive, send)

    def _set_up(self, module: Any) -> None:
        # Another request may have been quicker.
        if self._http is None:
            self._http = module.HttpFront(self._endpoint, self._hold, self._nursery)

    async def _server(self) -> Any:
        # The interpreter's own lock makes whoever comes second wait for the first.
        return await trio.to_thread.run_sync(importlib.import_module, "ptybridge.mcp.server")


def _require_installed() -> None:
    if not is_installed():
        raise NotInstalled(
            "the daemon cannot speak MCP: the Python package `mcp` is not installed",
            hint="pip install 'ptybridge[mcp]' into the daemon's environment, then `ptybridge restart`",
        )


def is_installed() -> bool:
    """Tell whether the SDK is there, without importing it."""
    return importlib.util.find_spec("mcp") is not None
