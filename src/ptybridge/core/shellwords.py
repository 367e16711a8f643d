"""What the words of a shell command expand to, as far as that can be told without running anything.

How it works: a word's source text is cut into pieces (quoted, escaped, plain, expansions); each piece has one or a few
possible values, and the word is every combination of them, up to a bound. What only the running shell knows becomes a
mark from Unicode's private use area, which no source text may contain (`clean` removes it): `UNKNOWN` for some text,
`HOME` for the home directory, `TAINT` for text that was downloaded or decoded. Quoting is removed as POSIX.1-2024
2.2 and bash(1) QUOTING say, so `r\\m`, `"rm"` and `$'\\x72m'` are all `rm`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise, product
from typing import Final

UNKNOWN: Final = "\ue000"
HOME: Final = "\ue001"
TAINT: Final = "\ue003"
# Begins a word that names a pipe on which a command's output, which follows, can be read: <(echo …).
FROM_PIPE: Final = "\ue004"
_SPLIT: Final = "\ue002"
# Braces and commas that were quoted, or came out of a variable, expand nothing.
_QUOTED: Final = str.maketrans({"{": "\ue010", "}": "\ue011", ",": "\ue012"})
_UNQUOTED: Final = str.maketrans({"\ue010": "{", "\ue011": "}", "\ue012": ","})
_PRIVATE: Final = re.compile("[\ue000-\uf8ff]")

MAX_ALTERNATIVES: Final = 16
MAX_WORDS: Final = 64
MAX_NESTING: Final = 8
MAX_VALUES: Final = 8
# A longer value is not followed any more: whoever runs it is asked about.
MAX_VALUE: Final = 8192
# And so is everything in a script whose values altogether grow beyond this.
MAX_EXPANDED: Final = 1 << 20

Values = tuple[str, ...]
Substitute = Callable[[str], str]

_ESCAPES: Final = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "v": "\v",
}
_ANSI_C: Final = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|c.|.)", re.S)
_PARAMETER: Final = re.compile(r"(!?)(\w+|[@*#?$!-])(?:\[([^\]]*)\])?(.*)", re.S)
_SUBSTRING: Final = re.compile(r":\s*(\d+)(?:\s*:\s*(\d+))?$")


def clean(text: str) -> str:
    """Return `text` without the characters that are marks here."""
    return _PRIVATE.sub("\ufffd", text)


class Variables:
    """What is known of the shell's variables: every value one was given so far, since nobody knows the branches."""

    def __init__(self, known: dict[str, Values] | None = None) -> None:
        self._known: dict[str, Values] = known if known is not None else {
            "HOME": (HOME,), "IFS": (" \t\n",), "PATH": (f"/{UNKNOWN}",), "SHELL": ("sh",), "BASH": ("bash",),
        }  # fmt: skip
        # How much expansions have added, counted over all shells of a script.
        self.expanded = [0]

    def get(self, name: str) -> Values | None:
        """Return the possible values, None if nothing is known."""
        if self.expanded[0] > MAX_EXPANDED:
            return (TAINT,)
        return self._known.get(name)

    def add(self, name: str, *values: str, append: bool = False) -> None:
        """Note an assignment."""
        old = self._known.get(name, ())
        if append:
            values = tuple(before + value for before in old or ("",) for value in values)
        merged = tuple(dict.fromkeys((*values, *old)))
        self._known[name] = merged[:MAX_VALUES]

    def copy(self) -> "Variables":
        """Return them for another shell, whose assignments do not come back."""
        other = Variables(dict(self._known))
        other.expanded = self.expanded
        return other


def array(words: Sequence[str]) -> str:
    """Return the value of an array of these words."""
    return _SPLIT.join(words) + _SPLIT


def expand(source: str, variables: Variables, substitute: Substitute, depth: int = 0) -> list[str]:
    """Return the words a word's source text may become. `substitute` gives the output of a command, or marks."""
    if depth > MAX_NESTING:
        return [UNKNOWN]
    pieces = list(_Cutter(source, variables, substitute, depth).pieces())
    if _blown_up(pieces, source, variables):
        return [TAINT]
    words: list[str] = []
    for combined in islice(product(*pieces), MAX_ALTERNATIVES):
        fields = [field for field in "".join(combined).split(_SPLIT) if field]
        for field in fields or [""]:
            words += braces(field)
    found = [word.translate(_UNQUOTED) for word in dict.fromkeys(words)]
    # An unquoted expansion of nothing is no word at all.
    quoted = '"' in source or "'" in source
    return [word for word in found if word or quoted][:MAX_WORDS]


def expand_value(source: str, variables: Variables, substitute: Substitute) -> Values:
    """Return what may be assigned by `NAME=source`: no word splitting, no braces."""
    pieces = list(_Cutter(source, variables, substitute, 0).pieces())
    if _blown_up(pieces, source, variables):
        return (TAINT,)
    found = ("".join(combined) for combined in islice(product(*pieces), MAX_VALUES))
    return tuple(dict.fromkeys(value.replace(_SPLIT, " ").translate(_UNQUOTED) for value in found))


