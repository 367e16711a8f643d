"""Questions put to a human: what a caller wants to do waits until somebody else allows or denies it, or nobody does.

An approval that is allowed gives its asker a confirm token, good once and for this command only. Asking the same again
while the question is open, or has been denied and not yet expired, asks no second time. The command's text is kept
until the decision, for the one who decides; afterwards only its digest.
"""

import hashlib
import logging
import secrets
from collections.abc import Callable
from typing import Final, Literal

import msgspec
import trio

from ptybridge.core.confirmations import Confirmation, Confirmations, command_text
from ptybridge.core.damage import Match
from ptybridge.core.eventlog import EventLog, now_ms
from ptybridge.core.policy import Action, Decision
from ptybridge.core.sessions import ID_ALPHABET
from ptybridge.errors import ApprovalNotFound, ConfirmationRejected, Conflict, Denied, LimitReached
from ptybridge.model import ApprovalDecided, ApprovalRequested

audit = logging.getLogger("ptybridge.audit")

ID_LENGTH: Final = 6
MAX_PENDING: Final = 100
# Decided ones are kept so that who waits, or looks, learns how it ended.
MAX_DECIDED: Final = 200
# Nobody reads more than this before answering; what stands behind it would be allowed unread.
MAX_COMMAND_CHARS: Final = 16_384
# How long the token of what was allowed is good; its asker may have to come back for it.
TOKEN_SECONDS: Final = 300.0

State = Literal["pending", "allowed", "denied", "expired"]


class Approval(msgspec.Struct, kw_only=True, eq=False):
    """One question. `command` and `justification` are emptied by the decision; `token` is there when it was allowed."""

    approval_id: str
    action: Action
    command: str
    rule: str
    matches: tuple[Match, ...]
    client_id: str | None
    connection_id: str | None
    session_id: str | None
    asked_at_ms: int
    expires_at_ms: int
    deadline: float
    digest: bytes
    asked: bytes
    justification: str | None = None
    state: State = "pending"
    reason: str | None = None
    decided_by: str | None = None
    decided_at_ms: int | None = None
    token: Confirmation | None = None
    fetched: bool = False
    decided: trio.Event = msgspec.field(default_factory=trio.Event)


