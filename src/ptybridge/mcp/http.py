"""MCP over streamable HTTP, at the web front's `/mcp`: who asks, which session that is, and how long it lives.

How it works: the web front's gate has checked host, origin and key, and says who the caller is; nobody else gets
here. The session id that MCP gives out only tells one of a caller's sessions from another: shown with another key it
is as good as unknown. A session is opened by an operation like any other (`mcp.open`), so scopes, policy and audit
hold; what is open ends with the key. Versions from 2026-07-28 on have no sessions: all requests with one key and one
address are one client then.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import trio
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from ptybridge.api import mcp as api
from ptybridge.api.endpoint import Endpoint
from ptybridge.errors import InvalidParams, LimitReached, PtybridgeError, Unauthenticated
from ptybridge.mcp.asgi import Message, Receive, Scope, Send
from ptybridge.mcp.http_session import HttpSession
from ptybridge.mcp.settings import PREFIXES, Settings
from ptybridge.mistakes import told
from ptybridge.model import Caller

Hold = Callable[[Caller], AbstractContextManager[object]]
Who = tuple[str, str | None]

SESSION_ID: Final = b"mcp-session-id"
VERSION: Final = b"mcp-protocol-version"
# Without a request or an open stream; the client is told and begins anew, its terminals' sessions live on.
IDLE_SECONDS: Final = 30 * 60.0
MAX_SESSIONS: Final = 64  # of one key
BODY_SECONDS: Final = 30.0
# JSON-RPC's "invalid request", with which the SDK answers for a session it does not know.
INVALID_REQUEST: Final = -32600
# What a key's holder does not decide: paths on this machine, and how much caution there is.
_OURS: Final = frozenset(
    {
        "session_log_dir", "tmux_capture_dir", "state_dir", "enable_admin_tools", "dangerous_legacy_mode",
        "dangerous_patterns", "dangerous_confirm_ttl_sec", "log", "log_format",
    }
)  # fmt: skip
SETTINGS: Final = tuple(name for name in Settings.__struct_fields__ if name not in _OURS)


class HttpFront:
    """All MCP sessions over HTTP. `hold` runs a block until the caller's key or login ends."""

    def __init__(self, endpoint: Endpoint, hold: Hold, nursery: trio.Nursery) -> None:
        self.idle_seconds = IDLE_SECONDS
        self._endpoint = endpoint
        self._hold = hold
        self._nursery = nursery
        self._with_id: dict[bytes, tuple[Who, HttpSession]] = {}
        self._without_id: dict[tuple[Who, bytes], HttpSession] = {}
        self._live: dict[HttpSession, Who] = {}
        self._opening = trio.Lock()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises `PtybridgeError` before anything is answered."""
        caller = scope["state"].get("caller")
        if not isinstance(caller, Caller):
            raise Unauthenticated("MCP needs a key", hint="`ptybridge key new NAME` makes one; send it as a bearer")
        who = (caller.principal, caller.grant_id)
        receive = _in_time(receive)
        version = _header(scope, VERSION)
        if version is not None and version.decode("latin-1") not in HANDSHAKE_PROTOCOL_VERSIONS:
            await (await self._shared(caller, who, scope)).serve(scope, receive, send)
            return
        session_id = _header(scope, SESSION_ID)
        if session_id is not None:
            owner, session = self._with_id.get(session_id, (None, None))
            # Somebody else's is not told from none at all.
            if session is None or owner != who or session.ended:
                await _refuse(send, 404, "Session not found")
            else:
                await self._continue(session, scope, receive, send)
        elif scope["method"] == "POST":
            await self._begin(caller, who, scope, receive, send)
        else:
            await _refuse(send, 400, "Bad Request: Missing session ID")

    # -- sessions -------------------------------------------------------------------------------------------

    async def _begin(self, caller: Caller, who: Who, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the first request of a session, which gets its id by the answer; a refusal leaves none behind."""
        session = await self._open(caller, who, _params(scope, None))
        kept = False

        async def noticed(message: Message) -> None:
            nonlocal kept
            if message["type"] == "http.response.start" and message["status"] < 400:
                session_id = dict(message["headers"]).get(SESSION_ID)
                if session_id is not None:
                    self._with_id[session_id] = (who, session)
                    kept = True
            await send(message)

        try:
            await session.serve(scope, receive, noticed)
        finally:
            if not kept:
                session.end()

    async def _continue(self, session: HttpSession, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def noticed(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await session.serve(scope, receive, noticed)
        if scope["method"] == "DELETE" and status < 400:
            session.end()

    async def _shared(self, caller: Caller, who: Who, scope: Scope) -> HttpSession:
        """Return what serves the requests of a client that has no session."""
        key = (who, scope.get("query_string", b""))
        async with self._opening:
            found = self._without_id.get(key)
            if found is None or found.ended:
                # The same whenever it comes back, as nothing else tells it from others with this key.
                owner = f"agent-{caller.grant_id or caller.principal.replace(':', '-')}"[:128]
                found = self._without_id[key] = await self._open(caller, who, _params(scope, owner))
        return found

    async def _open(self, caller: Caller, who: Who, params: api.Open) -> HttpSession:
        """Open a session. Raises `PtybridgeError`."""
        if sum(1 for one in self._live.values() if one == who) >= MAX_SESSIONS:
            raise LimitReached(f"this key has {MAX_SESSIONS} MCP sessions open", hint="end one (DELETE), or wait")
        session = HttpSession(self.idle_seconds)
        unique = msgspec.structs.replace(caller, connection_id=f"mcp-http-{secrets.token_hex(8)}")
        await self._nursery.start(self._run, session, who, unique, msgspec.Raw(msgspec.json.encode(params)))
        return session

    async def _run(
        self,
        session: HttpSession,
        who: Who,
        caller: Caller,
        params: msgspec.Raw,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        ready, problem = False, None
        self._live[session] = who
        try:
            async with trio.open_nursery() as nursery:

                async def tell() -> None:
                    nonlocal ready
                    await session.wait_ready()
                    ready = True
                    task_status.started()

                nursery.start_soon(tell)
                with self._hold(caller):
                    problem = await self._speak(caller, params, session)
                nursery.cancel_scope.cancel()
        finally:
            session.ended = True
            del self._live[session]
            self._with_id = {key: one for key, one in self._with_id.items() if one[1] is not session}
            self._without_id = {key: one for key, one in self._without_id.items() if one is not session}
        if not ready:
            raise problem or Unauthenticated("what was shown is not valid any more")

    async def _speak(self, caller: Caller, params: msgspec.Raw, session: HttpSession) -> PtybridgeError | None:
        """Run the operation; return what it was refused with. The dispatcher has logged what is a defect."""
        try:
            await self._endpoint.open(caller, api.OPEN.name, params, session)
        except PtybridgeError as exc:
            return exc
        except trio.BrokenResourceError:
            pass
        return None


def _params(scope: Scope, owner: str | None) -> api.Open:
    """Return what the address says: `tools`, `owner`, and settings by their names. Raises `InvalidParams`."""
    try:
        text = scope.get("query_string", b"").decode("ascii")
        given = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
    except ValueError:
        raise InvalidParams("the address's query is not name=value&name=value") from None
    tools, owner = given.pop("tools", "all"), given.pop("owner", owner)
    if tools not in {"core", "agent", "all"}:
        raise InvalidParams(f"tools={tools[:40]} is not known", hint="tools is core, agent or all")
    if unknown := sorted(set(given) - set(SETTINGS)):
        raise InvalidParams(
            f"{unknown[0][:40]!r} cannot be set in the address", hint=f"it takes tools, owner, {', '.join(SETTINGS)}"
        )
    settings = {PREFIXES[0] + name.upper(): value for name, value in given.items()}
    made = {"cwd": os.path.expanduser("~"), "settings": settings, "tools": tools, "default_owner": owner}
    try:
        return msgspec.convert(made, api.Open)
    except msgspec.ValidationError as exc:
        raise InvalidParams(told(exc)) from exc


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for one, value in scope["headers"] if one.lower() == name), None)


def _in_time(receive: Receive) -> Receive:
    """Give the body its time, and take who is slower for gone; what comes behind the body may take any time."""
    deadline = trio.current_time() + BODY_SECONDS
    whole = False

    async def bounded() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        with trio.move_on_at(deadline):
            message = await receive()
            whole = not message.get("more_body", False)
            return message
        return {"type": "http.disconnect"}

    return bounded


async def _refuse(send: Send, status: int, text: str) -> None:
    """Answer in the form that MCP's clients look for."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": INVALID_REQUEST, "message": text}}
    body = msgspec.json.encode(error)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
