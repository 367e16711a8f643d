"""The way from a channel to the SDK that speaks MCP, which is imported in a thread before anybody asks for it.

How it works: importing the SDK takes some 0.3 to 0.9 s, during which the daemon would serve nobody, and it is an
extra that may be missing. So nothing but `server.py` and `streams.py` imports it, and those are imported here.
"""

import importlib.util
from typing import Any

import trio

from ptybridge.api import mcp as api
from ptybridge.api.endpoint import Channel, Endpoint
from ptybridge.errors import NotInstalled
from ptybridge.model import Caller


class McpFront:
    """Serves MCP clients over an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def warm(self) -> None:
        """Import the SDK, if it is installed."""
        if is_installed():
            await self._server()

    async def speak(self, caller: Caller, params: api.Open, channel: Channel) -> None:
        """Serve one client until it goes. Raises `NotInstalled`."""
        if not is_installed():
            raise NotInstalled(
                "the daemon cannot speak MCP: the Python package `mcp` is not installed",
                hint="pip install 'ptybridge[mcp]' into the daemon's environment, then `ptybridge restart`",
            )
        server = await self._server()
        await server.serve(self._endpoint, caller, params, channel)

    async def _server(self) -> Any:
        # The interpreter's own lock makes whoever comes second wait for the first.
        return await trio.to_thread.run_sync(importlib.import_module, "ptybridge.mcp.server")


def is_installed() -> bool:
    """Tell whether the SDK is there, without importing it."""
    return importlib.util.find_spec("mcp") is not None
