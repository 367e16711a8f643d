# Made from `sdk/aio` by `make docs`; do not edit.
"""The player of scripted dialogues: sends, waits for what is expected, takes branches, and keeps a trace.

How it works: each `expect` waits with the daemon (`session.expect`), so nothing is polled.
"""

import re
import time
from collections.abc import Callable, Mapping

import msgspec

from ptybridge.errors import ExpectExited, ExpectFailed, InputClosed, SessionExited
from ptybridge.sdk.dialogue import Ended, Outcome, Traced, Veil
from ptybridge.sdk.patterns import Ending, Match
from ptybridge.sdk.script import Choice, Script, Step
from ptybridge.sdk.sync.session import Session

# How much of what was printed the trace keeps for each step, from its end.
SEEN_CHARACTERS = 2000
# Of a script that sends and expects the same for ever.
MAX_STEPS = 10_000


class _Ended(Exception):
    def __init__(self, reason: Ended, line: int, message: str) -> None:
        self.reason: Ended = reason
        self.line = line
        self.message = message


class Player:
    """One playing of a script with a session; see `dialogue.play`."""

    def __init__(
        self, session: Session, script: Script, secrets: Mapping[str, str], told: Callable[[Traced], None]
    ) -> None:
        self._session = session
        self._script = script
        self._secrets = secrets
        self._told = told
        self._steps: list[Traced] = []
        self._veil = Veil(secrets)
        self._enter = "\r"

    def play(self) -> Outcome:
        """Play it to its end."""
        # Enter is a carriage return at a terminal; behind pipes a line ends as in a file.
        if (self._session.info or self._session.get()).backend == "pipes":
            self._enter = "\n"
        try:
            self._run(self._script.steps)
        except _Ended as end:
            return Outcome(end.reason, self._session.session_id, end.line, self._veil.clean(end.message), self._steps)
        last = self._script.steps[-1].line
        return Outcome("done", self._session.session_id, last, "", self._steps)

    def _run(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self._one(step)

    def _one(self, step: Step) -> None:
        if step.verb == "expect":
            while self._expect(step):
                pass
        elif step.verb == "done":
            raise _Ended("done", step.line, "")
        elif step.verb == "fail":
            raise _Ended("failed", step.line, step.text)
        else:
            self._send(step)

    def _send(self, step: Step) -> None:
        begun = time.monotonic()
        did = f"secret {step.words[0]}" if step.verb == "secret" else _shown(step)
        try:
            if step.verb == "keys":
                self._session.send_keys(*step.words)
            elif step.verb == "secret":
                self._session.write(self._secrets[step.words[0]] + self._enter)
            else:
                self._session.write(step.text + (self._enter if step.verb == "line" else ""))
        except (SessionExited, InputClosed) as exc:
            self._note(step.line, did, begun, "exited", "")
            raise _Ended("exited", step.line, "the program has ended, and takes no input") from exc
        self._note(step.line, did, begun, "ok", "")

    def _expect(self, step: Step) -> bool:
        """Wait for one of the branches and take it; tell whether to expect the same again."""
        begun = time.monotonic()
        seconds = self._script.seconds if step.seconds is None else step.seconds
        choices = [one.choice for one in step.branches]
        did = "expect " + " or ".join(_choice(one) for one in choices)
        try:
            match = self._session.expect(choices, timeout=seconds)
        except ExpectFailed as exc:
            reason: Ended = "exited" if isinstance(exc, ExpectExited) else "timeout"
            when = f"within {seconds:g} s" if reason == "timeout" else "before the program ended"
            self._note(step.line, did, begun, reason, str(exc.data.get("before", "")))
            raise _Ended(reason, step.line, f"{did.removeprefix('expect ')} was not seen {when}") from exc
        branch = step.branches[match.index]
        self._note(step.line, did, begun, f"line {branch.line}: {_choice(branch.choice)}", _seen(match))
        for one in branch.steps:
            if one.verb == "again":
                return True
            self._one(one)
        return False

    def _note(self, line: int, did: str, begun: float, result: str, seen: str) -> None:
        if len(self._steps) >= MAX_STEPS:
            raise _Ended("failed", line, f"{MAX_STEPS} steps were taken, and there is no end")
        ms = int((time.monotonic() - begun) * 1000)
        step = Traced(
            line, self._veil.clean(did), ms, self._veil.clean(result), self._veil.clean(seen)[-SEEN_CHARACTERS:]
        )
        self._steps.append(step)
        self._told(step)


def _seen(match: Match) -> str:
    return match.before + match.after


def _shown(step: Step) -> str:
    return f"{step.verb} {' '.join(step.words)}" if step.words else f"{step.verb} {_quoted(step.text)}"


def _choice(choice: Choice) -> str:
    if isinstance(choice, Ending):
        return {"exited": "exit"}.get(choice.value, choice.value)
    return f"/{choice.pattern}/" if isinstance(choice, re.Pattern) else _quoted(choice)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
