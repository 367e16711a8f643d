"""Operations on secrets: a program asks for one, and a human types it without whoever started the program seeing it."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import ClientId, Done, Effect, NoParams, Params, Result, SessionId, declare
from ptybridge.errors import (
    Denied,
    EchoOn,
    InputClosed,
    LeaseHeld,
    LimitReached,
    SecretNotFound,
    SessionExited,
    SessionNotFound,
)
from ptybridge.model import Milliseconds

Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
RequestId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
# A terminal in line mode takes lines of up to 4095 bytes.
Value = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


class PendingSecret(Result):
    """A request that waits for its answer. `echo` tells whether the terminal would show what is typed now."""

    request_id: str
    session_id: str
    session_name: str | None
    command: list[str]
    prompt: str
    asked_by: str
    created_at_ms: int
    echo: bool


class RequestSecret(Params):
    """Let a human type a secret into a session, and wait until that is done.

    The value never passes through the caller. `prompt` tells the human what is asked for. With `enter` (default) a
    carriage return follows the value. A request whose caller goes away is withdrawn.
    """

    session_id: SessionId
    prompt: Prompt
    timeout_ms: Milliseconds = 300_000
    enter: bool = True
    client_id: ClientId | None = None


class SecretResult(Result):
    """Why the wait ended, and how many bytes the session was sent.

    `redacted`: the value is taken out of what AI agents get to see and of logs. Values of less than 4 bytes are not.
    """

    reason: Literal["provided", "denied", "timeout", "exited"]
    accepted_bytes: int = 0
    redacted: bool = False


class ListSecrets(NoParams):
    """List the requests for secrets that wait for an answer, oldest first."""


class PendingSecrets(Result):
    """Requests, oldest first."""

    requests: list[PendingSecret]


class ProvideSecret(Params):
    """Answer a request: the value is typed into its session. Not for AI agents.

    While the terminal shows what is typed this is refused and the request goes on waiting, unless `allow_echo` is set.
    """

    request_id: RequestId
    value: Value
    allow_echo: bool = False


class DenySecret(Params):
    """Refuse a request. Not for AI agents."""

    request_id: RequestId


REQUEST: Final = declare(
    "secret.request",
    RequestSecret,
    SecretResult,
    scope="secret:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(SessionNotFound, SessionExited, Denied, LeaseHeld, LimitReached),
    http="POST /v1/sessions/{session_id}/secrets",
)
LIST: Final = declare(
    "secret.list",
    ListSecrets,
    PendingSecrets,
    scope="secret:read",
    effect=Effect.READS,
    since="0.1",
    http="GET /v1/secrets",
)
PROVIDE: Final = declare(
    "secret.provide",
    ProvideSecret,
    SecretResult,
    scope="secret:admin",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(SecretNotFound, EchoOn, Denied, InputClosed),
    http="POST /v1/secrets/{request_id}",
)
DENY: Final = declare(
    "secret.deny",
    DenySecret,
    Done,
    scope="secret:admin",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(SecretNotFound, Denied),
    http="DELETE /v1/secrets/{request_id}",
)
