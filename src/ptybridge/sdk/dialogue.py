"""Plays a script with a session, and tells what was done and seen, without the secrets.

How it works: all secrets are fetched before anything is sent. Each `expect` waits with the daemon (`session.expect`),
so nothing is polled. What is reported goes through `_clean`, which puts a secret's name where its value stands: a
program may well print what was typed.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ptybridge.errors import ExpectExited, ExpectFailed, InputClosed, InvalidParams, SessionExited
from ptybridge.sdk.patterns import Ending, Match
from ptybridge.sdk.script import Choice, Script, Secret, Step
from ptybridge.sdk.sync.session import Session

# How much of what was printed the trace keeps for each step, from its end.
SEEN_CHARACTERS: Final = 2000
PART_CHARACTERS: Final = 3  # of a secret that nobody may see
COMMAND_SECONDS: Final = 120.0
# Of a script that sends and expects the same for ever.
MAX_STEPS: Final = 10_000

Ask = Callable[[str], str]
Ended = Literal["done", "failed", "timeout", "exited"]


class Traced(msgspec.Struct):
    """A step that was taken. `seen`: what was printed up to and with what was waited for; `ms`: how long it took."""

    line: int
    did: str
    ms: int
    result: str = "ok"
    seen: str = ""


class Outcome(msgspec.Struct):
    """How a dialogue has ended: where, why, and what was done before."""

    reason: Ended
    session_id: str
    line: int
    message: str
    steps: list[Traced]


def fetch_secrets(script: Script, environ: Mapping[str, str], ask: Ask | None = None) -> dict[str, str]:
    """Return the values of a script's secrets. Raises `InvalidParams`, which names the line and no value."""
    return {name: _fetch(script, name, one, environ, ask) for name, one in script.secrets.items()}


def child_environment(script: Script) -> dict[str, str | None]:
    """Return what to leave out of a program's environment: the variables that hold the script's secrets."""
    return {one.words[0]: None for one in script.secrets.values() if one.kind == "env"}


def play(
    session: Session, script: Script, secrets: Mapping[str, str], told: Callable[[Traced], None] = lambda step: None
) -> Outcome:
    """Play a script; `told` gets each step when it is over. What the daemon refuses is raised as always."""
    return _Player(session, script, secrets, told).play()


class _Ended(Exception):
    def __init__(self, reason: Ended, line: int, message: str) -> None:
        self.reason: Ended = reason
        self.line = line
        self.message = message


class _Player:
    def __init__(
        self, session: Session, script: Script, secrets: Mapping[str, str], told: Callable[[Traced], None]
    ) -> None:
        self._session = session
        self._script = script
        self._secrets = secrets
        self._told = told
        self._steps: list[Traced] = []
        # Enter is a carriage return at a terminal; behind pipes a line ends as in a file.
        self._enter = "\n" if (session.info or session.get()).backend == "pipes" else "\r"
        # Longer ones first: one may be a part of another.
        self._values = sorted(((v, n) for n, v in secrets.items() if v), key=lambda one: -len(one[0]))

    def play(self) -> Outcome:
        try:
            self._run(self._script.steps)
        except _Ended as end:
            return Outcome(end.reason, self._session.session_id, end.line, self._clean(end.message), self._steps)
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
        step = Traced(line, self._clean(did), ms, self._clean(result), self._clean(seen)[-SEEN_CHARACTERS:])
        self._steps.append(step)
        self._told(step)

    def _clean(self, text: str) -> str:
        for value, name in self._values:
            text = text.replace(value, f"[secret {name}]")
            # What is shown is cut out of more, perhaps in the middle of a value.
            for size in range(len(value) - 1, PART_CHARACTERS - 1, -1):
                if text.startswith(value[-size:]):
                    text = f"[secret {name}]" + text[size:]
                if text.endswith(value[:size]):
                    text = text[:-size] + f"[secret {name}]"
        return text


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


def _fetch(script: Script, name: str, secret: Secret, environ: Mapping[str, str], ask: Ask | None) -> str:
    def wrong(message: str) -> InvalidParams:
        return InvalidParams(f"{script.name}:{secret.line}: the secret {name}: {message}")

    word = secret.words[0]
    if secret.kind == "env":
        if word not in environ:
            raise wrong(f"the variable {word} is not set")
        value = environ[word]
    elif secret.kind == "file":
        try:
            value = Path(os.path.expanduser(word)).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise wrong(f"{word} cannot be read: {_reason(exc)}") from exc
        value = value.removesuffix("\n")
    elif secret.kind == "command":
        value = _printed(secret.words, wrong)
    else:
        if ask is None:
            raise wrong("a human is to be asked, and there is no terminal")
        value = ask(word)
    if not value or any(character in value for character in "\r\n\0"):
        raise wrong("it is empty, or has more than one line")
    return value


def _printed(words: tuple[str, ...], wrong: Callable[[str], InvalidParams]) -> str:
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=True, text=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as exc:
        # Without what it has printed, which may be the secret.
        raise wrong(f"{words[0]} did not tell it: {_reason(exc)}") from None
    return done.stdout.removesuffix("\n")


def _reason(exc: Any) -> str:
    if isinstance(exc, OSError):
        return exc.strerror or "it failed"
    if isinstance(exc, subprocess.CalledProcessError):
        return f"it ended with {exc.returncode}"
    return "it took too long" if isinstance(exc, subprocess.TimeoutExpired) else "it is no UTF-8 text"