def _blown_up(pieces: list[Values], source: str, variables: Variables) -> bool:
    """Tell whether expansions make far more of a word, or of a script, than is written."""
    size = sum(max(map(len, one), default=0) for one in pieces)
    variables.expanded[0] += max(0, size - len(source)) * MAX_VALUES
    return size > 4 * len(source) + MAX_VALUE or variables.expanded[0] > MAX_EXPANDED


def braces(word: str) -> list[str]:
    """Expand {a,b} as bash does before everything else."""
    done: list[str] = []
    todo = [word]
    while todo and len(done) + len(todo) <= MAX_WORDS:
        current = todo.pop()
        found = next(_brace_lists(current), None)
        if found is None:
            done.append(current)
            continue
        start, end, parts = found
        todo += [current[:start] + part + current[end:] for part in reversed(parts)]
    return done + todo


def _brace_lists(word: str) -> Iterator[tuple[int, int, list[str]]]:
    opened: list[tuple[int, list[int]]] = []
    for at, char in enumerate(word):
        if char == "{":
            opened.append((at, []))
        elif char == "," and opened:
            opened[-1][1].append(at)
        elif char == "}" and opened:
            start, commas = opened.pop()
            if commas:
                cuts = [start, *commas, at]
                yield start, at + 1, [word[a + 1 : b] for a, b in pairwise(cuts)]


def closing(text: str, start: int, opener: str, closer: str) -> int:
    """Return where the bracket opened before `start` closes, the end of the text if it does not."""
    depth, at = 1, start
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "'" and opener == "(":
            at = _find(text, "'", at + 1)
        elif char == '"' and opener == "(":
            at = _end_of_string(text, at + 1)
        elif char == opener:
            depth += 1
        elif char == closer:
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return len(text)


def _find(text: str, char: str, start: int) -> int:
    found = text.find(char, start)
    return found if found >= 0 else len(text)


def _end_of_string(text: str, start: int) -> int:
    at = start
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return min(at, len(text))


def _ansi_c(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] in "xuU" and len(code) > 1:
            number = int(code[1:], 16)
            return chr(number) if number <= 0x10FFFF else "\ufffd"
        if code[0] in "01234567":
            return chr(int(code, 8))
        if code[0] == "c" and len(code) > 1:
            return chr(ord(code[1]) & 0x1F)
        return _ESCAPES.get(code, code)

    return clean(_ANSI_C.sub(one, text))


