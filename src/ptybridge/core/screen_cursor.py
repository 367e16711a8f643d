"""Where a terminal's cursors are, as sequences that put another terminal's there.

Printing the last cell of a row again is the only way to leave a terminal about to wrap. Margins move the cursor when
they are set, and origin mode counts from them; so both come before the cursor's address.
"""

import re
from typing import Final, Self

import msgspec

from ptybridge.core.emulator import CursorState, Emulator, Region

_PEN: Final = b"\x1b[0m"
_PLAIN_CHARSETS: Final = b"\x1b(B\x1b)B\x1b*B\x1b+B\x0f"


class Frame(msgspec.Struct, frozen=True):
    """What cursor addresses are relative to. `right` is the column after the last one before a line wraps."""

    sequences: bytes
    top: int
    left: int
    right: int

    @classmethod
    def of(cls, emulator: Emulator) -> Self:
        """Ask an emulator."""
        margins = emulator.extra("margins")
        rows = re.search(rb"\x1b\[(\d+);\d+r", margins)
        cols = re.search(rb"\x1b\[(\d+);(\d+)s", margins)
        origin = emulator.mode(6)
        sided = b"\x1b[?69h" if emulator.mode(69) else b""
        return cls(
            sequences=sided + margins + (b"\x1b[?6h" if origin else b""),
            top=int(rows[1]) - 1 if rows and origin else 0,
            left=int(cols[1]) - 1 if cols and origin else 0,
            right=int(cols[2]) if cols else emulator.size.cols,
        )

    def address(self, cursor: CursorState) -> bytes:
        """Return the sequence that moves the cursor there."""
        return b"\x1b[%d;%dH" % (max(0, cursor.row - self.top) + 1, max(0, cursor.col - self.left) + 1)


class Saved:
    """What DECSC keeps, as sequences; `cell` is the cell to print again so that the next character wraps."""

    def __init__(self, emulator: Emulator) -> None:
        self.cursor = emulator.cursor
        self.origin = emulator.mode(6)
        self.pen = emulator.extra("pen")
        self.charsets = emulator.extra("charsets")
        self.cell = wrapping_cell(emulator, Frame.of(emulator), self.cursor)

    @property
    def initial(self) -> bool:
        """Whether it is as on a terminal just reset."""
        at_home = self.cursor.row == self.cursor.col == 0 and not self.cursor.pending_wrap
        return at_home and not self.origin and self.pen == _PEN and not self.charsets


def saved_cursor(fork: Emulator | None) -> Saved | None:
    """Return the saved cursor of the screen a fork shows. Moves the fork's cursor there."""
    if fork is None:
        return None
    fork.write(b"\x1b8")
    return Saved(fork)


def place(saved: Saved) -> bytes:
    """Put the cursor where `saved` has it. Only while there are no margins: with them origin mode is relative."""
    origin = b"\x1b[?6h" if saved.origin else b""
    at = b"\x1b[%d;%dH" % (saved.cursor.row + 1, saved.cursor.col + 1)
    return origin + at + saved.cell + saved.pen + saved.charsets


def undo(saved: Saved) -> bytes:
    """Take back everything of `place` but the position."""
    origin = b"\x1b[?6l" if saved.origin else b""
    return origin + (_PLAIN_CHARSETS if saved.charsets else b"") + b'\x1b[0"q\x1b[0m'


def wrapping_cell(emulator: Emulator, frame: Frame, cursor: CursorState) -> bytes:
    """Return the cell to print again so that the next character wraps, after moving back if it is a wide one."""
    if not cursor.pending_wrap or cursor.col != frame.right - 1:
        return b""
    line, col = emulator.history + cursor.row, cursor.col
    wide = emulator.width_at(line, col) == "tail"
    cell = emulator.format(Region(top=line, rows=1, left=col - wide, cols=1 + wide), "vt")
    return (b"\b" if wide else b"") + (cell or b" ")
