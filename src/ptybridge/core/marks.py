"""Finds shell marks (OSC 133, OSC 633) in a transcript, cut anywhere, in linear time.

Protocol: https://gitlab.freedesktop.org/Per_Bothner/specifications/blob/master/proposals/semantic-prompts.md (133) and
https://code.visualstudio.com/docs/terminal/shell-integration (633). Ours carry `ptyb=NONCE:N`, the session's nonce and
a number that grows with each prompt; see `core.commands` for what that proves.
"""

import re
from hmac import compare_digest
from typing import Final

import msgspec

# A mark longer than this is none. The scripts cut command lines at 8192 characters, of 4 bytes each when escaped.
MAX_MARK_BYTES: Final = 64 * 1024
# The body excludes ESC and BEL, so every byte is looked at once, however many introducers there are.
_MARK: Final = re.compile(rb"\x1b\](133|633);([^\x07\x1b]{0,65536})(?:\x07|\x1b\\)")
_OPEN: Final = re.compile(rb"\x1b(?:\](?:[136]{0,3}|(?:133|633);[^\x07\x1b]{0,65536}\x1b?))?\Z")
_ESCAPED: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|\\)")


class Mark(msgspec.Struct, frozen=True):
    """A mark at `offset`, up to `end`. `kind` is A, B, C, D, E or P. `number` is None when it is not ours to trust."""

    kind: str
    offset: int
    end: int
    value: str
    number: int | None
    same: bool = False


class MarkScanner:
    """Reads on from an offset; `offset` is up to where everything is decided."""

    def __init__(self, offset: int, nonce: str | None) -> None:
        self.offset = offset
        self._nonce = nonce.encode() if nonce else None
        self._held = b""

    @property
    def read_offset(self) -> int:
        """Where the next piece must begin."""
        return self.offset + len(self._held)

    def feed(self, offset: int, data: bytes) -> list[Mark]:
        """Return the marks that `data`, which begins at `offset`, completes."""
        if offset != self.read_offset:
            self._held = b""  # output was lost
            self.offset = offset
        if not self._held and b"\x1b" not in data:
            self.offset += len(data)
            return []
        data = self._held + data
        marks = [mark for found in _MARK.finditer(data) if (mark := self._mark(found)) is not None]
        at = data.rfind(b"\x1b]", max(0, len(data) - MAX_MARK_BYTES - 16))
        place = at if at >= 0 and _OPEN.match(data, at) else len(data) - 1 if data.endswith(b"\x1b") else len(data)
        self._held = data[place:]
        self.offset += place
        return marks

    def _mark(self, found: re.Match[bytes]) -> Mark | None:
        fields = found[2].split(b";")
        kind = fields[0].decode("ascii", "replace")
        if kind not in (("A", "B", "C", "D") if found[1] == b"133" else ("E", "P")):
            return None
        number, same, value = None, False, b""
        for index, field in enumerate(fields[1:]):
            if field.startswith(b"ptyb="):
                number = self._number(field[5:])
                same = b"same" in fields[index + 2 :]
                break
            if index == 0:
                value = field
        text = value.decode("utf-8", "replace")
        begin = self.offset + found.start()
        return Mark(kind, begin, self.offset + found.end(), _unescape(text), number, same)

    def _number(self, key: bytes) -> int | None:
        nonce, _, digits = key.rpartition(b":")
        if self._nonce is None or not compare_digest(nonce, self._nonce) or not digits.isdigit() or len(digits) > 12:
            return None
        return int(digits)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\\", text)
