"""The page that a program draws: it answers requests for HTML, one JSON line for each on its standard input."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.operation import ClientId, Effect, Params, Result, SessionId, declare
from ptybridge.errors import Denied, LeaseHeld, SessionExited, SessionNotFound, Unavailable

# A terminal in line mode takes 4095 bytes; what is asked for has to fit beside the rest of the request.
PagePath = Annotated[str, msgspec.Meta(max_length=1000)]


class RequestPage(Params):
    """Ask the program for a page: it gets one line of JSON, and answers with one on its standard output.

    The request is `{"ptybridge": "request", "id", "path", "query"}`, the answer `{"ptybridge": "answer", "id", "body"}`
    and, if it likes, `head`, `status` and `refresh_ms`. Requests of one session follow each other; `timeout_ms`
    counts from the call on. See docs/pages.md.
    """

    session_id: SessionId
    path: PagePath = ""
    query: PagePath = ""
    timeout_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 10_000
    client_id: ClientId | None = None


class Page(Result):
    """What the program wants shown: what is inside a document's head and body. `refresh_ms`: ask again after this."""

    body: str
    head: str = ""
    status: int = 200
    refresh_ms: int | None = None


REQUEST: Final = declare(
    "app.request",
    RequestPage,
    Page,
    scope="app:write",
    effect=Effect.MUTATES,
    errors=(SessionNotFound, SessionExited, Denied, LeaseHeld, Unavailable),
    since="0.1",
    http="POST /v1/sessions/{session_id}/app",
)
