"""Asks the policy before a program starts and before a shell gets to run what an agent types; stops what must wait.

It is a seat belt, not a sandbox: it keeps a client that means well from an accident. See docs/policy.md for what it
cannot see. Everything it decides goes to the audit log, without the command.
"""

import logging
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec

from ptybridge.api import session as api
from ptybridge.core import shellreader, typed_lines
from ptybridge.core.approvals import Approval, Approvals
from ptybridge.core.confirmations import Confirmation, Confirmations, Mode, command_text, digest
from ptybridge.core.damage import Match
from ptybridge.core.dangerous import UNJUDGED
from ptybridge.core.matching import finder
from ptybridge.core.policy import Action, Decision, Policy
from ptybridge.core.session import Session
from ptybridge.core.shellparse import unfinished
from ptybridge.errors import ConfirmationRequired, Denied, InvalidParams
from ptybridge.model import Access, Caller

audit = logging.getLogger("ptybridge.audit")

# A longer command is not repeated in the hint.
SHOWN: Final = 500
MAX_ASKED: Final = 256
PATTERN: Final = "pattern"
NO_SESSION: Final = "-"


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A dangerous action that was confirmed: by which rule it was asked about, what is dangerous, and how confirmed."""

    rule: str
    matches: tuple[Match, ...]
    mode: Mode


class _Typed(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has typed in a session, and how far others had come then."""

    state: typed_lines.State
    enters: int
    interrupted_at: float
    prompt: int


