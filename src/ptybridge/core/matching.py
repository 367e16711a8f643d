"""Users' patterns over a growing transcript: what matches first, found as soon as it is there.

How it works: each call searches the new chunk together with a bounded piece of what came before (`carry`), so a
match may straddle chunks and nothing is searched more than a constant amount again. Literals need a carry just
short of the longest of them. Expressions run on RE2, whose time is linear in the text whatever the pattern; their
matches may begin up to `WINDOW_BYTES` before a chunk, longer ones can be missed. Several expressions are searched
as one alternation, which by leftmost-first rules yields the earliest start, and among equals the first listed.

What users should know of expressions. They see bytes as UTF-8: `.` is a character, never an invalid byte (`\\C` is any
byte). `^` and `$` are the beginning and end of lines, as with the flag `m`. `^` and `\\A` also match where watching
began, `$` and `\\z` at the end of what has come *so far*: that is how a prompt that ends in "$ " is awaited (`\\$ $`).
Greedy repetition likewise ends with what has come so far. A terminal's lines end in CR LF, and `$` stands before
LF: write `\\r?$`, or ask for `plain`, which removes that CR with the escape sequences.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import re2

from ptybridge.core.text import EscapeStripper
from ptybridge.core.text import strip_escapes as strip_escapes
from ptybridge.errors import InvalidParams

# How far before a chunk an expression's match may begin. Searching it anew costs some 80 µs a chunk.
WINDOW_BYTES: Final = 64 << 10
MAX_PATTERNS: Final = 100
MAX_PATTERN_BYTES: Final = 16 << 10

_HINT: Final = "the syntax is RE2's, without look-around and back-references: https://github.com/google/re2/wiki/Syntax"

Span = tuple[int, int]


class Match(msgspec.Struct, frozen=True):
    """A pattern found. `index` is its place in the list; the offsets are the transcript's, `end_offset` exclusive.

    `text` is what matched; with `plain` it lacks the escape sequences that lie between the offsets. `groups` holds the
    text of the expression's groups, None for one that took no part.
    """

    index: int
    pattern: str
    start_offset: int
    end_offset: int
    text: bytes
    groups: tuple[bytes | None, ...] = ()


class _Engine(Protocol):
    carry: int

    def search(self, text: bytes, start: int) -> tuple[int, Span, tuple[bytes | None, ...]] | None:
        """Return the index of the pattern found in `text[start:]`, where in `text` it is, and its groups."""
        ...


class _Found(Protocol):
    def start(self) -> int: ...
    def span(self) -> Span: ...
    def groups(self) -> tuple[bytes | None, ...]: ...


class _Expression(Protocol):
    """What we use of a compiled expression. `pos` is where a match may begin; bytes before it are looked back at."""

    def search(self, text: bytes, pos: int) -> _Found | None: ...
    def match(self, text: bytes, pos: int) -> _Found | None: ...


class Matcher:
    """Watches one stretch of a transcript for patterns. Made by `compile_patterns`; for one task and one wait.

    After a match, or when an offset does not continue where the last chunk ended (output was lost in between), it
    forgets what came before and starts anew.
    """

    def __init__(self, patterns: Sequence[str], engine: _Engine, *, plain: bool) -> None:
        self._patterns = patterns
        self._engine = engine
        self._plain = plain
        self._window = _Window(0, plain)

    def feed(self, offset: int, chunk: bytes) -> Match | None:
        """Search on with `chunk`, whose first byte stands at `offset`; return the earliest match, if there is one."""
        window = self._window
        if offset != window.end:
            window = self._window = _Window(offset, self._plain)
        if not window.extend(chunk):
            return None
        text = bytes(window.text)
        found = self._engine.search(text, window.start)
        if found is None:
            window.trim(self._engine.carry)
            return None
        index, (start, stop), groups = found
        first = window.offset_of(start)
        # Escapes after the last byte are no part of the match: ask for that byte, not for the one after it.
        end = window.offset_of(stop - 1) + 1 if stop > start else first
        self._window = _Window(window.end, self._plain)
        return Match(index, self._patterns[index], first, end, text[start:stop], groups)


class _Window:
    """What is searched: the newest output, and where in the transcript each byte of it stands."""

    def __init__(self, offset: int, plain: bool) -> None:
        self.end = offset
        self.text = bytearray()
        # Where in `text` a match may begin: bytes before it were trimmed, or are there to be looked back at.
        self.start = 0
        self._stripper = EscapeStripper() if plain else None
        self._trimmed = 0
        # Where runs of adjacent bytes begin, counted in bytes of text ever seen, and at which offsets.
        self._places: list[int] = []
        self._offsets: list[int] = []
        self._searched = False

    def extend(self, chunk: bytes) -> bool:
        """Add `chunk`; return whether there is anything new to search (the first time, even nothing is)."""
        runs = self._stripper.feed(self.end, chunk) if self._stripper else [(self.end, chunk)] if chunk else []
        self.end += len(chunk)
        for offset, run in runs:
            place = self._trimmed + len(self.text)
            if not self._places or offset - self._offsets[-1] != place - self._places[-1]:
                self._places.append(place)
                self._offsets.append(offset)
            self.text += run
        news = bool(runs) or not self._searched
        self._searched = True
        return news

    def trim(self, carry: int) -> None:
        """Forget all but the last `carry` bytes, and one more for `^` and `\\b` to look at."""
        surplus = len(self.text) - carry - 1
        if surplus <= 0:
            return
        del self.text[:surplus]
        self.start = 1
        self._trimmed += surplus
        gone = bisect_right(self._places, self._trimmed) - 1
        del self._places[:gone], self._offsets[:gone]

    def offset_of(self, index: int) -> int:
        """Return the transcript's offset of `text[index]`, or of what comes next."""
        if index == len(self.text):
            return self.end
        place = self._trimmed + index
        run = bisect_right(self._places, place) - 1
        return self._offsets[run] + place - self._places[run]


