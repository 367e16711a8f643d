"""Operations on the policy: what its rules say of an action."""

from typing import Annotated, Final

import msgspec

from ptybridge.api.operation import Effect, Params, Result, declare
from ptybridge.config import Verdict
from ptybridge.errors import Denied
from ptybridge.model import Access

Command = str | Annotated[list[str], msgspec.Meta(min_length=1)]


class DangerMatch(Result):
    """One thing that is dangerous about a command: a short `rule`, and the `reason` in plain words."""

    rule: str
    reason: str


class Check(Params):
    """Tell what the rules say of a command, without running it or asking anybody.

    `command` is a text for a shell, or an argv. `as_profile`: judge as for this kind of client, "mcp" for an AI agent,
    "" for people and scripts; by default as for the caller.
    """

    command: Command
    operation: Annotated[str, msgspec.Meta(max_length=64)] = "session.create"
    cwd: str | None = None
    owner: str | None = None
    access: Access | None = None
    as_profile: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class Checked(Result):
    """The verdict, the rule that has given it, and what is dangerous about the command."""

    verdict: Verdict
    rule: str
    matches: list[DangerMatch]


class Confirm(Params):
    """Confirm a dangerous command: get the token with which it may be run once, as `confirm_token` of the call.

    The token is good for this command (for input: for the whole line that Enter would run), for `owner` and `access`
    if they are given, for this principal, and until it expires. `justification` says why the command must run; without
    it there is no token, only what is dangerous. Neither is kept or logged.
    """

    command: Command
    justification: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    operation: Annotated[str, msgspec.Meta(max_length=64)] = "session.create"
    cwd: str | None = None
    owner: str | None = None
    access: Access | None = None


class Confirmed(Result):
    """What the rules say and, if that is "ask", the token, until when it is good, and what is dangerous.

    Where the configuration lets a human decide (`policy.confirm`), there is no token but an `approval_id`: who waits
    with `approval.wait` gets it from there once it is allowed. `expires_at_ms` is the token's.
    """

    verdict: Verdict
    rule: str
    matches: list[DangerMatch]
    confirm_token: str | None
    expires_at_ms: int | None
    approval_id: str | None = None


CHECK: Final = declare(
    "policy.check",
    Check,
    Checked,
    scope="policy:read",
    effect=Effect.READS,
    since="0.1",
    http="POST /v1/policy/check",
)
CONFIRM: Final = declare(
    "policy.confirm",
    Confirm,
    Confirmed,
    scope="policy:write",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(Denied,),
    http="POST /v1/policy/confirm",
)
