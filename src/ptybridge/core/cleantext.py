"""Output as plain text for agents and logs: what a person would have been left with on a very long paper roll.

How it works: escape sequences go, except that "erase line" is kept as a private control until lines are folded. Within
a line a carriage return goes back to its beginning and a backspace one character, and what follows overwrites; so
progress bars and spinners leave their last state. Lines without either, nearly all of them, pass as they are. Trailing
blanks and characters nobody can see (bidirectional and zero-width ones, tags) go. Everything is linear, cut anywhere.
"""

import re
from collections import deque
from typing import Final

import msgspec

from ptybridge.core.text import EscapeStripper
from ptybridge.text import UNPRINTABLE

# A line longer than this is passed on in pieces, and nothing goes back across them: memory stays bounded.
LINE_BYTES: Final = 64 * 1024

# EL and ED to the end, and EL of the whole line: ECMA-48 8.3.41, 8.3.39. They become VT and FF, which mean new lines.
_ERASE: Final = re.compile(rb"\x1b\[[02]?[KJ]")
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[[02]?)?\Z")
_TO_END, _WHOLE = 0x0B, 0x0C
_FOLDED: Final = re.compile(rb"[\r\x08\x0b\x0c]")
_CONTROLS: Final = re.compile("[\r\x08\x0b\x0c]")
_INVISIBLE: Final = re.compile(f"(?![\t\n])(?:{UNPRINTABLE.pattern}|[\u00ad\u200b-\u200d\u2060-\u2064\u206a-\u206f])")
_VERTICAL: Final = bytes.maketrans(b"\x0b\x0c", b"\n\n")


class Cleaner:
    """Takes output in pieces and gives back finished lines; `finish` gives the last, unfinished one."""

    def __init__(self) -> None:
        self._stripper = EscapeStripper()
        self._held = b""
        self._line = b""

    def feed(self, data: bytes) -> str:
        """Return the lines that `data` has finished."""
        data = self._held + data
        cut = _UNFINISHED.search(data)
        self._held = data[cut.start() :] if cut else b""
        if cut:
            data = data[: cut.start()]
        data = _ERASE.sub(_erased, data.translate(_VERTICAL))
        runs = self._stripper.feed(0, data)
        text = self._line + b"".join([run for _, run in runs])
        end = text.rfind(b"\n") + 1
        if not end and len(text) > LINE_BYTES:
            end = LINE_BYTES
            while end > LINE_BYTES - 4 and text[end] & 0xC0 == 0x80:
                end -= 1
        self._line = text[end:]
        return _plain(text[:end])

    @property
    def pending(self) -> str:
        """The unfinished line as it would be now."""
        return _plain(self._line)

    def finish(self) -> str:
        """Return what is left."""
        text, self._line = self._line + self._stripper.flush(), b""
        self._held = b""
        return _plain(text)


def clean(data: bytes) -> str:
    """Return all of `data` as clean text."""
    cleaner = Cleaner()
    return cleaner.feed(data) + cleaner.finish()


def _erased(found: re.Match[bytes]) -> bytes:
    # ED 2 clears the screen, which on paper is nothing at all.
    code = found[0]
    return b"" if code == b"\x1b[2J" else b"\x0c" if code == b"\x1b[2K" else b"\x0b"


def _plain(data: bytes) -> str:
    if not data:
        return ""
    text = data.decode("utf-8", "replace")
    lines = text.split("\n")
    if _FOLDED.search(data):
        lines = [_fold(line) if _CONTROLS.search(line) else line for line in lines]
    text = "\n".join([line.rstrip(" \t") for line in lines])
    return text if text.isascii() else _INVISIBLE.sub("", text)


def _fold(line: str) -> str:
    """Apply carriage returns, backspaces and erasures to one line."""
    cells: list[str] = []
    at = begin = 0
    for found in _CONTROLS.finditer(line):
        at = _put(cells, at, line[begin : found.start()])
        begin = found.end()
        match ord(found[0]):
            case 0x0D:
                at = 0
            case 0x08:
                at = max(0, at - 1)
            case 0x0B:
                del cells[at:]
            case _:
                del cells[:]
    _put(cells, at, line[begin:])
    return "".join(cells)


def _put(cells: list[str], at: int, text: str) -> int:
    if not text:
        return at
    if at > len(cells):
        cells.extend(" " * (at - len(cells)))  # after the whole line was erased the cursor stays where it was
    cells[at : at + len(text)] = text
    return at + len(text)


class Truncated(msgspec.Struct, frozen=True):
    """How much of a text was kept at its beginning and end, and how much was left out in between, in bytes."""

    head_bytes: int
    tail_bytes: int
    omitted_bytes: int


class HeadTail:
    """Keeps the beginning and the end of a text of any length, in bounded memory, never splitting a character."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - limit // 2
        self._head: list[bytes] = []
        self._head_size = 0
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.total = 0

    def add(self, text: bytes) -> None:
        """Add more of the text."""
        self.total += len(text)
        if self._head_size < self._head_limit:
            piece = text[: self._head_limit - self._head_size]
            self._head.append(piece)
            self._head_size += len(piece)
            text = text[len(piece) :]
        if not text or not self._tail_limit:
            return
        self._tail.append(text[-self._tail_limit :])
        self._tail_size += len(self._tail[-1])
        while self._tail_size - len(self._tail[0]) >= self._tail_limit:
            self._tail_size -= len(self._tail.popleft())

    def result(self) -> tuple[bytes, bytes, Truncated | None]:
        """Return (head, tail, what is missing between them); nothing is missing when it fitted."""
        head = b"".join(self._head)
        tail = b"".join(self._tail)[-self._tail_limit :] if self._tail_limit else b""
        if len(head) + len(tail) == self.total:
            return head + tail, b"", None
        head = head[: _before_torn(head)]
        torn = 0
        while torn < min(3, len(tail)) and tail[torn] & 0xC0 == 0x80:
            torn += 1
        tail = tail[torn:]
        return head, tail, Truncated(len(head), len(tail), self.total - len(head) - len(tail))


def _before_torn(data: bytes) -> int:
    """Return where a character begins that the end of `data` cuts, or its length."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            size = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)
