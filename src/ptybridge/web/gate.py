"""Stands before everything else that is served: may this request be here, and who makes it?

How it works, in this order: the request names one of our hosts (421); it comes from one of our own pages, or from no
page (403); what it proves is looked up (401); what a browser proves by itself, by a cookie, counts for changes only
when the page that asks is known to be ours (403); it is not one too many (429). Whoever passes has
`scope["state"]["caller"]`, None where no login is needed, and is cut off when what was proved is revoked.
"""

from typing import Final

from ptybridge.errors import Denied, Misdirected, PtybridgeError, Unauthenticated
from ptybridge.model import Caller
from ptybridge.web import login
from ptybridge.web.answers import answer_error, error_body, error_headers, refuse_method
from ptybridge.web.auth import Authority, Proof
from ptybridge.web.context import Asgi, Message, Receive, Scope, Send, Web
from ptybridge.web.headers import secure
from ptybridge.web.limits import Limit
from ptybridge.web.origins import Sites

# Answered without a login: health, and the shells of the pages, which hold no data.
PUBLIC: Final = frozenset({"/health", "/", "/login", "/public", "/favicon.ico", "/robots.txt"})
PUBLIC_BELOW: Final = ("/static/", "/s/")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Sent by our pages where a body is not JSON; no form and no plain link can add it.
HEADER: Final = b"x-ptybridge"
LOGIN, LOGOUT, TICKETS = "/v1/login", "/v1/logout", "/v1/tickets"
OWN: Final = frozenset({LOGIN, LOGOUT, TICKETS})
# What starts programs; each also under /v1/call/.
CREATES: Final = frozenset({"/v1/sessions", "/v1/sessions/recover", "/v1/exec", "/v1/exec/stream", "/v1/share/join"})
CREATE_CALLS: Final = frozenset({"session.create", "session.recover", "exec.run", "exec.stream", "share.join"})


