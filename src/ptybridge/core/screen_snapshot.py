"""Write a terminal's state as bytes that recreate it on another terminal of the same size that was just reset.

How it works. The bytes are, in this order:
  1. scrollback, scrolled up and out of the grid, so that it lands in the other terminal's own scrollback;
  2. the primary screen's cells, and its saved cursor (DECSC);
  3. if the alternate screen is showing: the switch, made with the same mode the program used, and its cells;
  4. modes, title, margins, tab stops; then the cursor, because margins and origin mode move it; then the pen;
  5. the beginning of a sequence or character that was cut: what follows in the transcript completes it.
What cannot be asked of an emulator without disturbing it (the saved cursor, the primary screen behind the
alternate one, the stack of keyboard flags) is asked of a fork.
"""

import re
from typing import Final

from ptybridge.core.emulator import CursorState, Emulator, Region
from ptybridge.core.screen_rows import joined_rows
from ptybridge.text import printable

# Modes that are off on a terminal just reset, and on.
_OFF: Final = (1, 5, 9, 45, 67, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1039, 1045, 2004, 2031, 2048)
_ON: Final = (25, 1007, 1035, 1036)
# The switches to the alternate screen, the one programs use first.
_ALTERNATE: Final = (1049, 1047, 47)
_KITTY_STACK: Final = 8
# PATH_MAX; a longer one is not a directory.
_MAX_DIRECTORY: Final = 4096
# What steady underline, our default, and its blinking form are called in DECSCUSR.
_DEFAULT_STYLE: Final = b"4"
_DEFAULT_BLINKING: Final = b"3"
_PEN: Final = b"\x1b[0m"
_PLAIN_CHARSETS: Final = b"\x1b(B\x1b)B\x1b*B\x1b+B\x0f"
# An operating system command nobody knows: swallows the rest of a string too long to be replayed.
_UNKNOWN_COMMAND: Final = b"\x1b]7777;"


def compose(emulator: Emulator, scrollback_lines: int | None = None) -> bytes:
    """Return the snapshot with at most `scrollback_lines` lines above the grid (None: all)."""
    fork = emulator.fork()
    try:
        return b"".join(_compose(emulator, fork, scrollback_lines))
    finally:
        if fork is not None:
            fork.close()


def _compose(emulator: Emulator, fork: Emulator | None, scrollback_lines: int | None) -> list[bytes]:
    out: list[bytes] = []
    if emulator.mode(2027):
        out.append(b"\x1b[?2027h")  # grapheme clusters: decides how wide what follows is
    shape = _cursor_shape(fork)
    keyboard = _keyboard(fork)
    saved = _saved_cursor(fork)
    if not emulator.alternate:
        out += [_history(emulator, scrollback_lines), _grid(emulator), _save(saved)]
    else:
        switch = next((mode for mode in _ALTERNATE if emulator.mode(mode)), 1049)
        undo = b""
        if fork is not None:
            fork.write(b"\x1b[?47l")
            behind = _keyboard(fork)
            out += [_history(fork, scrollback_lines), _grid(fork)]
            fork.write(b"\x1b8")
            below = _Saved(fork)
            # 1049 saves the cursor by itself.
            out += [behind, _place(below), b"" if switch == 1049 else b"\x1b7"]
            # The alternate screen begins with the pen of the primary one.
            undo = _undo(below)
        out += [b"\x1b[?%dh%s\x1b[H\x1b[J" % (switch, undo), _grid(emulator), _save(saved)]
    out += [_labels(emulator), emulator.colors(), _modes(emulator), shape, keyboard]
    out += [_cursor(emulator), _unfinished(emulator)]
    return out


# -- cells --------------------------------------------------------------------------------------------------


def _history(emulator: Emulator, limit: int | None) -> bytes:
    rows, end = emulator.size.rows, emulator.history
    count = end if limit is None else min(end, max(0, limit))
    if count == 0:
        return b""
    text, blank = joined_rows(emulator, end - count, end)
    # However the other terminal measured these lines, scrolling one screenful from the last row takes them all out.
    return b"%s%s\x1b[%d;1H%s\x1b[H\x1b[J" % (text, b"\r\n" * blank, rows, b"\n" * min(count, rows))


def _grid(emulator: Emulator) -> bytes:
    top = emulator.history
    return joined_rows(emulator, top, top + emulator.size.rows)[0]


# -- cursors ------------------------------------------------------------------------------------------------


class _Saved:
    """What DECSC keeps, as sequences; `cell` is the cell to print again so that the next character wraps."""

    def __init__(self, emulator: Emulator) -> None:
        self.cursor = emulator.cursor
        self.origin = emulator.mode(6)
        self.pen = emulator.extra("pen")
        self.charsets = emulator.extra("charsets")
        self.cell = _wrapping_cell(emulator, self.cursor)

    @property
    def initial(self) -> bool:
        at_home = self.cursor.row == self.cursor.col == 0 and not self.cursor.pending_wrap
        return at_home and not self.origin and self.pen == _PEN and not self.charsets


