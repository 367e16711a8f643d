"""Stands before everything else that is served, and lets nobody in until there is somebody to ask.

Whoever passes has `scope["state"]["caller"]`, None where no login is needed.
"""

from typing import Final

from ptybridge.errors import Unauthenticated
from ptybridge.web.answers import answer_error
from ptybridge.web.context import Asgi, Receive, Scope, Send, Web

# What is answered without a login.
PUBLIC: Final = frozenset({("GET", "/health"), ("HEAD", "/health")})


class Gate:
    """Pure ASGI; `inner` is called for what may pass."""

    def __init__(self, web: Web, inner: Asgi) -> None:
        self._web = web
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] == "http" and (scope["method"], scope["path"]) in PUBLIC:
            scope["state"]["caller"] = None
            await self._inner(scope, receive, send)
        elif scope["type"] == "http":
            await answer_error(send, Unauthenticated("this node answers nobody yet"))
        else:
            # Before it is accepted this is a refusal with 403.
            await send({"type": "websocket.close", "code": 1008})
