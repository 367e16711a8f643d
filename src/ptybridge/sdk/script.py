"""Scripts of dialogues: what to send and what to expect, a statement a line; docs/expect.md is the guide.

Pure: reads a text and says what is wrong with it, by file and line, before anything is started.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from ptybridge.errors import InvalidParams
from ptybridge.sdk.patterns import EXITED, TIMEOUT, Ending

_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "e": "\x1b", "\\": "\\", '"': '"'}
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_REGEX: Final = re.compile(r"/((?:[^/\\]|\\.)+)/(i?)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_WORD: Final = re.compile(r"\S+")
FLAGS: Final = {"": 0, "i": re.IGNORECASE}
# By their first word, what may stand in a branch and in the main part.
ACTIONS: Final = ("send", "line", "keys", "secret", "expect", "again", "done", "fail")
HEADS: Final = ("spawn", "timeout", "define")
MAX_SECONDS: Final = 86_400.0

Choice = str | re.Pattern[str] | Ending


class Secret(msgspec.Struct, frozen=True):
    """Where a secret comes from: a variable, a file, what a program prints, or a human."""

    kind: Literal["env", "file", "command", "ask"]
    words: tuple[str, ...]
    line: int


class Step(msgspec.Struct, frozen=True):
    """A statement. `text`: what is sent, or why it fails; `words`: names of keys, or of a secret."""

    line: int
    verb: str
    text: str = ""
    words: tuple[str, ...] = ()
    seconds: float | None = None
    branches: tuple["Branch", ...] = ()


class Branch(msgspec.Struct, frozen=True):
    """What may come, and what is done then; an empty `steps` goes on behind the `expect`."""

    line: int
    choice: Choice
    steps: tuple[Step, ...]


class Script(msgspec.Struct, frozen=True):
    """A script that is in order. Without `command` it is for a session that is there."""

    name: str
    command: tuple[str, ...]
    seconds: float
    secrets: dict[str, Secret]
    steps: tuple[Step, ...]


class _Line(msgspec.Struct):
    number: int
    indent: int
    text: str


def parse(text: str, name: str = "script") -> Script:
    """Read a script. Raises `InvalidParams` that names the line."""
    return _Parser(text, name).script()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._lines = list(self._split(text))
        self._at = 0
        self._secrets: dict[str, Secret] = {}
        self._used: list[tuple[int, str]] = []

    def script(self) -> Script:
        command: tuple[str, ...] = ()
        seconds = 30.0
        while self._at < len(self._lines):
            line = self._lines[self._at]
            verb, _, rest = line.text.partition(" ")
            if line.indent or verb not in HEADS:
                break
            self._at += 1
            if verb == "spawn":
                if command:
                    raise self.wrong(line, "spawn stands once")
                command = self._words(line, rest)
            elif verb == "timeout":
                seconds = self._seconds(line, rest.strip())
            else:
                self._define(line, rest)
        steps = self._block(0, within=False)
        if self._at < len(self._lines):
            raise self.wrong(self._lines[self._at], "this is indented, and does not stand below an expect")
        if not steps:
            raise InvalidParams(f"{self._name}: there is nothing to do", hint="docs/expect.md shows how scripts look")
        for number, secret in self._used:
            if secret not in self._secrets:
                raise self.wrong_at(number, f"no secret is called {secret}", hint=f"define {secret} env VARIABLE")
        return Script(self._name, command, seconds, self._secrets, steps)

    # -- lines ----------------------------------------------------------------------------------------------

    def _split(self, text: str) -> Iterator[_Line]:
        for number, raw in enumerate(text.splitlines(), 1):
            body = raw.strip()
            if not body or body.startswith("#"):
                continue
            space = raw[: len(raw) - len(raw.lstrip())]
            if "\t" in space:
                raise self.wrong_at(number, "indent with spaces, not with tabs")
            yield _Line(number, len(space), body)

    def wrong(self, line: _Line, message: str, hint: str | None = None) -> InvalidParams:
        return self.wrong_at(line.number, message, hint)

    def wrong_at(self, number: int, message: str, hint: str | None = None) -> InvalidParams:
        return InvalidParams(f"{self._name}:{number}: {message}", hint=hint)

    # -- statements -----------------------------------------------------------------------------------------

    def _block(self, indent: int, *, within: bool) -> tuple[Step, ...]:
        """Read statements of one indentation; `within` a branch, where `again` makes sense."""
        steps: list[Step] = []
        while self._at < len(self._lines) and self._lines[self._at].indent == indent:
            line = self._lines[self._at]
            self._at += 1
            if steps and steps[-1].verb in {"again", "done", "fail"}:
                raise self.wrong(line, f"nothing is done behind {steps[-1].verb}")
            steps.append(self._step(line, within))
        return tuple(steps)

    def _step(self, line: _Line, within: bool) -> Step:
        verb, _, rest = line.text.partition(" ")
        rest = rest.strip()
        if verb in HEADS:
            raise self.wrong(line, f"{verb} stands at the beginning, before anything is done")
        if verb not in ACTIONS:
            raise self.wrong(line, f"{verb[:40]!r} is no statement", hint=f"there are {', '.join((*HEADS, *ACTIONS))}")
        if verb == "expect":
            return self._expect(line, rest)
        if verb == "again" and not within:
            raise self.wrong(line, "again stands in a branch of an expect")
        if verb in {"again", "done"}:
            self._nothing(line, rest)
            return Step(line.number, verb)
        if verb in {"send", "line", "fail"}:
            text, rest = self._string(line, rest) if rest or verb != "line" else ("", "")
            self._nothing(line, rest)
            return Step(line.number, verb, text)
        words = self._words(line, rest)
        if verb == "secret":
            if len(words) != 1:
                raise self.wrong(line, "secret takes the name of one secret")
            self._used.append((line.number, words[0]))
        return Step(line.number, verb, words=words)

    def _expect(self, line: _Line, rest: str) -> Step:
        if rest == "any" or rest.startswith("any "):
            seconds, rest = self._within(line, rest[3:].strip())
            self._nothing(line, rest)
            return Step(line.number, "expect", seconds=seconds, branches=self._branches(line))
        choice, rest = self._choice(line, rest)
        seconds, rest = self._within(line, rest)
        self._nothing(line, rest)
        return Step(line.number, "expect", seconds=seconds, branches=(Branch(line.number, choice, ()),))

    def _branches(self, head: _Line) -> tuple[Branch, ...]:
        if self._at >= len(self._lines) or self._lines[self._at].indent <= head.indent:
            raise self.wrong(head, "expect any needs what may come below it, indented")
        indent = self._lines[self._at].indent
        found: list[Branch] = []
        while self._at < len(self._lines) and self._lines[self._at].indent > head.indent:
            line = self._lines[self._at]
            if line.indent != indent:
                raise self.wrong(line, f"this is indented by {line.indent}, the others by {indent}")
            self._at += 1
            choice, rest = self._choice(line, line.text)
            self._nothing(line, rest)
            if any(repr(choice) == repr(one.choice) for one in found):
                raise self.wrong(line, "this is expected already")
            deeper = self._at < len(self._lines) and self._lines[self._at].indent > indent
            steps = self._block(self._lines[self._at].indent, within=True) if deeper else ()
            found.append(Branch(line.number, choice, steps))
        return tuple(found)

    def _define(self, line: _Line, rest: str) -> None:
        name, _, rest = rest.strip().partition(" ")
        kind, _, rest = rest.strip().partition(" ")
        if not _NAME.match(name):
            raise self.wrong(line, f"{name[:40]!r} is no name: letters, digits and _")
        if name in self._secrets:
            raise self.wrong(line, f"{name} is defined in line {self._secrets[name].line}")
        words: tuple[str, ...]
        if kind == "ask":
            text, rest = self._string(line, rest.strip()) if rest.strip() else (f"{name}: ", "")
            self._nothing(line, rest)
            words = (text,)
        elif kind in {"env", "file", "command"}:
            words = self._words(line, rest)
            if kind != "command" and len(words) != 1:
                raise self.wrong(line, f"{kind} takes one word")
        else:
            # What stands here may be the secret itself: it is not repeated.
            raise self.wrong(line, "a secret comes from env, file, command or ask", hint=f"define {name} env VARIABLE")
        self._secrets[name] = Secret(kind, words, line.number)  # type: ignore[arg-type]

    # -- pieces ---------------------------------------------------------------------------------------------

    def _choice(self, line: _Line, text: str) -> tuple[Choice, str]:
        word = _WORD.match(text)
        ending = {"exit": EXITED, "timeout": TIMEOUT}.get(word[0]) if word else None
        if word and ending is not None:
            return ending, text[word.end() :].strip()
        found = _REGEX.match(text)
        if found is None:
            wanted, rest = self._string(line, text, 'a text in "quotes", a /regular expression/, exit or timeout')
            if not wanted:
                raise self.wrong(line, "an empty text is printed always")
            return wanted, rest
        try:
            return re.compile(found[1].replace("\\/", "/"), FLAGS[found[2]]), text[found.end() :].strip()
        except re.error as exc:
            raise self.wrong(line, f"this is no regular expression: {exc}") from exc

    def _string(self, line: _Line, text: str, what: str = 'a text in "quotes"') -> tuple[str, str]:
        found = _STRING.match(text)
        if found is None:
            raise self.wrong(line, f"here stands {what}")

        def unescaped(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                raise self.wrong(line, f"\\{match[1]} means nothing", hint=r"there are \n \r \t \e \\ and \"")
            return _ESCAPES[match[1]]

        return re.sub(r"\\(.)", unescaped, found[1]), text[found.end() :].strip()

    def _within(self, line: _Line, rest: str) -> tuple[float | None, str]:
        if not rest.startswith("within "):
            return None, rest
        number, _, rest = rest[7:].strip().partition(" ")
        return self._seconds(line, number), rest.strip()

    def _seconds(self, line: _Line, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= MAX_SECONDS:
            raise self.wrong(line, f"a time is a number of seconds up to {MAX_SECONDS:.0f}")
        return value

    def _words(self, line: _Line, text: str) -> tuple[str, ...]:
        try:
            words = tuple(shlex.split(text, comments=True))
        except ValueError as exc:
            raise self.wrong(line, f"the quotes do not match: {str(exc).lower()}") from exc
        if not words:
            raise self.wrong(line, "here something is missing")
        return words

    def _nothing(self, line: _Line, rest: str) -> None:
        if rest and not rest.startswith("#"):
            raise self.wrong(line, "there is more in this line than belongs here")
