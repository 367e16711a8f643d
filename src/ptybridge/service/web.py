"""Handlers of the web front's operations. What serves is a front end, so it is given from outside."""

from typing import Protocol

from ptybridge.api import web as api
from ptybridge.errors import Denied
from ptybridge.model import Caller, Level
from ptybridge.service.dispatcher import handles


class Front(Protocol):
    """The web front."""

    @property
    def addresses(self) -> tuple[str, ...]: ...
    @property
    def base_url(self) -> str: ...
    @property
    def connections(self) -> int: ...
    async def open(self, caller: Caller, level: Level, session_id: str | None) -> str: ...


class WebService:
    """Opens the front. `front` is set once there is an endpoint for it to work with."""

    front: Front

    @handles(api.OPEN)
    async def open(self, caller: Caller, params: api.OpenWeb) -> api.WebOpened:
        """Open it; the answer lets whoever has it in, so only the user gets one."""
        if not caller.principal.startswith("uid:") or caller.profile is not None:
            raise Denied("web.open is for the user on the socket", hint="ask them for a link (`ptybridge open`)")
        url = await self.front.open(caller, params.level, params.session_id)
        return api.WebOpened(url=url, addresses=list(self.front.addresses))

    @handles(api.STATUS)
    def status(self, caller: Caller, params: api.WebStatus) -> api.WebState:
        """Where it is."""
        front = self.front
        return api.WebState(
            open=bool(front.addresses),
            addresses=list(front.addresses),
            base_url=front.base_url,
            connections=front.connections,
        )
