"""Takes secrets out of output: values that are known, and what looks like a credential.

How it works: a terminal breaks text up. Between two characters of a secret it may put escape sequences and line
ends, a read may end in the middle of it, and of a character. So known values are searched in the bytes as they are and
once more with everything taken out that shows nothing; what is found is mapped back to the bytes that came. A piece
that ends in what may be the beginning of a secret is held back from there on, `MAX_HELD_BYTES` at most, until more
comes. Credentials are known by their form, by expressions that run in linear time (RE2); they are searched in lines,
so one that a narrow terminal has broken in two is not found unless its value is known. Neither sees through
encodings: a secret printed as base64 or backwards passes.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import re2

MARK: Final = b"[redacted]"
# Shorter ones occur everywhere by chance, and taking them out would leave nothing readable.
MIN_SECRET_BYTES: Final = 4
MAX_SECRET_BYTES: Final = 4096
# An escape sequence between any two characters is no reason to hold back for ever.
MAX_HELD_BYTES: Final = 16 << 10
# A credential's name stands before its value, perhaps in the piece before.
CONTEXT_BYTES: Final = 1024
# The longest private keys in use (RSA with 16384 bits) take some 13 kB.
MAX_KEY_BYTES: Final = 16 << 10

Span = tuple[int, int]

# ECMA-48: control sequences, control strings (an unfinished one at the end, too), and other escapes.
_ESCAPES: Final = (
    rb"\x1b\[[0-?]*+[ -/]*+(?:[@-~]|\Z)|\x1b\][^\x07\x1b]*+(?:\x07|\x1b\\|\x1b?\Z)"
    rb"|\x1b[PX^_][^\x1b]*+(?:\x1b\\|\x1b?\Z)|\x1b[ -/]*+(?:[0-Z\\^-~]|\Z)"
)
_ESCAPE: Final = re.compile(_ESCAPES)
# What is left of a control sequence whose beginning is missing.
_TORN: Final = re.compile(rb"(?:\[[0-9;:?]{0,40}|[0-9;:?]{1,40})[@-~]")
# Line editors go to the next line with a blank and a carriage return.
_NOISE: Final = re.compile(_ESCAPES + rb"|[\n\x00]| ?\r| \Z")


def _expression(pattern: bytes) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return re2.compile(pattern, options)


_NAMED: Final = (
    rb"(?i:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
    rb"[A-Za-z0-9_.-]{0,32}[\"']?"
)
# Each with the group that is secret; the longest of the forms have bounds, so that memory has one.
_CREDENTIALS: Final = (
    _expression(rb"(?:\b|_)((?:AKIA|ASIA)[A-Z0-9]{16})\b"),
    _expression(rb"(?:\b|_)(gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255})"),
    # Our own keys, logins, codes and tickets: 256 bits as base64 without padding.
    _expression(rb"(?:\b|_)(pt[blct]_[A-Za-z0-9_-]{43})"),
    _expression(rb"(?i:\bbearer[ \t]{1,4})([A-Za-z0-9._~+/-]{8,900}=*)"),
    _expression(rb"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@\"']{0,128}:([^\s/@\"']{1,256})@"),
    _expression(_NAMED + rb"=[\"']?([^\s\"',;&|)]{4,512})"),
    # What follows the quote is a value and not the rest of a line of a script whose quoted text ends there.
    _expression(_NAMED + rb"[ \t]{0,4}[=:][ \t]{0,4}[\"']([^\s;,)&|\"'][^\r\n\"']{3,511})[\"']"),
    _expression(_NAMED + rb"[ \t]{0,4}:[ \t]{1,4}([^\s\"',;&|)]{4,512})"),
)
# Without any of these there is no credential; most output has none, and one search is cheaper than all of them.
_SIGN: Final = _expression(
    rb"(?i:passw|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|bearer)"
    rb"|AKIA|ASIA|gh[pousr]_|github_pat_|pt[blct]_|://|-----|-\z"
)
# What may become one of them when more comes, with the group that must wait for it.
_BEGINNINGS: Final = (
    _expression(rb"((?:AKIA|ASIA|gh[pousr]_|github_pat_)[A-Za-z0-9_]{0,255})\z"),
    _expression(rb"(pt[blct]_[A-Za-z0-9_-]{0,42})\z"),
    _expression(rb"(?i:\bbearer[ \t]{1,4})([^\s]{1,900})\z"),
    _expression(rb"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@\"']{0,128}:([^\s/@\"']{1,256})\z"),
    _expression(_NAMED + rb"[ \t]{0,4}[=:][ \t]{0,4}([\"'][^\r\n\"']{0,512}|[^\s\"',;&|)]{1,512})\z"),
    _expression(rb"(-{1,5}|-----[A-Z0-9 -]{0,70})\z"),
)
_KEY: Final = _expression(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END: Final = _expression(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# What stands where a value is taken from elsewhere, hidden already, or computed.
_NO_VALUE: Final = re.compile(rb"[$<{(%\[]|(.)\1*\Z|.*\(", re.DOTALL)


class Scan(msgspec.Struct, frozen=True):
    """What is secret in a piece: `spans`, ordered and apart; from `open_from` on more has to be seen.

    `in_key`: a private key has begun in the last span and has not ended.
    """

    spans: list[Span]
    open_from: int
    in_key: bool


class _Plain:
    """Bytes without what shows nothing, and where they came from."""

    def __init__(self, data: bytes, noise: "re.Pattern[bytes]") -> None:
        pieces: list[bytes] = []
        self._at: list[int] = [0]
        self._raw: list[int] = [0]
        begin = length = 0
        for found in noise.finditer(data):
            if found.start() > begin:
                pieces.append(data[begin : found.start()])
                length += found.start() - begin
            begin = found.end()
            if self._at[-1] == length:
                self._raw[-1] = begin
            else:
                self._at.append(length)
                self._raw.append(begin)
        pieces.append(data[begin:])
        self.text = b"".join(pieces)

    def raw(self, at: int) -> int:
        """Return where the character at `at` stands in the original bytes."""
        piece = bisect_right(self._at, at) - 1
        return self._raw[piece] + at - self._at[piece]

    def span(self, begin: int, end: int) -> Span:
        """Return where a piece of the text stands in the original bytes."""
        return self.raw(begin), self.raw(end - 1) + 1


def usable(value: bytes) -> bool:
    """Tell whether a value can be looked for: not too short, and not too long to be held back."""
    return len(_NOISE.sub(b"", value)) >= MIN_SECRET_BYTES and len(value) <= MAX_SECRET_BYTES


def scan(data: bytes, values: Sequence[bytes] = (), *, forms: bool = True) -> Scan:
    """Find what is secret in `data`; without `forms` only known values are."""
    spans: list[Span] = []
    open_from = len(data)
    bare_text = _without_noise(data) if values else b""
    bare: _Plain | None = None  # where things stood costs more to know, and is rarely needed
    for value in values:
        spans += _occurrences(data, value)
        open_from = min(open_from, _beginning(data, value))
        stripped = _NOISE.sub(b"", value)
        if len(stripped) < MIN_SECRET_BYTES:
            continue
        begun = _beginning(bare_text, stripped)
        if begun < len(bare_text) or stripped in bare_text:
            bare = bare or _Plain(data, _NOISE)
            spans += [bare.span(*one) for one in _occurrences(bare_text, stripped)]
            if begun < len(bare_text):
                open_from = min(open_from, bare.raw(begun))
    if not forms or not _SIGN.search(_ESCAPE.sub(b"", data) if b"\x1b" in data else data):
        return Scan(united(spans), open_from, in_key=False)
    lines = _Plain(data, _ESCAPE)
    for expression in _CREDENTIALS:
        for found in expression.finditer(lines.text):
            if not _NO_VALUE.match(found[1]):
                spans.append(lines.span(*found.span(1)))
    for expression in _BEGINNINGS:
        begun_form = expression.search(lines.text)
        if begun_form is not None:
            open_from = min(open_from, lines.raw(begun_form.start(1)))
    keys, in_key = _keys(lines)
    return Scan(united(spans + keys), open_from, in_key)


def _without_noise(data: bytes) -> bytes:
    """Return what `_NOISE.sub(b"", data)` does, faster where there are no escape sequences."""
    if b"\x1b" in data:
        return _NOISE.sub(b"", data)
    bare = data.replace(b" \r", b"").translate(None, b"\r\n\x00")
    return bare[:-1] if data.endswith(b" ") else bare


def _occurrences(text: bytes, value: bytes) -> Iterable[Span]:
    at = text.find(value)
    while at >= 0:
        yield at, at + len(value)
        at = text.find(value, at + 1)


def _beginning(text: bytes, value: bytes) -> int:
    """Return where `text` ends in a beginning of `value`, its length when it does not."""
    at = text.find(value[:1], max(0, len(text) - len(value) + 1))
    while at >= 0:
        if value.startswith(text[at:]):
            return at
        at = text.find(value[:1], at + 1)
    return len(text)


def _keys(lines: _Plain) -> tuple[list[Span], bool]:
    spans: list[Span] = []
    at = 0
    while (begun := _KEY.search(lines.text, at)) is not None:
        end = _KEY_END.search(lines.text, begun.end())
        if end is None:
            return [*spans, lines.span(begun.start(), len(lines.text))], True
        spans.append(lines.span(begun.start(), end.end()))
        at = end.end()
    return spans, False


def edges(data: bytes, values: Sequence[bytes]) -> list[Span]:
    """Find what may be the end of a value at the beginning of `data`, and the beginning of one at its end.

    For text that a limit has cut; parts of less than `MIN_SECRET_BYTES` are not found.
    """
    spans: list[Span] = []
    torn = _TORN.match(data)
    skips = (0, torn.end()) if torn is not None else (0,)
    heads = [(skip, _Plain(data[skip:MAX_HELD_BYTES], _NOISE)) for skip in skips]
    at = max(0, len(data) - MAX_HELD_BYTES)
    tail = _Plain(data[at:], _NOISE)
    for value in values:
        bare = _NOISE.sub(b"", value)
        for skip, head in heads:
            longest = min(len(bare) - 1, len(head.text))
            rest = next((n for n in range(longest, MIN_SECRET_BYTES - 1, -1) if head.text.startswith(bare[-n:])), 0)
            if rest:
                first, last = head.span(0, rest)
                spans.append((skip + first, skip + last))
        begun = _beginning(tail.text, bare)
        if len(tail.text) - begun >= MIN_SECRET_BYTES:
            first, last = tail.span(begun, len(tail.text))
            spans.append((at + first, at + last))
    return united(spans)


def united(spans: list[Span]) -> list[Span]:
    """Return spans in order, those that overlap as one."""
    apart: list[Span] = []
    for begin, end in sorted(spans):
        if apart and begin < apart[-1][1]:
            apart[-1] = apart[-1][0], max(end, apart[-1][1])
        else:
            apart.append((begin, end))
    return apart


def redact(data: bytes, values: Sequence[bytes] = (), *, forms: bool = True) -> bytes:
    """Return `data`, which is all there is, with a mark in place of each secret."""
    return marked(data, scan(data, values, forms=forms).spans, 0, len(data))


def marked(data: bytes, spans: list[Span], begin: int, end: int) -> bytes:
    """Return `data[begin:end]` with a mark in place of each span, or of what lies within."""
    pieces: list[bytes] = []
    for first, last in spans:
        if begin >= end or last <= begin or first >= end:
            continue
        pieces += data[begin:first] if first > begin else b"", MARK
        begin = last
    pieces.append(data[begin:end])
    return b"".join(pieces)


class Redactor:
    """Redacts a stream in pieces. `values` is asked for at every piece, as secrets become known while it flows.

    Without `forms` only known values are redacted, and what may be the beginning of one is held back only from
    `MIN_SECRET_BYTES` on: somebody waits to see it.
    """

    def __init__(self, secrets: "Secrets", *, forms: bool = True) -> None:
        self._secrets = secrets
        self._forms = forms
        self._buffer = b""
        self._done = 0  # so much of the buffer is given out already
        self._key_bytes: int | None = None  # so much of a private key was swallowed

    @property
    def pending_bytes(self) -> int:
        """How many of the bytes fed are not accounted for yet in what was given out."""
        return len(self._buffer) - self._done

    def prime(self, data: bytes) -> None:
        """Begin behind `data`, which somebody else has given out; `MAX_KEY_BYTES` of it are enough."""
        self._key_bytes = 0 if self._forms and scan(data).in_key else None
        self._buffer = data[-CONTEXT_BYTES:]
        self._done = len(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what can be given out."""
        self._buffer += data
        return self._swallowed(final=False) + self._take(final=False)

    def finish(self) -> bytes:
        """Return what was held back: nothing follows."""
        return self._swallowed(final=True) + self._take(final=True)

    def _swallowed(self, *, final: bool) -> bytes:
        """Leave out the rest of a private key that has begun earlier."""
        if self._key_bytes is None:
            return b""
        rest = self._buffer[self._done :]
        lines = _Plain(rest, _ESCAPE)
        end = _KEY_END.search(lines.text)
        if end is not None:
            self._done += lines.span(*end.span())[1]
        elif final or self._key_bytes + len(rest) > MAX_KEY_BYTES:
            self._done = len(self._buffer)
        else:
            # The end may be here in part.
            swallowed = max(0, len(rest) - CONTEXT_BYTES)
            self._key_bytes += swallowed
            self._buffer, self._done = rest[swallowed:], 0
            return b""
        self._buffer, self._done = self._buffer[self._done :], 0
        self._key_bytes = None
        return b""

    def _take(self, *, final: bool) -> bytes:
        if self._key_bytes is not None:
            return b""
        data = self._buffer
        found = scan(data, self._secrets.values, forms=self._forms)
        end = len(data)
        if found.in_key and not final:
            begin = found.spans[-1][0]
            out = marked(data, found.spans[:-1], self._done, begin) + MARK
            self._key_bytes = 0
            self._buffer, self._done = data[begin:], 0
            return out
        if not final:
            if self._forms or end - found.open_from >= MIN_SECRET_BYTES:
                end = min(end, found.open_from)
            for first, last in found.spans:
                # What touches the end may go on, and what is cut by it is not marked twice.
                if first < end and (last > end or last == len(data)):
                    end = first
            end = max(end, self._done, len(data) - MAX_HELD_BYTES)
        out = marked(data, found.spans, self._done, end)
        kept = max(0, end - CONTEXT_BYTES)
        self._buffer, self._done = data[kept:], end - kept
        return out


class Secrets:
    """The secret values a daemon knows, in memory only; each is forgotten with its session."""

    def __init__(self) -> None:
        self._by_session: dict[str, list[bytes]] = {}
        self.values: tuple[bytes, ...] = ()

    def add(self, session_id: str, value: bytes) -> bool:
        """Redact `value` from now on, wherever it shows up; False (and nothing happens) if it is too short or long."""
        value = value.rstrip(b"\r\n")
        if not usable(value):
            return False
        self._by_session.setdefault(session_id, []).append(value)
        self._changed()
        return True

    def forget(self, session_id: str) -> None:
        """Forget the session's values."""
        if self._by_session.pop(session_id, None) is not None:
            self._changed()

    def _changed(self) -> None:
        self.values = tuple({value for values in self._by_session.values() for value in values})
