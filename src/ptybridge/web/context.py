"""What every part of the web front gets: one `Web`, and the caller of the request being answered."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ptybridge.api.endpoint import Endpoint
from ptybridge.api.registry import Registry
from ptybridge.config import Config
from ptybridge.errors import Unauthenticated
from ptybridge.model import Caller

if TYPE_CHECKING:
    from ptybridge.web.auth import Authority

# ASGI 3 (asgi.readthedocs.io): an application is called once for each request or WebSocket.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Web:
    """What the parts of the web front share. `auth` is None until there is somebody to ask: then nobody gets in.

    `mounts` are other front ends behind the same gate, by their paths.
    """

    config: Config
    registry: Registry
    endpoint: Endpoint
    auth: "Authority | None" = None
    mounts: Mapping[str, Asgi] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What every path in a link begins with."""
        return self.config.web.prefix


def caller_of(scope: Scope) -> Caller:
    """Return who makes the request, which the gate has found out. Raises `Unauthenticated`."""
    caller = scope["state"].get("caller")
    if not isinstance(caller, Caller):
        raise Unauthenticated("this needs a login or a key")
    return caller


def caller() -> Caller:
    """Return who makes the request that Quart is handling. Raises `Unauthenticated`."""
    from quart import has_websocket_context, request, websocket

    scope: Any = websocket.scope if has_websocket_context() else request.scope
    return caller_of(scope)
