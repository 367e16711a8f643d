"""Operations on approvals: questions about what callers want to do, for a human to answer."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import Effect, Params, Result, declare
from ptybridge.api.policy import DangerMatch
from ptybridge.errors import ApprovalNotFound, Conflict, Denied
from ptybridge.model import Milliseconds

ApprovalId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="id of an approval")]
State = Literal["pending", "allowed", "denied", "expired"]


class ApprovalInfo(Result):
    """One question: who wants to do what, since when, and how it ended.

    `command` is the text, and `justification` what the asker says for it, while the question is open and for people
    only: null for AI agents and after the decision.
    `session_id` is the session whose input it would be. `reason` is what was said with the decision.
    `decidable`: it is open and the caller may answer it.
    """

    approval_id: str
    state: State
    operation: str
    command: str | None
    justification: str | None
    rule: str
    matches: list[DangerMatch]
    principal: str
    profile: str | None
    client_id: str | None
    session_id: str | None
    owner: str | None
    cwd: str | None
    asked_at_ms: int
    expires_at_ms: int
    decided_at_ms: int | None
    decided_by: str | None
    reason: str | None
    decidable: bool = False


class ListApprovals(Params):
    """List the questions that wait for an answer, oldest first; `all`: with those decided lately.

    An AI agent sees those asked on its own connection, without the commands.
    """

    all: bool = False


class ApprovalList(Result):
    """The questions."""

    approvals: list[ApprovalInfo]


class Decide(Params):
    """Allow or deny what somebody asked for; `reason` is told to the one who asked.

    For a human: refused to AI agents, to what runs in an agent's session, and to the connection that asked.
    """

    approval_id: ApprovalId
    allow: bool
    reason: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class WaitApproval(Params):
    """Wait until a question is answered, at most `timeout_ms`; 0 tells how it stands."""

    approval_id: ApprovalId
    timeout_ms: Milliseconds = 60_000


class ApprovalAnswer(Result):
    """Why the wait ended: the answer, `expired` when nobody gave one, or `timeout` when there is none yet.

    `confirm_token` is there for the asker of what was allowed: good once, for the same command, owner, access level and
    place (directory, or session for input), until `token_expires_at_ms`. `message` is what was said with the decision.
    """

    approval_id: str
    reason: Literal["allowed", "denied", "expired", "timeout"]
    message: str | None
    decided_by: str | None
    confirm_token: str | None
    token_expires_at_ms: int | None


LIST: Final = declare(
    "approval.list",
    ListApprovals,
    ApprovalList,
    scope="approval:read",
    effect=Effect.READS,
    since="0.1",
    http="GET /v1/approvals",
)
DECIDE: Final = declare(
    "approval.decide",
    Decide,
    ApprovalInfo,
    scope="approval:control",
    effect=Effect.MUTATES,
    since="0.1",
    errors=(ApprovalNotFound, Conflict, Denied),
    http="POST /v1/approvals/{approval_id}",
)
WAIT: Final = declare(
    "approval.wait",
    WaitApproval,
    ApprovalAnswer,
    scope="approval:read",
    effect=Effect.READS,
    since="0.1",
    errors=(ApprovalNotFound, Denied),
    http="GET /v1/approvals/{approval_id}/wait",
)
