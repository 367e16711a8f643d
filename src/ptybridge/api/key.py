"""Operations on keys and logins: what lets scripts and browsers in where no socket says who they are."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.operation import Effect, NoParams, Params, Result, SessionId, declare
from ptybridge.errors import Conflict, KeyNotFound, LimitReached, NameTaken
from ptybridge.model import Grant, Level

KeyName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$", description="a key's name")]
WhichKey = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="the id of a key or login, or a name")]

# What a level lets its holder do. `admin` is everything; what stands in neither is for admins and for the user at the
# socket. A test compares this with the contract, so that a new scope has to be put somewhere.
READ: Final = frozenset(
    {
        "session:read", "command:read", "event:read", "lease:read", "node:read",
        "approval:read", "policy:read", "secret:read", "web:read", "share:read",
    }
)  # fmt: skip
WRITE: Final = READ | {"session:write", "app:write"}
# What an invitation to the shared session lets do beside its level.
JOIN: Final = frozenset({"share:create"})
FULL: Final = WRITE | JOIN | {
    "session:create", "session:control", "session:admin", "command:write", "exec:create",
    "file:read", "file:write", "lease:write", "mcp:write", "policy:write", "approval:control", "secret:write",
}  # fmt: skip
ADMIN_ONLY: Final = frozenset({"node:admin", "key:read", "key:admin", "secret:admin", "web:admin", "share:admin"})
SCOPES: Final[dict[Level, frozenset[str]]] = {
    "read": READ, "write": WRITE, "full": FULL, "admin": frozenset({"*"}),
}  # fmt: skip


class KeyInfo(Result):
    """A key or a login, without its secret. `parent_id`: the key a login was made with."""

    key_id: str
    kind: str
    name: str
    level: Level
    principal: str
    created_at_ms: int
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None
    parent_id: str | None = None
    session_ids: list[str] | None = None


class CreateKey(Params):
    """Make a key for a script or another person; its value is in the answer, once, and cannot be asked for again.

    `level`: "read" sees sessions; "write" also types into them; "full" (default) also makes and controls them, and
    reads and writes files within the roots; "admin" may do what the user may, keys and the daemon itself included.
    With `session_ids` it sees and does nothing but these sessions. `expires_in_ms`: by default it is good until it is
    revoked.
    """

    name: KeyName
    level: Level = "full"
    expires_in_ms: Annotated[int, msgspec.Meta(ge=1000, le=2**53)] | None = None
    session_ids: Annotated[list[SessionId], msgspec.Meta(min_length=1, max_length=100)] | None = None


class CreatedKey(Result):
    """The key, and its value."""

    key: KeyInfo
    value: str


class ListKeys(NoParams):
    """List keys and logins, oldest first."""


class Keys(Result):
    """Keys and logins."""

    keys: list[KeyInfo]


class RevokeKey(Params):
    """End a key or a login, given by its id or a key's name.

    What is open with it closes within a second, and logins that were made with it end, too.
    """

    key_id: WhichKey


class RevokedKeys(Result):
    """What has ended."""

    keys: list[KeyInfo]


def described(grant: Grant) -> KeyInfo:
    """Show a grant."""
    return KeyInfo(
        key_id=grant.grant_id,
        kind=grant.kind,
        name=grant.name,
        level=grant.level,
        principal=grant.principal,
        created_at_ms=grant.created_at_ms,
        expires_at_ms=grant.expires_at_ms,
        last_used_at_ms=grant.last_used_at_ms,
        parent_id=grant.parent_id,
        session_ids=None if grant.session_ids is None else list(grant.session_ids),
    )


CREATE: Final = declare(
    "key.create",
    CreateKey,
    CreatedKey,
    scope="key:admin",
    effect=Effect.MUTATES,
    errors=(NameTaken, LimitReached, Conflict),
    since="0.1",
    http="POST /v1/keys",
)
LIST: Final = declare(
    "key.list", ListKeys, Keys, scope="key:read", effect=Effect.READS, since="0.1", http="GET /v1/keys"
)
REVOKE: Final = declare(
    "key.revoke",
    RevokeKey,
    RevokedKeys,
    scope="key:admin",
    effect=Effect.DESTROYS,
    errors=(KeyNotFound, Conflict),
    since="0.1",
    http="DELETE /v1/keys/{key_id}",
)
