"""What the gate answers itself: logging in and out, and tickets."""

import re
from typing import Final, TypeVar

import msgspec
import trio

from ptybridge.errors import InvalidParams, RequestTooLarge
from ptybridge.mistakes import misread
from ptybridge.model import Caller
from ptybridge.web.answers import answer
from ptybridge.web.auth import Authority
from ptybridge.web.context import Receive, Scope, Send

T = TypeVar("T")

MAX_BODY: Final = 4096
BODY_SECONDS: Final = 10.0


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/login`: a one-time code or a key, in either field, because people paste."""

    code: str = ""
    key: str = ""


class Ticket(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/tickets`."""

    session_id: str | None = None
    read_only: bool = False


async def log_in(
    auth: Authority, scope: Scope, headers: dict[bytes, bytes], cookie: str, secure: bool, receive: Receive, send: Send
) -> None:
    """Answer `POST /v1/login` with a cookie. Raises `Unauthenticated`, `RateLimited`."""
    asked = await _body(receive, Login)
    grant, value = await auth.log_in(scope, asked.code or asked.key, _browser(headers))
    seconds = max(0, (grant.expires_at_ms or 0) - grant.created_at_ms) // 1000
    body = {"principal": grant.principal, "level": grant.level, "expires_at_ms": grant.expires_at_ms}
    set_cookie = _cookie(cookie, value, seconds, secure)
    await answer(send, 200, msgspec.json.encode(body), headers=[(b"set-cookie", set_cookie)])


async def log_out(auth: Authority, caller: Caller | None, cookie: str, secure: bool, send: Send) -> None:
    """Answer `POST /v1/logout`: the login ends, not only the cookie. A key that was shown stays."""
    grant = None if caller is None or caller.grant_id is None else auth.keys.get(caller.grant_id)
    if grant is not None and grant.kind == "login":
        await auth.keys.revoke(grant.grant_id)
    await answer(send, 200, b"{}", headers=[(b"set-cookie", _cookie(cookie, "", 0, secure))])


async def make_ticket(auth: Authority, caller: Caller, receive: Receive, send: Send) -> None:
    """Answer `POST /v1/tickets` with a ticket that opens one WebSocket."""
    asked = await _body(receive, Ticket)
    ticket = auth.ticket(caller, asked.session_id, asked.read_only)
    body = {"ticket": ticket, "expires_in_ms": int(auth.ticket_seconds * 1000)}
    await answer(send, 200, msgspec.json.encode(body))


def _cookie(name: str, value: str, seconds: int, secure: bool) -> bytes:
    made = f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"
    return (made + "; Secure" if secure else made).encode("ascii")


def _browser(headers: dict[bytes, bytes]) -> str:
    """Return a short name for the browser, so that its login is known again in a list."""
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    found = re.search(r"(Firefox|Edg|OPR|Chromium|Chrome|Safari|curl)/\d+", agent)
    system = re.search(r"Windows|Android|iPhone|iPad|Mac OS X|Linux", agent)
    return " on ".join(one[0] for one in (found, system) if one) or "browser"


async def _body(receive: Receive, kind: type[T]) -> T:
    data = b""
    with trio.move_on_after(BODY_SECONDS) as patience:
        while True:
            message = await receive()
            data += message.get("body", b"")
            if len(data) > MAX_BODY:
                raise RequestTooLarge(f"this may have {MAX_BODY} bytes")
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
    if patience.cancelled_caught:
        raise InvalidParams("the body did not come in time")
    try:
        return msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.MsgspecError, RecursionError) as exc:
        # This names the field and never the value.
        raise InvalidParams(misread(exc, whole="the body")) from exc
