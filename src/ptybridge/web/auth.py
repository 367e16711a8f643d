"""Who makes a request: found by a key, a login's cookie, a ticket, or what a trusted proxy says; and until when.

Where a request comes from never lets anybody in. What is open on a key or login is told when that ends, and cut off
half a second later if it has not ended by itself.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import msgspec
import trio

from ptybridge.api.key import JOIN, READ, SCOPES
from ptybridge.config import Web as WebConfig
from ptybridge.errors import Denied, Unauthenticated
from ptybridge.model import SHARED, Caller, Grant, Level
from ptybridge.web.context import Scope
from ptybridge.web.limits import Limit
from ptybridge.web.onetime import OneTime

audit = logging.getLogger("ptybridge.audit")

CODE_SECONDS: Final = 120.0
TICKET_SECONDS: Final = 30.0
LOGIN_MS: Final = 30 * 24 * 3600 * 1000
# What is open ends by itself within this time after its key was revoked, or is cut off.
PARTING_SECONDS: Final = 0.5
TICKET_PROTOCOL: Final = "ticket."


class Keys(Protocol):
    """The node's keyring."""

    ended: list[Callable[[str], None]]

    def find(self, secret: str) -> Grant | None: ...
    def get(self, grant_id: str) -> Grant | None: ...
    async def create_login(
        self,
        name: str,
        level: Level,
        principal: str,
        *,
        expires_in_ms: int,
        parent_id: str | None = None,
        session_ids: tuple[str, ...] | None = None,
    ) -> tuple[Grant, str]: ...
    async def revoke(self, which: str) -> list[Grant]: ...


class Code(msgspec.Struct, frozen=True):
    """What a code logs in."""

    principal: str
    level: Level


class Proof(msgspec.Struct, frozen=True):
    """Who it is, and whether the browser proves that by itself, also when another page has it ask."""

    caller: Caller
    ambient: bool


