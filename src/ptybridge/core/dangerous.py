"""Which commands do what cannot be undone: a judgement of a command, which decides and stops nothing by itself.

It judges a parse (`shellparse`), never the text, so that quoting, wrappers and variables hide nothing a person would
see, and words in strings, comments and other programs' arguments raise no alarm. It is a seat belt, not a sandbox: a
script in a file, a program written for the purpose, or another language's interpreter does what it likes.

Each finding has a short `rule` for logs and rules, and a `reason` in plain words for the person asked.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from ptybridge.core import damage, shellparse
from ptybridge.core.damage import Match
from ptybridge.core.shellparse import Call, Function, Input
from ptybridge.core.shellwords import FROM_PIPE, HOME, TAINT, UNKNOWN, Variables
from ptybridge.core.wrappers import SHELLS, WRAPPERS, shell_script, unwrap

# bash -c inside bash -c inside …: nobody who means well goes deeper.
MAX_DEPTH: Final = 8
MAX_MATCHES: Final = 20
# Scripts within scripts altogether, so that judging stays linear in what was given.
MAX_JUDGED_BYTES: Final = 4 * shellparse.MAX_SCRIPT_BYTES
_NAMES: Final = frozenset(damage.PROGRAMS) | WRAPPERS.keys() | SHELLS

UNJUDGED = Match(rule="unjudged", reason="it is too long or too deeply nested to be judged")
CODE = Match(rule="unseen-code", reason="it runs downloaded or decoded code, which cannot be judged")
FORK_BOMB = Match(rule="fork-bomb", reason="a function starts itself again and again until nothing else can run")


class Place(msgspec.Struct, frozen=True):
    """Where a command would run, as far as it is known: directory and home."""

    cwd: str | None = None
    home: str | None = None


NOWHERE: Final = Place()


def judge(command: str | Sequence[str], place: Place = NOWHERE) -> list[Match]:
    """Return why a command is dangerous, [] when it is not. A list is an argv, which no shell sees."""
    check = _Check(place)
    if isinstance(command, str):
        check.script(command, Variables(), 0)
    else:
        check.call(Call(words=[str(word) for word in command]), Variables(), 0)
    return check.matches


class _Check:
    """One judgement: what was found, and where the script has gone by `cd`."""

    def __init__(self, place: Place) -> None:
        self.matches: list[Match] = []
        self._home = place.home
        self._cwd = place.cwd
        self._left = MAX_JUDGED_BYTES

    def _add(self, match: Match | None) -> None:
        if match is not None and match not in self.matches and len(self.matches) < MAX_MATCHES:
            self.matches.append(match)

    def script(self, text: str, variables: Variables, depth: int) -> None:
        """Judge a text that a shell runs."""
        if TAINT in text:
            self._add(CODE)
        self._left -= len(text)
        if depth > MAX_DEPTH or self._left < 0 or not shellparse.parseable(text):
            self._add(UNJUDGED)
            return

        def visit(what: Call | Function, known: Variables) -> None:
            if isinstance(what, Function):
                if what.calls > 1 and what.multiplies:
                    self._add(FORK_BOMB)
            else:
                self.call(what, known, depth)

        shellparse.walk(text, visit, variables)

    def call(self, call: Call, variables: Variables, depth: int) -> None:
        """Judge one simple command."""
        for target in call.outputs:
            self._add(damage.written(target))
        words = call.words
        if not words or depth > MAX_DEPTH:
            if words:
                self._add(UNJUDGED)
            return
        if TAINT in words[0]:
            self._add(CODE)
        program = _program(words[0])
        if program in SHELLS:
            self._shell(call, words, variables, depth)
        elif program in {"source", "."}:
            self._source(words)
        elif program == "trap" and len(words) > 2:
            self.script(words[1], variables, depth + 1)
        elif program == "alias":
            for word in words[1:]:
                self.script(word.partition("=")[2], variables, depth + 1)
        elif program == "cd" or program == "pushd":
            self._change_directory(words)
        elif program == "find":
            self._find(call, variables, depth)
        elif (inside := unwrap(program, words)) is not None:
            if program == "xargs" and call.input.text is not None:
                inside = msgspec.structs.replace(inside, words=_with_input(inside.words, call.input.text))
            self._inside(call, inside.words, inside.script, inside.shell, variables, depth)
        else:
            self._add(damage.done([program, *words[1:]], self._resolve))

    # -- kinds of commands ----------------------------------------------------------------------------------

    def _inside(
        self, call: Call, words: list[str], script: str | None, shell: bool, variables: Variables, depth: int
    ) -> None:
        if script is not None:
            self.script(script, variables, depth + 1)
        elif shell:
            self._reads_script(call.input, variables, depth)
        elif words:
            self.call(Call(words=words, input=call.input), variables, depth + 1)

    def _shell(self, call: Call, words: list[str], variables: Variables, depth: int) -> None:
        script, rest = shell_script(words)
        if script is not None:
            inner = variables.copy()
            for number, value in enumerate(rest[:10]):
                inner.add(str(number), value)
            for name in "@*":
                inner.add(name, " ".join(rest[1:]))
            self.script(script, inner, depth + 1)
        elif rest and rest[0].startswith(FROM_PIPE):
            text = rest[0].removeprefix(FROM_PIPE)
            if UNKNOWN not in text:
                self.script(text, variables, depth + 1)
        elif not rest or rest[0] in {"-", "/dev/stdin", "/proc/self/fd/0"} or "-s" in words[1:]:
            self._reads_script(call.input, variables, depth)

    def _reads_script(self, given: Input, variables: Variables, depth: int) -> None:
        """Judge what a shell reads from its standard input."""
        if given.text is not None:
            self.script(given.text, variables, depth + 1)
        elif given.piped:
            self._add(CODE)

    def _source(self, words: list[str]) -> None:
        if any(FROM_PIPE in word and TAINT in word for word in words[1:]):
            self._add(CODE)

    def _find(self, call: Call, variables: Variables, depth: int) -> None:
        words = call.words
        roots = shellparse.find_roots(words)
        everything = next((found for root in roots if (found := damage.precious(self._resolve(root)))), None)
        if everything and "-delete" in words:
            self._add(Match(rule="find-delete", reason=f"find -delete removes files anywhere below {everything}"))
        for at, word in enumerate(words):
            if word not in {"-exec", "-execdir", "-ok", "-okdir"}:
                continue
            run = words[at + 1 :]
            end = next((n for n, one in enumerate(run) if one in {";", "+"}), len(run))
            run = [root if one == "{}" else one for one in run[:end] for root in (roots[:1] if one == "{}" else [""])]
            if not run:
                continue
            # What runs is given each file below the roots, so for a remover that is as good as the whole.
            if _program(run[0]) in damage.REMOVERS and everything:
                self._add(Match(rule="find-delete", reason=f"find runs {_program(run[0])} on files below {everything}"))
            self.call(Call(words=run), variables, depth + 1)

    def _change_directory(self, words: list[str]) -> None:
        targets = [word for word in words[1:] if not word.startswith("-") and not word.startswith("+")]
        self._cwd = self._resolve(targets[0] if targets else HOME)

    def _resolve(self, path: str) -> str:
        """Return a path as absolute as it is known; HOME stands for the home directory."""
        if self._home and (path == self._home or path.startswith(f"{self._home}/")) and self._home != "/":
            path = HOME + path[len(self._home) :]
        if path.startswith(("/", HOME, UNKNOWN)) or not path:
            return path
        return f"{self._cwd}/{path}" if self._cwd and UNKNOWN not in self._cwd else path


def _program(word: str) -> str:
    """Return the name of the program a word names: without directory and, for a pattern, what it would match."""
    name = word.rpartition("/")[2]
    if set(name) & set("*?["):
        return next((one for one in sorted(_NAMES) if fnmatchcase(one, name)), name)
    return name


def _with_input(words: list[str], text: str) -> list[str]:
    given = text.replace("\0", "\n").split()[: shellparse.MAX_HERE_DOCUMENTS]
    if not any("{}" in word for word in words):
        return [*words, *given]
    return [made for word in words for made in ([word.replace("{}", one) for one in given] if "{}" in word else [word])]
