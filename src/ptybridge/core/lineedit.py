"""How long the unfinished line is that a terminal in line mode has taken: what is typed can also take away.

How it works: this follows what Linux does in drivers/tty/n_tty.c with the control characters of termios(3). Of the
line nothing is kept but what the erasing of characters and words depends on: what kind of byte stands where.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

_OTHER: Final = 0
_WORD: Final = 1
_CONTINUATION: Final = 2


def _kind(byte: int) -> int:
    # The kernel's isalnum goes by Latin 1, so that the first byte of most letters counts as one in UTF-8, too.
    if 0x80 <= byte < 0xC0:
        return _CONTINUATION
    latin = byte >= 0xC0 and byte not in {0xD7, 0xF7}
    return _WORD if latin or bytes([byte]).isalnum() or byte == ord("_") else _OTHER


_KINDS: Final = bytes(_kind(byte) for byte in range(256))


class LineKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes do something in line mode: each field holds those of one effect, maybe none."""

    ends: bytes = b"\n\r\x04"  # a line, and stay in it or not: newline, VEOF, VEOL, VEOL2
    flushes: bytes = b"\x03\x1c\x1a"  # all input: VINTR, VQUIT, VSUSP, unless NOFLSH is set
    swallowed: bytes = b"\x11\x13\x12"  # nothing, but they are no part of a line: VSTART, VSTOP, VREPRINT …
    erase: bytes = b"\x7f"
    erase_word: bytes = b"\x17"
    kill: bytes = b"\x15"
    literal: bytes = b"\x16"  # VLNEXT: what follows is text
    utf8: bool = True


class CookedLine:
    """The unfinished line of one terminal. `keys` is None wherever the terminal is not in line mode."""

    def __init__(self) -> None:
        self._kinds = bytearray()
        self._literal = False

    def __len__(self) -> int:
        return len(self._kinds)

    def longest(self, data: bytes, keys: LineKeys | None, allowed: int) -> int:
        """Return how long the longest line gets when `data` is typed; 0 if none gets longer than `allowed`."""
        if keys is None or len(self) + len(data) <= allowed:
            return 0
        if not self._literal and not _holds(data, keys.literal):
            # Nothing but these can make a line end, and nothing can make one longer.
            first, *rest = (data.replace(b"\r", b"\n") if b"\r" in keys.ends else data).split(b"\n")
            if b"\n" in keys.ends and len(self) + len(first) <= allowed and all(len(line) <= allowed for line in rest):
                return 0
        twin = CookedLine()
        twin._kinds[:], twin._literal = self._kinds, self._literal
        longest = twin._run(data, keys)
        return longest if longest > allowed else 0

    def take(self, data: bytes, keys: LineKeys | None) -> None:
        """Note what is typed."""
        if keys is None:
            self._kinds.clear()
            self._literal = False
            return
        # Nothing before a newline can matter any more.
        at = data.rfind(b"\n") if b"\n" in keys.ends else -1
        if at > 0 and not _holds(data[at - 1 : at], keys.literal):
            self._literal = False
            data = data[at:]
        self._run(data, keys)

    def _run(self, data: bytes, keys: LineKeys) -> int:
        special, kinds = _special(keys), self._kinds
        longest = at = 0
        while at < len(data):
            if self._literal:
                self._literal = False
                stop = at + 1
                kinds += data[at:stop].translate(_KINDS)
            else:
                found = special.search(data, at)
                stop = found.start() if found else len(data)
                kinds += data[at:stop].translate(_KINDS)
                longest = max(longest, len(kinds))
                if found:
                    self._act(found[0], keys)
                    stop += 1
            longest = max(longest, len(kinds))
            at = stop
        return longest

    def _act(self, byte: bytes, keys: LineKeys) -> None:
        # In the order in which n_tty_receive_char_special asks.
        if byte in keys.swallowed:
            return
        if byte in keys.flushes or byte in keys.kill or byte in keys.ends:
            self._kinds.clear()
        elif byte in keys.erase:
            self._erase_character(keys.utf8)
        elif byte in keys.erase_word:
            self._erase_word(keys.utf8)
        else:
            self._literal = True

    def _erase_character(self, utf8: bool) -> None:
        start = self._last_character(utf8)
        if start is not None:
            del self._kinds[start:]

    def _erase_word(self, utf8: bool) -> None:
        in_word = False
        while (start := self._last_character(utf8)) is not None:
            if self._kinds[start] == _WORD:
                in_word = True
            elif in_word:
                return
            del self._kinds[start:]

    def _last_character(self, utf8: bool) -> int | None:
        """Return where the last character begins; None without one, or when only a part of one is there."""
        start = len(self._kinds) - 1
        while utf8 and start >= 0 and self._kinds[start] == _CONTINUATION:
            start -= 1
        return start if start >= 0 else None


def _holds(data: bytes, wanted: bytes) -> bool:
    return bool(wanted) and wanted in data


@lru_cache(maxsize=64)
def _special(keys: LineKeys) -> re.Pattern[bytes]:
    acting = b"".join(value for name in keys.__struct_fields__ if isinstance(value := getattr(keys, name), bytes))
    return re.compile(b"[%b]" % re.escape(acting)) if acting else re.compile(rb"(?!)")
