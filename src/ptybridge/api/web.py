"""The web front: opening it, and finding out where it is."""

from typing import Final

from ptybridge.api.operation import Effect, NoParams, Params, Result, SessionId, declare
from ptybridge.errors import ConfigInvalid, Denied, Unavailable
from ptybridge.model import Level


class OpenWeb(Params):
    """Open the web front if it is not open, and return an address that logs a browser in as the caller, once.

    For the user on the socket only: whoever has the address is that user. It is good for two minutes. `level` is what
    the browser may do, as with keys; with `session_id` it shows that session first.
    """

    level: Level = "full"
    session_id: SessionId | None = None


class WebOpened(Result):
    """The address to give to a browser, and everywhere the front listens."""

    url: str
    addresses: list[str]


class WebStatus(NoParams):
    """Tell whether the web front is open, and where it listens."""


class WebState(Result):
    """`addresses` is empty while it is not open; a Unix socket begins with "unix:"."""

    open: bool
    addresses: list[str]
    base_url: str
    connections: int


OPEN: Final = declare(
    "web.open",
    OpenWeb,
    WebOpened,
    scope="web:admin",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(Denied, Unavailable, ConfigInvalid),
    http="POST /v1/web/open",
)
STATUS: Final = declare(
    "web.status", WebStatus, WebState, scope="web:read", effect=Effect.READS, since="0.1", http="GET /v1/web"
)