def _saved_cursor(fork: Emulator | None) -> _Saved | None:
    if fork is None:
        return None
    fork.write(b"\x1b8")
    return _Saved(fork)


def _place(saved: _Saved) -> bytes:
    """Put the cursor where `saved` has it. Only while there are no margins: with them origin mode is relative."""
    origin = b"\x1b[?6h" if saved.origin else b""
    at = b"\x1b[%d;%dH" % (saved.cursor.row + 1, saved.cursor.col + 1)
    return origin + at + saved.cell + saved.pen + saved.charsets


def _save(saved: _Saved | None) -> bytes:
    if saved is None or saved.initial:
        return b""
    return _place(saved) + b"\x1b7" + _undo(saved)


def _undo(saved: _Saved) -> bytes:
    origin = b"\x1b[?6l" if saved.origin else b""
    return origin + (_PLAIN_CHARSETS if saved.charsets else b"") + b'\x1b[0"q\x1b[0m'


def _wrapping_cell(emulator: Emulator, cursor: CursorState) -> bytes:
    """Return the cell to print again so that the next character wraps, after moving back if it is a wide one."""
    margin = re.search(rb"\x1b\[\d+;(\d+)s", emulator.extra("margins"))
    edge = int(margin[1]) if margin else emulator.size.cols
    if not cursor.pending_wrap or cursor.col != edge - 1:
        return b""
    line, col = emulator.history + cursor.row, cursor.col
    wide = emulator.width_at(line, col) == "tail"
    cell = emulator.format(Region(top=line, rows=1, left=col - wide, cols=1 + wide), "vt")
    return (b"\b" if wide else b"") + (cell or b" ")


def _cursor(emulator: Emulator) -> bytes:
    cursor, origin = emulator.cursor, emulator.mode(6)
    margins = emulator.extra("margins")
    row, col = cursor.row, cursor.col
    at = b""
    if origin:
        if match := re.search(rb"\x1b\[(\d+);\d+r", margins):
            row = max(0, row - int(match[1]) + 1)
        if match := re.search(rb"\x1b\[(\d+);\d+s", margins):
            col = max(0, col - int(match[1]) + 1)
        at = b"\x1b[?6h"
    return b"".join(
        (
            b"\x1b[?69h" if emulator.mode(69) else b"",
            margins,
            at,
            b"\x1b[%d;%dH" % (row + 1, col + 1),
            _wrapping_cell(emulator, cursor),
            emulator.extra("pen"),
            emulator.extra("link"),
            emulator.extra("charsets"),
            b"\x1b[4h" if emulator.mode(4, ansi=True) else b"",
            b"" if emulator.mode(7) else b"\x1b[?7l",
        )
    )


def _cursor_shape(fork: Emulator | None) -> bytes:
    if fork is None:
        return b""
    style = re.fullmatch(rb"\x1bP1\$r(\d) q\x1b\\", fork.ask(b"\x1bP$q q\x1b\\"))
    if style is None or style[1] == _DEFAULT_STYLE:
        return b""
    return b"\x1b[?12h" if style[1] == _DEFAULT_BLINKING else b"\x1b[%s q" % style[1]


# -- the rest -----------------------------------------------------------------------------------------------


def _modes(emulator: Emulator) -> bytes:
    out = [b"\x1b[?%dh" % mode for mode in _OFF if emulator.mode(mode)]
    out += [b"\x1b[?%dl" % mode for mode in _ON if not emulator.mode(mode)]
    if emulator.mode(20, ansi=True):
        out.append(b"\x1b[20h")
    if emulator.mode(66):
        out.append(b"\x1b=")
    tabstops = emulator.extra("tabstops")
    if tabstops != _default_tabstops(emulator.size.cols):
        out.append(tabstops)
    out.append(emulator.extra("keyboard"))
    return b"".join(out)


def _default_tabstops(cols: int) -> bytes:
    return b"\x1b[3g%s\x1b[H" % b"".join(b"\x1b[%dG\x1bH" % (col + 1) for col in range(8, cols, 8))


def _keyboard(fork: Emulator | None) -> bytes:
    """Return what rebuilds the stack of kitty keyboard flags. Empties the fork's."""
    if fork is None:
        return b""
    levels = []
    for _ in range(_KITTY_STACK):
        levels.append(fork.kitty_flags)
        fork.write(b"\x1b[<u")
    while levels and not levels[-1]:
        levels.pop()
    return b"".join(b"\x1b[>%du" % flags for flags in reversed(levels))


def _labels(emulator: Emulator) -> bytes:
    out = b""
    if title := printable(emulator.title):
        out += b"\x1b]2;%s\x1b\\" % title.encode()
    directory = printable(emulator.directory, _MAX_DIRECTORY + 1)
    if 0 < len(directory) <= _MAX_DIRECTORY:
        out += b"\x1b]7;%s\x1b\\" % directory.encode()
    return out


def _unfinished(emulator: Emulator) -> bytes:
    pending = emulator.unfinished()
    return _UNKNOWN_COMMAND if pending is None else pending