class Guard:
    """One daemon's guard. What is typed is remembered as long as its session."""

    def __init__(self, policy: Policy, confirmations: Confirmations, approvals: Approvals | None = None) -> None:
        """With `approvals` a human decides what is asked about; without, who wants it confirms it itself."""
        self._policy = policy
        self._approvals = approvals
        self._confirmations = confirmations
        # What was refused lately, so that its confirmation need not be judged where it would run.
        self._asked: dict[tuple[str, bytes], Decision] = {}
        self._typed: WeakKeyDictionary[Session, _Typed] = WeakKeyDictionary()

    # -- programs -------------------------------------------------------------------------------------------

    def check_spawn(
        self,
        caller: Caller,
        command: str | Sequence[str] | None,
        *,
        operation: str,
        owner: str | None,
        access: Access | None,
        cwd: str | None = None,
        home: str | None = None,
        given: bytes | None = None,
        token: str | None = None,
    ) -> Passed | None:
        """Judge a command that is to be started, and what it is `given` as input if that is a shell's.

        Raises `Denied`, `ConfirmationRequired` or `ConfirmationRejected`. Returns how it was confirmed if it had to be.
        """
        action = Action(
            operation=operation,
            command=command or "",
            kind="spawn",
            principal=caller.principal,
            profile=caller.profile,
            owner=owner,
            access=access,
            cwd=cwd,
            home=home,
        )
        scripts = [action]
        if given and _reads_commands(command):
            scripts.append(msgspec.structs.replace(action, command=given.decode("utf-8", "replace")))
        return self._decide(caller, scripts, token, NO_SESSION)

    def spawn_facts(self, caller: Caller, params: api.Create, passed: Passed | None) -> dict[str, Any]:
        """Return what a session's log says of how its command was judged, in pty-mcp's words; never the reason given.

        `passed` is what `check_spawn` has returned.
        """
        found = passed.matches if passed is not None else self._matches(caller, params)
        return {
            "dangerous": bool(found),
            "dangerous_matches": list(dict.fromkeys(one.rule for one in found)),
            "confirmation_mode": "none" if passed is None else passed.mode,
            "dangerous_confirm_token_present": params.confirm_token is not None,
            "dangerous_justification_present": caller.caution.justified,
        }

    def _matches(self, caller: Caller, params: api.Create) -> tuple[Match, ...]:
        action = Action(
            operation=api.CREATE.name,
            command=params.command or "",
            kind="spawn",
            profile=caller.profile,
            owner=params.owner,
            cwd=params.cwd,
            home=home_of(params.env, params.caller_env),
        )
        return self._policy.decide(cautious(caller, action), explain=True).matches

    # -- input ----------------------------------------------------------------------------------------------

    def check_command(self, caller: Caller, session: Session, text: str, *, token: str | None = None) -> Passed | None:
        """Judge a command that a session's shell is to run. Raises as `check_spawn`."""
        cwd = session.commands.cwd
        if cwd is None and (reader := shellreader.reader_of(session)) is not None:
            cwd = reader.cwd
        action = self._input(caller, session, "command.run", text, cwd)
        return self._decide(caller, [action], token, session.session_id)

    async def write(
        self,
        caller: Caller,
        session: Session,
        operation: str,
        make: Callable[[], Awaitable[bytes]],
        *,
        token: str | None = None,
        eof: bool = False,
    ) -> int:
        """Send what `make` returns, once it is judged; return how many bytes were accepted.

        Judged is what a shell would get to run, by clients with a profile. Raises as `check_spawn`; then nothing of it
        was sent. People's keys are not looked at.
        """
        if caller.profile is None:
            return await session.input.write_made(make, eof=eof)
        after: typed_lines.State | None = None

        async def judged() -> bytes:
            nonlocal after
            data = await make()
            await session.follower.catch_up()
            after = self.check_input(caller, session, data, operation=operation, token=token, eof=eof)
            return data

        accepted = await session.input.write_made(judged, eof=eof)
        # Nobody else's input has come between.
        if after is None:
            self._typed.pop(session, None)
        else:
            self._typed[session] = _Typed(
                state=after,
                enters=session.input.enters,
                interrupted_at=session.input.interrupted_at,
                prompt=session.commands.prompt,
            )
        return accepted

    def check_input(
        self,
        caller: Caller,
        session: Session,
        data: bytes,
        *,
        operation: str = "session.write",
        token: str | None = None,
        eof: bool = False,
    ) -> typed_lines.State | None:
        """Judge what typing this would make a shell run; return what is to be remembered once it is sent.

        None when no shell gets it. Raises as `check_spawn`.
        """
        reader = shellreader.reader_of(session)
        if reader is None:
            return None
        mode = session.child.line_mode()
        line_mode = mode is None or mode.canonical
        typed = typed_lines.play(
            self._state(session),
            data + (b"\x04" if eof else b""),
            line_mode=line_mode or eof,
            pastes=session.follower.screen.modes.bracketed_paste,
        )
        if typed.entered is None:
            return typed_lines.remembered(typed, unfinished=False)
        goes_on = unfinished(typed.script)
        texts = [typed.script]
        if typed.before and goes_on:
            texts.append(typed.entered)  # perhaps the shell takes it for a command of its own
        texts += [text.replace("\t", "") for text in texts if "\t" in text]  # a tab completes, or is a blank
        actions = [self._input(caller, session, operation, text, reader.cwd) for text in texts]
        if typed.too_long:
            actions = [msgspec.structs.replace(actions[0], dangers=(UNJUDGED,))]
        passed = self._decide(caller, actions, token, session.session_id)
        return typed_lines.remembered(typed, unfinished=goes_on and passed is None)

    def _state(self, session: Session) -> typed_lines.State:
        """Return what stands in the line; what somebody else has entered or interrupted is gone from it."""
        known = self._typed.get(session)
        if known is None or (known.enters, known.interrupted_at) != (
            session.input.enters,
            session.input.interrupted_at,
        ):
            return typed_lines.State()
        session.commands.catch_up()
        if session.commands.prompt != known.prompt:
            return msgspec.structs.replace(known.state, before="")  # a new prompt: the command before was whole
        return known.state

    def _input(self, caller: Caller, session: Session, operation: str, text: str, cwd: str | None) -> Action:
        return Action(
            operation=operation,
            command=text,
            kind="input",
            principal=caller.principal,
            profile=caller.profile,
            owner=session.labels.owner,
            access=session.labels.access,
            backend=session.child.backend,
            cwd=cwd,
            home=os.path.expanduser("~"),
        )

    # -- deciding -------------------------------------------------------------------------------------------

    def _decide(self, caller: Caller, actions: list[Action], token: str | None, session_id: str) -> Passed | None:
        """Ask the policy about each; the first that is not allowed decides."""
        for action in actions:
            decision = self._policy.decide(cautious(caller, action))
            if decision.verdict != "allow":
                break
        else:
            return None
        if decision.verdict == "deny":
            self._log(caller, action, decision, session_id, "none")
            raise Denied(
                f"the policy's rule {decision.rule} does not allow this{_because(decision.matches)}",
                hint="`policy.check` tells what the rules say of a command",
                rule=decision.rule,
                matches=_plain(decision.matches),
            )
        if caller.caution.confirmed and self._approvals is None:
            mode: Mode = "legacy"
        elif token is not None:
            self._redeem(token, msgspec.structs.replace(action, command=self._bound(actions)), session_id)
            mode = "token"
        else:
            command = self._bound(actions)
            asked = self._ask(caller, msgspec.structs.replace(action, command=command), decision, session_id)
            self._log(caller, action, decision, session_id, f"none, approval {asked.approval_id}" if asked else "none")
            self._asked[caller.principal, digest(command)] = decision
            if len(self._asked) > MAX_ASKED:
                del self._asked[next(iter(self._asked))]
            raise _required(decision, command, asked)
        self._log(caller, action, decision, session_id, mode)
        return Passed(rule=decision.rule, matches=decision.matches, mode=mode)

    def _bound(self, actions: list[Action]) -> str:
        """Return what a confirmation is for: the whole of what would run; a human also sees what it is given to run."""
        first, *others = actions
        if self._approvals is None or first.kind != "spawn":
            return command_text(first.command)
        return "\n".join(command_text(each.command) for each in (first, *others))

    def _redeem(self, token: str, action: Action, session_id: str) -> None:
        if self._approvals is not None:
            self._approvals.redeem(token, action, None if session_id == NO_SESSION else session_id)
        else:
            self._confirmations.redeem(
                token, action.command, principal=action.principal, owner=action.owner, access=action.access
            )

    def _ask(self, caller: Caller, action: Action, decision: Decision, session_id: str) -> Approval | None:
        if self._approvals is None:
            return None
        return self._approvals.request(
            action,
            decision,
            client_id=caller.client_id,
            connection_id=caller.connection_id,
            session_id=None if session_id == NO_SESSION else session_id,
        )

    def ask(self, caller: Caller, action: Action, decision: Decision, justification: str | None) -> Approval | None:
        """Put a command to a human that the rules ask about, or find the question already put.

        None where no human decides, or nothing is to be decided. Raises as `Approvals.request`.
        """
        if self._approvals is None or decision.verdict != "ask" or justification is None:
            return None
        if not justification.strip():
            raise InvalidParams("justification required", hint="say why this command must run")
        asked = self._approvals.find(action, justification)
        if asked is None:
            asked = self._approvals.request(
                action,
                decision,
                client_id=caller.client_id,
                connection_id=caller.connection_id,
                justification=justification,
            )
            self._log(caller, action, decision, NO_SESSION, f"none, approval {asked.approval_id}")
        return asked

    def confirm(
        self, caller: Caller, action: Action, justification: str | None
    ) -> tuple[Decision, Confirmation | None]:
        """Give a token for a command if it needs one, there is a justification, and no human has to decide.

        Raises `InvalidParams` when that is blank.
        """
        decision = self._policy.decide(cautious(caller, action))
        if decision.verdict == "allow":
            decision = self._asked.get((caller.principal, digest(action.command)), decision)
        if decision.verdict != "ask" or justification is None or self._approvals is not None:
            return decision, None
        one = self._confirmations.issue(
            action.command,
            justification,
            principal=caller.principal,
            ttl=caller.caution.confirm_ttl_ms / 1000,
            owner=action.owner,
            access=action.access,
        )
        return decision, one

    def _log(self, caller: Caller, action: Action, decision: Decision, session_id: str, mode: str) -> None:
        audit.info(
            "policy: %s by rule %s: %s by %s (%s), session %s, confirmed %s, because of %s",
            decision.verdict, decision.rule, action.operation, caller.principal, caller.connection_id, session_id, mode,
            ", ".join(one.rule for one in decision.matches) or "the rule",
        )  # fmt: skip


