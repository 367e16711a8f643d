"""`mcp.open`. What speaks the protocol is a front end, so it is given from outside."""

from collections.abc import Awaitable, Callable

from ptybridge.api import mcp as api
from ptybridge.api.endpoint import Channel
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles

Speak = Callable[[Caller, api.Open, Channel], Awaitable[None]]


class McpService:
    """Hands the channel over. `speak` is set once there is an endpoint for the front end to work with."""

    speak: Speak

    @handles(api.OPEN)
    async def open(self, caller: Caller, params: api.Open, channel: Channel) -> None:
        """Serve one MCP client until it goes."""
        await self.speak(caller, params, channel)