def compile_patterns(pattern: str | list[str], *, regex: bool = False, plain: bool = False) -> Matcher:
    """Return a matcher for any of the patterns, which are literal strings unless `regex`.

    Raises InvalidParams for none, too many, empty or overlong ones, and for bad expressions, with RE2's reason.
    """
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        raise InvalidParams(f"`pattern` must be one to {MAX_PATTERNS} patterns, not {len(patterns)}")
    encoded = [_encode(one) for one in patterns]
    return Matcher(patterns, _Expressions(encoded) if regex else _Literals(encoded), plain=plain)


def finder(pattern: str, *, regex: bool, ignore_case: bool) -> Callable[[str], bool]:
    """Return what tells whether a text has a match of one pattern. Raises InvalidParams as `compile_patterns` does."""
    encoded = _encode(pattern)
    if not regex and not ignore_case:
        return lambda text: pattern in text
    if not regex:
        folded = pattern.casefold()
        return lambda text: folded in text.casefold()
    expression = _compile(b"(?i)" + encoded if ignore_case else encoded)
    return lambda text: expression.search(text.encode("utf-8", "replace"), 0) is not None


def _encode(pattern: str) -> bytes:
    try:
        encoded = pattern.encode()
    except UnicodeEncodeError as exc:
        raise InvalidParams(f"a pattern has a lone surrogate at position {exc.start}") from exc
    if not encoded:
        raise InvalidParams("a pattern must not be empty", hint="to wait for any output use the regex `(?s).`")
    if len(encoded) > MAX_PATTERN_BYTES:
        raise InvalidParams(f"a pattern may have {MAX_PATTERN_BYTES} bytes")
    return encoded


class _Literals:
    def __init__(self, needles: list[bytes]) -> None:
        self._needles = needles
        self.carry = max(map(len, needles)) - 1

    def search(self, text: bytes, start: int) -> tuple[int, Span, tuple[bytes | None, ...]] | None:
        best, place = -1, len(text)
        for index, needle in enumerate(self._needles):
            # An equal start loses to the one listed before, so the last byte that can win is the one before `place`.
            found = text.find(needle, start, place - 1 + len(needle))
            if found >= 0:
                best, place = index, found
        return None if best < 0 else (best, (place, place + len(self._needles[best])), ())


class _Expressions:
    carry = WINDOW_BYTES

    def __init__(self, patterns: list[bytes]) -> None:
        self._each = [_compile(pattern) for pattern in patterns]
        # A pattern may leave its `\Q` open, and would then quote the rest of the alternation.
        closed = [pattern if _compiles(b"(?:%b)" % pattern) else pattern + rb"\E" for pattern in patterns]
        self._any = self._each[0] if len(patterns) == 1 else _compile(b"|".join(b"(?:%b)" % one for one in closed))

    def search(self, text: bytes, start: int) -> tuple[int, Span, tuple[bytes | None, ...]] | None:
        found = self._any.search(text, start)
        if found is None:
            return None
        for index, one in enumerate(self._each):
            match = one.match(text, found.start())
            if match is not None:
                return index, match.span(), match.groups()
        raise AssertionError("RE2 found an alternation, and none of its members")


def _compile(pattern: bytes) -> _Expression:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: _Expression = re2.compile(b"(?m)" + pattern, options)
    except re2.error as exc:
        reason, _, fragment = exc.args[0].partition(b": ")
        fragment = fragment.removeprefix(b"(?m)")
        position = len(pattern[: max(pattern.find(fragment), 0)].decode(errors="replace"))
        text = f"{reason.decode()} at position {position}: {fragment.decode(errors='replace')}"
        raise InvalidParams(f"not a regular expression: {text}", hint=_HINT, position=position) from exc
    finally:
        # The module keeps 128 expressions of up to 8 MiB each; ours live as long as their matcher.
        re2.purge()
    return compiled


def _compiles(pattern: bytes) -> bool:
    try:
        _compile(pattern)
    except InvalidParams:
        return False
    return True