def home_of(env: Mapping[str, str | None] | None, caller_env: Mapping[str, str] | None) -> str | None:
    """Return the home directory of a program that gets these variables."""
    return (env or {}).get("HOME") or (caller_env or {}).get("HOME") or os.path.expanduser("~")


def cautious(caller: Caller, action: Action) -> Action:
    """Return the action with what its caller's own patterns find in it, if there are any."""
    if caller.caution.patterns is None or action.dangers is not None:
        return action
    text = command_text(action.command)
    found = [
        Match(rule=PATTERN, reason=f"it matches the pattern {pattern[:80]!r} of the client's settings")
        for pattern in caller.caution.patterns
        if _finder(pattern)(text)
    ]
    return msgspec.structs.replace(action, dangers=tuple(found))


@lru_cache(maxsize=64)
def _finder(pattern: str) -> Callable[[str], bool]:
    return finder(pattern, regex=True, ignore_case=False)


def _reads_commands(command: str | Sequence[str] | None) -> bool:
    if command is None:
        return True
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError:
        return False
    return shellreader.takes_commands("", words)


def _required(decision: Decision, command: str, asked: Approval | None) -> ConfirmationRequired:
    hint = None
    if asked is not None:
        hint = (
            "your user was asked and answers with `ptybridge approvals`: wait with `approval.wait` (the tool "
            "confirm_dangerous_command, with the same command and a justification), then repeat this call with the "
            "token it gives as `confirm_token`"
        )
    elif len(command) <= SHOWN:
        hint = (
            f"call `policy.confirm` (the tool confirm_dangerous_command) with the command {command!r} and a "
            "justification, then repeat this call with the token it gives (`confirm_token`; `dangerous_confirm_token` "
            "of pty_spawn)"
        )
    by = "by a human " if asked is not None else ""
    return ConfirmationRequired(
        f"this must be confirmed {by}first, and nothing was done{_because(decision.matches)}",
        hint=hint,
        rule=decision.rule,
        matches=_plain(decision.matches),
        command=command,
        **({"approval_id": asked.approval_id} if asked is not None else {}),
    )


def _because(matches: Sequence[Match]) -> str:
    return ": " + "; ".join(one.reason for one in matches) if matches else ""


def _plain(matches: Sequence[Match]) -> list[dict[str, Any]]:
    return [{"rule": one.rule, "reason": one.reason} for one in matches]
