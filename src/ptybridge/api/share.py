"""The shared session: one program for everybody who has a link to it, which `ptybridge serve --public` names."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.key import KeyInfo, KeyName
from ptybridge.api.operation import Effect, NoParams, Params, Result, declare
from ptybridge.api.session import SPAWN_ERRORS
from ptybridge.errors import Conflict, LimitReached, NameTaken, Unavailable
from ptybridge.model import Backend


class JoinShare(NoParams):
    """Lead to the shared session; the first to come starts it, and it ends when all have been gone for a while."""


class Joined(Result):
    """Where it is. `started`: this call has. `clients`: how many others are on it."""

    session_id: str
    started: bool
    clients: int
    max_clients: int | None = None
    backend: Backend = "pty"


class LinkShare(Params):
    """Make a link for visitors of the shared session; they see and write to that, and nothing else.

    Whoever has the link gets in, as often as they like, until it expires or its key is revoked. `read_only`: they only
    watch; always so when the whole session is served so.
    """

    name: KeyName = "visitor"
    read_only: bool = False
    expires_in_ms: Annotated[int, msgspec.Meta(ge=1000, le=366 * 24 * 3600 * 1000)] = 24 * 3600 * 1000


class ShareLink(Result):
    """The address to give to visitors. The key is behind the `#`, which browsers keep to themselves."""

    url: str
    key: KeyInfo


class ShareStatus(NoParams):
    """Tell what this daemon serves to the web: its program, and how the shared session of it stands."""


class ShareState(Result):
    """`command` is what a session without one runs over the web; null for the user's shell.

    `public`: there is a shared session of it, running as `session_id` while somebody is there.
    """

    command: str | None
    cwd: str | None
    public: bool
    read_only: bool
    once: bool
    session_id: str | None
    clients: int
    max_clients: int | None


JOIN: Final = declare(
    "share.join",
    JoinShare,
    Joined,
    scope="share:create",
    effect=Effect.MUTATES,
    errors=SPAWN_ERRORS,
    since="0.1",
    http="POST /v1/share/join",
)
LINK: Final = declare(
    "share.link",
    LinkShare,
    ShareLink,
    scope="share:admin",
    effect=Effect.MUTATES,
    errors=(NameTaken, LimitReached, Conflict, Unavailable),
    since="0.1",
    http="POST /v1/share/links",
)
STATUS: Final = declare(
    "share.status", ShareStatus, ShareState, scope="share:read", effect=Effect.READS, since="0.1", http="GET /v1/share"
)