class Gate:
    """Pure ASGI; `inner` is called for what may pass."""

    def __init__(self, web: Web, inner: Asgi) -> None:
        self._inner = inner
        self._auth = web.auth
        self._sites = Sites(web.config.web)
        settings = web.config.web
        self._creates = Limit(settings.creates_at_once, settings.creates_per_second)
        self._writes = Limit(settings.writes_at_once, settings.writes_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        answered = False

        async def guarded(message: Message) -> None:
            nonlocal answered
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                secure(message)
            answered = True
            await send(message)

        try:
            await self._serve(self._auth, scope, receive, guarded)
        except PtybridgeError as exc:
            if answered:
                raise
            await _refuse(scope, exc, guarded)

    async def _serve(self, auth: Authority | None, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        origin = self._own_origin(scope, headers)
        came_from = _page(scope, headers, origin)
        path = scope["path"]
        if auth is None:
            raise Unauthenticated("this node answers nobody yet")
        name, safe = _cookie_name(scope, origin), origin.startswith("https:")
        if scope["type"] == "http" and (scope["method"], path) == ("POST", LOGIN):
            _require_ours(headers)
            await login.log_in(auth, scope, headers, name, safe, receive, send)
            return
        proof = auth.identify(scope, headers, name)
        caller = None if proof is None else proof.caller
        if scope["type"] == "websocket":
            _check_upgrade(headers, proof, came_from)
        elif scope["method"] not in SAFE:
            if proof is None:
                raise Unauthenticated("this needs a login or a key")
            if proof.ambient:
                if came_from is None:
                    raise Denied("a login changes something only for pages that say where they come from")
                _require_ours(headers)
            self._limit(scope["method"], path, proof.caller, auth.address_of(scope))
        if caller is None and not is_public(scope, path):
            raise Unauthenticated("this needs a login or a key")
        scope["state"]["caller"] = caller
        scope["state"]["cookie"] = name
        if path in OWN and scope["type"] == "http":
            await self._own(auth, scope, path, caller, name, safe, receive, send)
        elif caller is None:
            await self._inner(scope, receive, send)
        else:
            await self._until_revoked(auth, caller, scope, receive, send)

    async def _own(
        self,
        auth: Authority,
        scope: Scope,
        path: str,
        caller: Caller | None,
        cookie: str,
        safe: bool,
        receive: Receive,
        send: Send,
    ) -> None:
        if scope["method"] != "POST" or caller is None:
            await refuse_method(send, ["POST"])
        elif path == LOGOUT:
            await login.log_out(auth, caller, cookie, safe, send)
        else:
            await login.make_ticket(auth, caller, receive, send)

    async def _until_revoked(self, auth: Authority, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        with auth.hold(caller, connection=scope["type"] == "websocket") as held:
            await self._inner(scope, receive, noticed)
        if held.cancelled_caught and not begun:
            raise Unauthenticated("what was shown is not valid any more")

    def _own_origin(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        """Return the origin of our pages at the host this request names. Raises `Misdirected`."""
        hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
        # A proxy's form of request ("GET http://host/ …") is for somebody else.
        if len(hosts) != 1 or not scope["path"].startswith("/"):
            raise Misdirected
        scheme = "https" if scope["scheme"] in {"https", "wss"} else "http"
        found = self._sites.origin(hosts[0].decode("latin-1"), scheme, scope.get("server"))
        if found is None:
            raise Misdirected
        return found

    def _limit(self, method: str, path: str, caller: Caller, address: str) -> None:
        call = path.removeprefix("/v1/call/")
        creates = (method == "POST" and path in CREATES) or call in CREATE_CALLS
        limit = self._creates if creates else self._writes
        for who in (caller.principal, address):
            limit.take(who)


def is_public(scope: Scope, path: str) -> bool:
    """Tell whether this is answered without a login."""
    return scope["type"] == "http" and scope["method"] in SAFE and (path in PUBLIC or path.startswith(PUBLIC_BELOW))


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers; what must stand once and stands twice counts as its two values."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        name = name.lower()
        # Cookies may come apart under HTTP/2 (RFC 9113 section 8.2.3).
        glue = b"; " if name == b"cookie" else b", "
        found[name] = found[name] + glue + value if name in found else value
    return found


def _page(scope: Scope, headers: dict[bytes, bytes], own: str) -> str | None:
    """Return the origin of the page that asks, None when none is told. Raises `Denied` for any but our own."""
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") != own:
        raise Denied("requests from pages of other origins are not answered")
    site = headers.get(b"sec-fetch-site", b"none")
    if site not in {b"same-origin", b"none"}:
        # Following a link is harmless, and what it leads to changes nothing; being framed or fetched is not.
        link = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
        if not (link and scope["type"] == "http" and scope["method"] in SAFE):
            raise Denied("requests from pages of other origins are not answered")
    return None if origin is None else own


def _check_upgrade(headers: dict[bytes, bytes], proof: Proof | None, came_from: str | None) -> None:
    """A WebSocket is opened by our own page, or by a program with a key or ticket, which sends no cookie."""
    if came_from is None and (b"cookie" in headers or (proof is not None and proof.ambient)):
        raise Denied("a WebSocket with a cookie is opened by our own pages only", hint="send a key or a ticket alone")
    if proof is None:
        raise Unauthenticated("this needs a login, a key or a ticket")


def _require_ours(headers: dict[bytes, bytes]) -> None:
    """A form of another page can send neither JSON nor a header of ours without asking first, and is told no."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json" and not headers.get(HEADER):
        raise Denied("a change needs the content type application/json or the header X-Ptybridge: 1")


def _cookie_name(scope: Scope, origin: str) -> str:
    """Return the name of the cookie. It says the port, which cookies themselves do not look at (RFC 6265, 8.5)."""
    server = scope.get("server")
    port = server[1] if server and server[1] else "unix"
    return f"__Host-ptybridge-{port}" if origin.startswith("https:") else f"ptybridge-{port}"


async def _refuse(scope: Scope, error: PtybridgeError, send: Send) -> None:
    if scope["type"] == "http":
        await answer_error(send, error)
    elif "websocket.http.response" in scope.get("extensions", {}):
        body = error_body(error)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *error_headers(error)]
        start = {"type": "websocket.http.response.start", "status": error.http_status, "headers": head}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
    else:
        # Before it is accepted this is a refusal with 403.
        await send({"type": "websocket.close", "code": 1008})