class Approvals:
    """All questions of a daemon; they end with it. `ttl`: for how many seconds one stays open."""

    def __init__(
        self,
        events: Callable[[], EventLog],
        confirmations: Confirmations,
        *,
        ttl: float,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._events = events
        self._confirmations = confirmations
        self._ttl = ttl
        self._clock = clock
        self._by_id: dict[str, Approval] = {}

    def request(
        self,
        action: Action,
        decision: Decision,
        *,
        client_id: str | None = None,
        connection_id: str | None = None,
        session_id: str | None = None,
        justification: str | None = None,
    ) -> Approval:
        """Ask whether `action` may be done; return the question, which may be an earlier one about the same.

        A later `justification` is added. Raises `LimitReached` while too many are open, and `Denied` for a command
        too long for anybody to read.
        """
        self._expire()
        command = command_text(action.command)
        digest = _digest(action, command, session_id)
        same = next((one for one in self._by_id.values() if one.digest == digest and self._holds(one)), None)
        if same is not None:
            self._justify(same, justification)
            return same
        if len(command) > MAX_COMMAND_CHARS:
            raise Denied(
                f"nobody can be asked about a command of {len(command)} characters; {MAX_COMMAND_CHARS} are possible",
                hint="put the steps into several commands",
            )
        if len(self.pending()) >= MAX_PENDING:
            raise LimitReached(
                f"{MAX_PENDING} approvals are waiting for an answer", hint="`ptybridge approvals` shows them"
            )
        asked = now_ms()
        one = Approval(
            approval_id=self._new_id(),
            action=msgspec.structs.replace(action, command=""),
            command=command,
            rule=decision.rule,
            matches=decision.matches,
            client_id=client_id,
            connection_id=connection_id,
            session_id=session_id,
            asked_at_ms=asked,
            expires_at_ms=asked + int(self._ttl * 1000),
            deadline=self._clock() + self._ttl,
            digest=digest,
            asked=_asked(action, command),
        )
        self._by_id[one.approval_id] = one
        self._justify(one, justification)
        self._tell(one)
        return one

    def find(self, action: Action, justification: str | None = None) -> Approval | None:
        """Return the newest question of this asker about this command, wherever it would run, if it still holds."""
        self._expire()
        asked = _asked(action, command_text(action.command))
        same = next((one for one in reversed(self._by_id.values()) if one.asked == asked and self._holds(one)), None)
        if same is not None:
            self._justify(same, justification)
        return same

    def pending(self) -> list[Approval]:
        """Return the open questions, oldest first."""
        self._expire()
        return [one for one in self._by_id.values() if one.state == "pending"]

    def all(self) -> list[Approval]:
        """Return the questions, oldest first, the last decided ones among them."""
        self._expire()
        return list(self._by_id.values())

    def get(self, approval_id: str) -> Approval:
        """Return one question. Raises `ApprovalNotFound`."""
        self._expire()
        one = self._by_id.get(approval_id)
        if one is None:
            raise ApprovalNotFound(f"there is no approval {approval_id[:64]!r}")
        return one

    def decide(self, approval_id: str, *, allow: bool, by: str, reason: str | None = None) -> Approval:
        """Answer a question. Raises `Conflict` when it was answered, or has expired."""
        one = self.get(approval_id)
        if one.state != "pending":
            raise Conflict(f"approval {approval_id} is {one.state} already")
        if allow:
            one.token = self._confirmations.issue(
                one.command,
                reason or "allowed by a human",
                principal=one.action.principal,
                ttl=TOKEN_SECONDS,
                owner=one.action.owner,
                access=one.action.access,
            )
        self._end(one, "allowed" if allow else "denied", by, reason)
        return one

    async def wait(self, approval_id: str, within: float) -> Approval:
        """Wait up to `within` seconds for the answer; return the question, maybe still pending. A checkpoint.

        Raises `ApprovalNotFound`.
        """
        one = self.get(approval_id)
        with trio.move_on_after(max(0.0, min(within, one.deadline - self._clock()))):
            await one.decided.wait()
        self._expire()
        return one

    def fetch(self, one: Approval) -> Confirmation | None:
        """Hand out the token of what was allowed, to whoever asked; the same question may then be asked anew."""
        if one.token is not None:
            one.fetched = True
        return one.token

    def redeem(self, token: str, action: Action, session_id: str | None) -> None:
        """Use a token up. Raises `ConfirmationRejected`, also where it would run in another place than asked for."""
        one = next((one for one in self._by_id.values() if one.token is not None and one.token.token == token), None)
        if one is None:
            raise ConfirmationRejected("the confirm token does not fit: no approval has given it", reason="unknown")
        asked, wanted = one.action, action
        if (asked.owner, asked.access) != (wanted.owner, wanted.access):
            raise ConfirmationRejected(
                "the confirm token does not fit: it was allowed for another owner or access level",
                reason="owner" if asked.owner != wanted.owner else "access",
            )
        if (asked.cwd, one.session_id) != (wanted.cwd, session_id):
            where = f"the directory {one.action.cwd or 'the daemon chooses'}"
            where = f"session {one.session_id}, {where}" if one.session_id else where
            raise ConfirmationRejected(f"the confirm token does not fit: it was allowed in {where}", reason="place")
        self._confirmations.redeem(
            token, action.command, principal=action.principal, owner=action.owner, access=action.access
        )
        one.fetched = True

    # -- inside ---------------------------------------------------------------------------------------------

    def _holds(self, one: Approval) -> bool:
        """Tell whether an earlier question answers for the same one asked again."""
        return one.state == "pending" or (
            self._clock() < one.deadline and (one.state == "denied" or (one.state == "allowed" and not one.fetched))
        )

    def _justify(self, one: Approval, justification: str | None) -> None:
        if justification and one.state == "pending":
            one.justification = justification

    def _expire(self) -> None:
        for one in list(self._by_id.values()):
            if one.state == "pending" and one.deadline <= self._clock():
                self._end(one, "expired", None, None)

    def _end(self, one: Approval, state: State, by: str | None, reason: str | None) -> None:
        one.state, one.decided_by, one.reason, one.decided_at_ms = state, by, reason, now_ms()
        one.command, one.justification = "", None
        one.decided.set()
        self._tell(one)
        decided = [each for each in self._by_id.values() if each.state != "pending"]
        for old in decided[: max(0, len(decided) - MAX_DECIDED)]:
            del self._by_id[old.approval_id]

    def _tell(self, one: Approval) -> None:
        """Publish and log what has become of a question; the command itself is told to nobody who did not ask."""
        facts = {"approval_id": one.approval_id, "principal": one.action.principal, "client_id": one.client_id}
        if one.state == "pending":
            self._events().publish(
                ApprovalRequested,
                one.session_id,
                operation=one.action.operation,
                rule=one.rule,
                matches=[match.rule for match in one.matches],
                expires_at_ms=one.expires_at_ms,
                **facts,
            )
        else:
            self._events().publish(
                ApprovalDecided,
                one.session_id,
                verdict=one.state,
                decided_by=one.decided_by,
                reason=one.reason,
                **facts,
            )
        audit.info(
            "approval %s of %s for %s: %s, rule %r (%s), by %s",
            one.approval_id, one.action.operation, one.action.principal, one.state, one.rule,
            " ".join(match.rule for match in one.matches) or "-", one.decided_by or "-",
        )  # fmt: skip

    def _new_id(self) -> str:
        while True:
            approval_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
            if approval_id not in self._by_id:
                return approval_id


def _digest(action: Action, command: str, session_id: str | None) -> bytes:
    """Return what makes two questions the same: who wants to run what, for whom and where."""
    return _hash(_asked(action, command), action.owner, action.access, action.cwd, session_id)


def _asked(action: Action, command: str) -> bytes:
    """Return what two questions about the same command have in common."""
    return _hash(command, action.principal, action.profile)


def _hash(*parts: object) -> bytes:
    # The command itself is forgotten with the decision.
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
