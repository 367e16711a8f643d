"""Desktop notifications in kitty's protocol (OSC 99), which the emulator parses but does not report.

A notification may come in pieces: `i=` names it, `p=` says whether a piece is of the title or the body, `d=0` that
more will come, `e=1` that the text is base64. All else (icons, buttons, queries) is left alone.
"""

import base64
import binascii
import re
from typing import Final

from ptybridge.core.emulator import Notified
from ptybridge.text import printable

_START: Final = b"\x1b]99;"
_COMMAND: Final = re.compile(rb"\x1b\]99;([^;\x07\x1b]*);([^\x07\x1b]*)(?:\x07|\x1b\\)")
# Longer ones are not notifications anybody reads.
MAX_COMMAND_BYTES: Final = 4096
MAX_PENDING: Final = 16


class NoticeScanner:
    """Looks through output block by block; a block without the introducer costs one search for it."""

    def __init__(self) -> None:
        self._tail = b""
        self._pieces: dict[bytes, list[str]] = {}

    def scan(self, data: bytes) -> list[Notified]:
        """Return the notifications that `data` completes."""
        # Looking for one byte is sixty times as fast as looking for five.
        if not self._tail and (_START[:1] not in data or _START not in data):
            self._tail = _beginning(data)
            return []
        data = self._tail + data
        found = []
        end = 0
        for command in _COMMAND.finditer(data):
            end = command.end()
            notice = self._take(command[1], command[2])
            if notice is not None:
                found.append(notice)
        start = data.find(_START, end)
        self._tail = data[start:] if start >= 0 else _beginning(data[end:])
        if len(self._tail) > MAX_COMMAND_BYTES:
            self._tail = b""
        return found

    def _take(self, metadata: bytes, payload: bytes) -> Notified | None:
        fields = dict(field.split(b"=", 1) for field in metadata.split(b":") if b"=" in field)
        part = fields.get(b"p", b"title")
        if part not in {b"title", b"body"}:
            return None
        if fields.get(b"e") == b"1":
            try:
                payload = base64.b64decode(payload)
            except binascii.Error:
                return None
        key = fields.get(b"i", b"")
        texts = self._pieces.pop(key, ["", ""])
        texts[part == b"body"] += payload.decode("utf-8", "replace")
        if fields.get(b"d") != b"0":
            # Others show a lone text as the body.
            title, body = texts if texts[1] else ("", texts[0])
            return Notified(title=printable(title), body=printable(body))
        if len(self._pieces) < MAX_PENDING and sum(map(len, texts)) <= MAX_COMMAND_BYTES:
            self._pieces[key] = texts
        return None


def _beginning(data: bytes) -> bytes:
    """Return what at the end of `data` may be the introducer's beginning."""
    for length in range(len(_START) - 1, 0, -1):
        if data.endswith(_START[:length]):
            return _START[:length]
    return b""