class Authority:
    """One node's web front's knowledge of who may. `gone` is told of connections that have ended.

    `shared` returns the id of the session that invitations are for.
    """

    def __init__(
        self,
        keys: Keys,
        web: WebConfig,
        gone: Callable[[str], None] = lambda connection_id: None,
        shared: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.keys = keys
        self._web = web
        self._gone = gone
        self._shared = shared
        self._codes: OneTime[Code] = OneTime("ptc_", CODE_SECONDS)
        self._tickets: OneTime[Caller] = OneTime("ptt_", TICKET_SECONDS)
        self._watched: dict[str, trio.Event] = {}
        self._open: dict[str, set[trio.CancelScope]] = {}
        # Only failures count, so that whoever has a key that is good is never locked out by those who guess.
        self.failures = Limit(web.failures_at_once, web.failures_per_second)
        keys.ended.append(self._end)

    @property
    def ticket_seconds(self) -> float:
        """How long a ticket is good."""
        return self._tickets.seconds

    # -- who ------------------------------------------------------------------------------------------------

    def identify(self, scope: Scope, headers: dict[bytes, bytes], cookie: str) -> Proof | None:
        """Return who it is, None for nobody. Raises `Unauthenticated` or `RateLimited` for a proof that is wrong.

        `cookie` is the name of the one that holds a login.
        """
        unique = scope["type"] == "websocket"
        bearer = headers.get(b"authorization")
        if bearer is not None:
            kind, _, value = bearer.decode("latin-1").partition(" ")
            grant = self.keys.find(value.strip()) if kind.lower() == "bearer" else None
            if grant is None or grant.kind != "key":
                raise self.failed(scope, "this key is not valid")
            return Proof(self._caller(grant, unique), ambient=False)
        for offered in scope.get("subprotocols") or ():
            if offered.startswith(TICKET_PROTOCOL):
                return Proof(self._use_ticket(scope, offered.removeprefix(TICKET_PROTOCOL)), ambient=False)
        value = cookies_of(headers).get(cookie, "")
        grant = self.keys.find(value) if value else None
        if grant is not None and grant.kind == "login":
            return Proof(self._caller(grant, unique), ambient=True)
        return self._by_proxy(scope, headers)

    def failed(self, scope: Scope, message: str) -> Unauthenticated:
        """Count a failure; return the error. Raises `RateLimited` for who has failed too often."""
        address = self.address_of(scope)
        self.failures.take(address)
        audit.info("web: refused a proof from %s: %s", address, message)
        return Unauthenticated(message)

    def address_of(self, scope: Scope) -> str:
        """Return where a request comes from, for limits and logs; of what a proxy says the entrance has judged."""
        return str(scope["client"][0]) if scope["client"] else "unix"

    def _by_proxy(self, scope: Scope, headers: dict[bytes, bytes]) -> Proof | None:
        """Believe a proxy about who has logged in there. The entrance lets this header pass from trusted ones only."""
        if self._web.proxy_auth_header is None:
            return None
        name = headers.get(self._web.proxy_auth_header.lower().encode(), b"").decode("latin-1").strip()
        # A comma: there were two, and one of them may be a stranger's.
        if not name or len(name) > 128 or not name.isprintable() or "," in name:
            return None
        connection = _connection(f"proxy-{name}", scope["type"] == "websocket")
        return Proof(Caller(principal=f"proxy:{name}", connection_id=connection, scopes=SCOPES["full"]), ambient=True)

    # -- logins, codes, tickets -----------------------------------------------------------------------------

    def one_time_code(self, caller: Caller, level: Level = "full") -> str:
        """Return a code that is good once, for two minutes: a browser that shows it is logged in as `caller`."""
        return self._codes.make(Code(caller.principal, level))

    async def log_in(self, scope: Scope, proof: str, name: str) -> tuple[Grant, str]:
        """Turn a code or a key into a login. Raises `Unauthenticated`, `RateLimited`, `Conflict`."""
        code = self._codes.take(proof)
        if code is not None:
            made = await self.keys.create_login(name, code.level, code.principal, expires_in_ms=LOGIN_MS)
        else:
            key = self.keys.find(proof)
            if key is None or key.kind != "key":
                raise self.failed(scope, "this code or key is not valid, or not any more")
            made = await self.keys.create_login(
                name, key.level, key.principal, expires_in_ms=LOGIN_MS, parent_id=key.grant_id,
                session_ids=key.session_ids,
            )  # fmt: skip
        grant, address = made[0], self.address_of(scope)
        audit.info("web: %s logged in (%s) from %s", grant.principal, grant.grant_id, address)
        return made

    def ticket(self, caller: Caller, session_id: str | None, read_only: bool) -> str:
        """Return a ticket for one WebSocket, with the rights of `caller` or less. Raises `Denied`."""
        if session_id is not None:
            if caller.session_ids is not None and session_id not in caller.session_ids:
                raise Denied(f"this login is not for session {session_id!r}")
            caller = msgspec.structs.replace(caller, session_ids=(session_id,))
        if read_only:
            scopes = READ if "*" in caller.scopes else caller.scopes & READ
            caller = msgspec.structs.replace(caller, scopes=scopes)
        return self._tickets.make(caller)

    def _caller(self, grant: Grant, unique: bool) -> Caller:
        caller = caller_of(grant, unique)
        if caller.session_ids is None or SHARED not in caller.session_ids:
            return caller
        # Whichever it is now: ids are never used again, and the invitation outlives the session.
        shared = self._shared()
        ids = tuple(shared if one == SHARED else one for one in caller.session_ids if one != SHARED or shared)
        return msgspec.structs.replace(caller, session_ids=ids, scopes=caller.scopes | JOIN)

    def _use_ticket(self, scope: Scope, value: str) -> Caller:
        caller = self._tickets.take(value)
        if caller is None or (caller.grant_id is not None and self.keys.get(caller.grant_id) is None):
            raise self.failed(scope, "this ticket is not valid, or not any more")
        return msgspec.structs.replace(caller, connection_id=_connection(caller.grant_id or "ticket", True))

    # -- until when -----------------------------------------------------------------------------------------

    def watch(self, caller: Caller) -> trio.Event:
        """Return an event that is set when what the caller has shown is revoked or expires."""
        if caller.grant_id is None:
            return trio.Event()
        event = self._watched.setdefault(caller.grant_id, trio.Event())
        if self.keys.get(caller.grant_id) is None:
            event.set()
        return event

    @contextmanager
    def hold(self, caller: Caller, *, connection: bool) -> Iterator[trio.CancelScope]:
        """Run a block that is cancelled soon after the caller's key or login has ended."""
        group = set() if caller.grant_id is None else self._open.setdefault(caller.grant_id, set())
        with trio.CancelScope() as scope:
            group.add(scope)
            try:
                yield scope
            finally:
                group.discard(scope)
                if not group and caller.grant_id is not None and self._open.get(caller.grant_id) is group:
                    del self._open[caller.grant_id]
                if connection:
                    self._gone(caller.connection_id)

    def _end(self, grant_id: str) -> None:
        self._watched.pop(grant_id, trio.Event()).set()
        for scope in self._open.pop(grant_id, ()):
            scope.deadline = trio.current_time() + PARTING_SECONDS
        self._gone(_connection(grant_id, False))


def caller_of(grant: Grant, unique: bool) -> Caller:
    """Return who a grant makes of whoever shows it. `unique`: the connection is one that lasts."""
    return Caller(
        principal=grant.principal,
        connection_id=_connection(grant.grant_id, unique),
        scopes=SCOPES[grant.level],
        grant_id=grant.grant_id,
        session_ids=grant.session_ids,
    )


def cookies_of(headers: dict[bytes, bytes]) -> dict[str, str]:
    """Return the cookies of a request. Of two with a name the first counts: it has the longer path (RFC 6265)."""
    found: dict[str, str] = {}
    for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        found.setdefault(name, value)
    return found


def _connection(who: str, unique: bool) -> str:
    # Requests of one login are one connection: what it reads goes on where it left off.
    return f"web-{who}-{secrets.token_hex(4)}" if unique else f"web-{who}"
