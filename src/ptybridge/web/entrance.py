"""What a request meets first: which peer it really comes from, the base path, and the access log.

Headers in which a proxy says for whom it asks are believed from `web.trusted_proxies` only, and taken away from
everybody else's requests, so that nothing behind this needs to ask. "unix" among them means peers on the Unix socket.
"""

import ipaddress
import logging
import time
from typing import Final

from ptybridge import config
from ptybridge.errors import ConfigInvalid, NotFound
from ptybridge.model import Caller
from ptybridge.web.answers import answer_error
from ptybridge.web.context import Asgi, Message, Receive, Scope, Send

access = logging.getLogger("ptybridge.access")

_FORWARDED: Final = frozenset({b"forwarded", b"x-real-ip"})
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Read the addresses and networks of `web.trusted_proxies`. Raises `ConfigInvalid`."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts if text != "unix")
    except ValueError as exc:
        raise ConfigInvalid(
            f"web.trusted_proxies: {exc}", hint="write addresses, networks (10.0.0.0/8) or unix"
        ) from exc


class Entrance:
    """Pure ASGI, around everything else."""

    def __init__(self, settings: config.Web, inner: Asgi) -> None:
        self._inner = inner
        self._prefix = settings.prefix
        self._networks = networks(settings.trusted_proxies)
        self._trust_unix = "unix" in settings.trusted_proxies
        self._proxy_auth = (settings.proxy_auth_header or "").lower().encode()
        self._logs = settings.access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        self._believe(scope)
        line = _Line(scope)
        try:
            if self._strip(scope):
                await self._inner(scope, receive, line.through(send))
            elif scope["type"] == "http":
                await answer_error(line.through(send), NotFound(f"this node's addresses begin with {self._prefix}/"))
            else:
                await send({"type": "websocket.close", "code": 1008})
        finally:
            if self._logs:
                line.write()

    # -- proxies --------------------------------------------------------------------------------------------

    def _believe(self, scope: Scope) -> None:
        trusted = self._is_trusted(scope["client"][0]) if scope["client"] else self._trust_unix
        found = {name: value for name, value in scope["headers"] if name.startswith(b"x-forwarded-")} if trusted else {}
        scope["headers"] = [
            (name, value)
            for name, value in scope["headers"]
            if not name.startswith(b"x-forwarded-")
            and name not in _FORWARDED
            and (trusted or not self._proxy_auth or name != self._proxy_auth)
        ]
        if client := self._first_stranger(found.get(b"x-forwarded-for", b"").decode("latin-1")):
            scope["client"] = (client, 0)
        proto = found.get(b"x-forwarded-proto", b"").decode("latin-1").strip().lower()
        if proto in {"http", "https"}:
            secure = {"http": "https", "websocket": "wss"}
            plain = {"http": "http", "websocket": "ws"}
            scope["scheme"] = (secure if proto == "https" else plain)[scope["type"]]
        if host := found.get(b"x-forwarded-host", b"").partition(b",")[0].strip():
            scope["headers"] = [(n, v) for n, v in scope["headers"] if n != b"host"] + [(b"host", host)]

    def _is_trusted(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def _first_stranger(self, forwarded_for: str) -> str:
        """Return the nearest address that is no proxy of ours: what stands left of it anybody may have written."""
        for text in reversed([part.strip() for part in forwarded_for.split(",")]):
            try:
                address = str(ipaddress.ip_address(text))
            except ValueError:
                return ""
            if not self._is_trusted(address):
                return address
        return ""

    def _strip(self, scope: Scope) -> bool:
        """Take the base path away; False when the path does not begin with it."""
        if not self._prefix:
            return True
        path: str = scope["path"]
        if path != self._prefix and not path.startswith(f"{self._prefix}/"):
            return False
        scope["path"] = path.removeprefix(self._prefix) or "/"
        scope["raw_path"] = scope["raw_path"].removeprefix(self._prefix.encode())
        return True


class _Line:
    """One line of the access log. Queries are left out: what is asked for may be nobody's business."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._path = scope["raw_path"].decode("ascii", "backslashreplace")
        self._began = time.monotonic()
        self._status = 0
        self._bytes = 0

    def through(self, send: Send) -> Send:
        """Return `send`, watched."""

        async def watched(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                self._status = message["status"]
            elif message["type"] == "http.response.body":
                self._bytes += len(message.get("body", b""))
            elif message["type"] == "websocket.accept":
                self._status = 101
            elif message["type"] == "websocket.close" and not self._status:
                self._status = 403
            await send(message)

        return watched

    def write(self) -> None:
        """Write it, at the end of the request."""
        caller = self._scope["state"].get("caller")
        access.info(
            "%s %s %s %s %d %d bytes %.0f ms",
            self._scope["client"][0] if self._scope["client"] else "unix",
            caller.principal if isinstance(caller, Caller) else "-",
            self._scope.get("method", "WEBSOCKET"),
            self._path,
            self._status,
            self._bytes,
            (time.monotonic() - self._began) * 1000,
        )