class _Cutter:
    """Cuts one word's source text into pieces, each a tuple of possible values."""

    def __init__(self, source: str, variables: Variables, substitute: Substitute, depth: int) -> None:
        self.source = source
        self.variables = variables
        self.substitute = substitute
        self.depth = depth
        self.at = 0

    def pieces(self) -> Iterator[Values]:
        source = self.source
        if source.startswith("~"):
            # ~, ~user: somebody's home. ~+ and ~- are directories of this shell's own.
            end = re.match(r"~[\w.-]*", source)
            if end and source[end.end() : end.end() + 1] in {"", "/"} and end[0] != "~-":
                self.at = end.end()
                yield (HOME,)
        while self.at < len(source):
            yield self._next(quoted=False)

    def _next(self, *, quoted: bool) -> Values:
        source, at = self.source, self.at
        char = source[at]
        if char == "\\":
            self.at += 2
            following = source[at + 1 : at + 2]
            if following == "\n":
                return ("",)
            if quoted and following not in {"$", "`", '"', "\\"}:
                return (("\\" + following).translate(_QUOTED),)
            return (following.translate(_QUOTED),)
        if char == "$":
            return self._dollar(quoted=quoted)
        if char == "`":
            end = at + 1
            while end < len(source) and source[end] != "`":
                end += 2 if source[end] == "\\" else 1
            self.at = end + 1
            return self._output(source[at + 1 : end].replace("\\`", "`"), quoted=quoted)
        if not quoted:
            if char == "'":
                end = _find(source, "'", at + 1)
                self.at = end + 1
                return (source[at + 1 : end].translate(_QUOTED),)
            if char == '"':
                return self._string()
            if source.startswith(("<(", ">("), at):
                end = closing(source, at + 2, "(", ")")
                self.at = end + 1
                return (FROM_PIPE + self.substitute(source[at + 2 : end]).translate(_QUOTED),)
        plain = re.compile(r'[^\\$`"]+' if quoted else r"""[^\\$`"'<>]+""").match(source, at)
        if plain is None:
            self.at += 1
            return (char,)
        self.at = plain.end()
        return (plain[0].translate(_QUOTED) if quoted else plain[0],)

    def _string(self) -> Values:
        self.at += 1
        inside: list[Values] = []
        while self.at < len(self.source) and self.source[self.at] != '"':
            inside.append(self._next(quoted=True))
        self.at += 1
        if _blown_up(inside, self.source, self.variables):
            return (TAINT,)
        return tuple("".join(parts) for parts in islice(product(*inside), MAX_ALTERNATIVES))

    def _dollar(self, *, quoted: bool) -> Values:
        source, at = self.source, self.at
        rest = source[at + 1 : at + 3]
        if rest.startswith("'") and not quoted:
            end = at + 2
            while end < len(source) and source[end] != "'":
                end += 2 if source[end] == "\\" else 1
            self.at = end + 1
            return (_ansi_c(source[at + 2 : end]).translate(_QUOTED),)
        if rest.startswith('"') and not quoted:
            self.at += 1
            return self._string()
        if rest.startswith("(("):
            self.at = closing(source, at + 2, "(", ")") + 1
            return (UNKNOWN,)
        if rest.startswith("("):
            end = closing(source, at + 2, "(", ")")
            self.at = end + 1
            return self._output(source[at + 2 : end], quoted=quoted)
        if rest.startswith("{"):
            end = closing(source, at + 2, "{", "}")
            self.at = end + 1
            return self._parameter(source[at + 2 : end], quoted=quoted)
        name = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]").match(source, at + 1)
        if name is None:
            self.at += 1
            return ("$",)
        self.at = name.end()
        return self._values(self.variables.get(name[0]), quoted=quoted)

    def _output(self, command: str, *, quoted: bool) -> Values:
        return self._values((self.substitute(command),), quoted=quoted)

    def _values(self, values: Values | None, *, quoted: bool) -> Values:
        if values is None:
            return (UNKNOWN,)
        # Unquoted, a value is split at blanks; the elements of an array are words of their own even in quotes.
        made = (value if quoted else re.sub(r"[ \t\n]", _SPLIT, value) for value in values)
        return tuple(value.translate(_QUOTED) for value in made)

    def _parameter(self, inside: str, *, quoted: bool) -> Values:
        found = _PARAMETER.match(inside)
        if found is None or (inside.startswith("#") and len(inside) > 1):
            return (UNKNOWN,)
        indirect, name, index, operation = found.groups()
        values = self.variables.get(name)
        if indirect and values is not None:
            values = tuple(value for other in values for value in self.variables.get(other) or (UNKNOWN,))
        if index is not None and values is not None and index.isdecimal():
            values = tuple(([*value.split(_SPLIT), *[""] * 64])[min(int(index), 63)] for value in values)
        return self._values(self._operate(values, operation), quoted=quoted)

    def _operate(self, values: Values | None, operation: str) -> Values | None:
        if not operation:
            return values
        plain = operation.removeprefix(":")
        if plain[:1] in {"-", "="} and plain:
            other = tuple(expand(plain[1:], self.variables, self.substitute, self.depth + 1) or [""])
            return other if values is None else (*(value for value in values if value), *other)
        if plain[:1] == "+":
            return tuple(expand(plain[1:], self.variables, self.substitute, self.depth + 1) or [""])
        if plain[:1] == "?":
            return values
        if values is None:
            return None
        if part := _SUBSTRING.match(operation):
            start = int(part[1])
            stop = start + int(part[2]) if part[2] else None
            return tuple(value.replace(HOME, f"/{UNKNOWN}")[start:stop] for value in values)
        if operation in {"^", "^^", ",", ",,"}:
            return tuple(value.upper() if "^" in operation else value.lower() for value in values)
        if operation.startswith("/") and not set(operation) & set("*?[$`\\\"'"):
            everywhere = operation.startswith("//")
            old, _, new = operation.lstrip("/#%").partition("/")
            if old:
                return tuple(value.replace(old, new, -1 if everywhere else 1) for value in values)
        return None


def pieces_of(text: str) -> Iterator[tuple[str, list[str]]]:
    """Cut a script that cannot be parsed into simple commands: (what stands before it, source texts of its words).

    Rough on purpose: it sees quoting, comments and separators, and nothing of the grammar above them.
    """
    token = re.compile(
        r"""(?P<blank>(?:[ \t\r]|\\\n)+)|(?P<comment>\#[^\n]*)|(?P<end>\|&|\|\||&&|;;|[\n;|()}]|\{(?=\s)|&(?!>))"""
        r"""|(?P<redirect>\d*(?:&>>?|<<<|<<-?|>>|>\||[<>]&?))"""
    )
    before, words, word, at = ";", [], "", 0
    while at < len(text):
        found = token.match(text, at)
        if found and not (found["comment"] and word) and not (found["end"] in {"{", "}"} and word):
            if word:
                words.append(word)
                word = ""
            if found["end"]:
                if words:
                    yield before, words
                before, words = found["end"], []
            elif found["redirect"]:
                words.append(found["redirect"])
            at = found.end()
            continue
        end = _end_of_piece(text, at)
        word += text[at:end]
        at = end
    if word:
        words.append(word)
    if words:
        yield before, words


def _end_of_piece(text: str, at: int) -> int:
    char = text[at]
    if char == "\\":
        return at + 2
    if char == "'":
        return _find(text, "'", at + 1) + 1
    if char == '"':
        return _end_of_string(text, at + 1) + 1
    if char == "`":
        return _find(text, "`", at + 1) + 1
    if text.startswith("$'", at):
        return _find(text, "'", at + 2) + 1
    if text.startswith("${", at):
        return closing(text, at + 2, "{", "}") + 1
    if text.startswith(("$(", "<(", ">("), at):
        return closing(text, at + 2, "(", ")") + 1
    return at + 1
