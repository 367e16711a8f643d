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

import msgspec

from ptybridge.core.emulator import Emulator
from ptybridge.core.links import allowed_opening
from ptybridge.core.screen_cursor import Frame, Saved, place, saved_cursor, undo, wrapping_cell
from ptybridge.core.screen_rows import joined_rows, last_shown, whole_rows
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
# An operating system command nobody knows: swallows the rest of a string too long to be replayed.
_UNKNOWN_COMMAND: Final = b"\x1b]7777;"
# Larger ones (a primary screen with its scrollback) are not worth keeping.
_KEPT_BYTES: Final = 16 << 10


class State(msgspec.Struct, frozen=True):
    """All of a snapshot that only control sequences change: what stands before and after the active screen's cells.

    `limit` is the number of scrollback lines it was made for. One that is not `lasting` is good for one snapshot.
    """

    limit: int | None
    alternate: bool
    before: bytes
    after: bytes
    frame: Frame
    finish: bytes
    lasting: bool


def compose(emulator: Emulator, state: State) -> bytes:
    """Return the snapshot; `state` was gathered at most plain text ago."""
    cursor, cells = emulator.cursor, _cells(emulator, 0 if state.alternate else state.limit)
    at, cell = state.frame.address(cursor), wrapping_cell(emulator, state.frame, cursor)
    return b"".join((state.before, cells, state.after, at, cell, state.finish, _unfinished(emulator)))


def gather(emulator: Emulator, limit: int | None) -> State:
    """Ask for everything but the active screen's cells and cursor; at most `limit` lines of scrollback (None: all)."""
    fork = emulator.fork(whole=emulator.alternate)
    try:
        return _gather(emulator, fork, limit)
    finally:
        if fork is not None:
            fork.close()


def _gather(emulator: Emulator, fork: Emulator | None, limit: int | None) -> State:
    # Grapheme clusters decide how wide what follows is.
    before = b"\x1b[?2027h" if emulator.mode(2027) else b""
    shape, keyboard, saved = _cursor_shape(fork), _keyboard(fork), saved_cursor(fork)
    alternate = emulator.alternate
    if alternate:
        before += _behind(emulator, fork, limit)
    frame = Frame.of(emulator)
    after = (_save(saved), _labels(emulator), emulator.colors(), _modes(emulator), shape, keyboard, frame.sequences)
    return State(
        limit=limit,
        alternate=alternate,
        before=before,
        after=b"".join(after),
        frame=frame,
        finish=_finish(emulator),
        # The saved cursor's cell may be printed over, and text may end a sequence in progress.
        lasting=len(before) <= _KEPT_BYTES and not (saved and saved.cell) and emulator.unfinished() == b"",
    )


def _behind(emulator: Emulator, fork: Emulator | None, limit: int | None) -> bytes:
    """Return the primary screen and the switch to the alternate one. Leaves the fork on the primary screen."""
    switch = next((mode for mode in _ALTERNATE if emulator.mode(mode)), 1049)
    if fork is None:
        return b"\x1b[?%dh\x1b[H\x1b[J" % switch
    fork.write(b"\x1b[?47l")
    keyboard, cells = _keyboard(fork), _cells(fork, limit)
    fork.write(b"\x1b8")
    below = Saved(fork)
    # 1049 saves the cursor by itself. The alternate screen begins with the pen of the primary one.
    save = b"" if switch == 1049 else b"\x1b7"
    return b"".join((cells, keyboard, place(below), save, b"\x1b[?%dh" % switch, undo(below), b"\x1b[H\x1b[J"))


# -- cells --------------------------------------------------------------------------------------------------


def _cells(emulator: Emulator, limit: int | None) -> bytes:
    """Return at most `limit` lines of scrollback (None: all), scrolled out, and the grid."""
    end = emulator.history
    top = 0 if limit is None else end - min(end, max(0, limit))
    # The line that goes on from scrollback into the grid must be printed in one go, to be one line there as well.
    joint = end
    while joint > top and emulator.wraps(joint - 1):
        joint -= 1
    return _scrolled_out(emulator, top, joint) + _grid(emulator, joint)


def _scrolled_out(emulator: Emulator, top: int, end: int) -> bytes:
    if top == end:
        return b""
    rows = emulator.size.rows
    survey = emulator.survey(whole_rows(emulator, top, end))
    text, blank = joined_rows(emulator, top, survey), end - 1 - last_shown(emulator, top, survey)
    # However the other terminal measured these lines, scrolling one screenful from the last row takes them all out.
    return b"%s%s\x1b[%d;1H%s\x1b[H\x1b[J" % (text, b"\r\n" * blank, rows, b"\n" * min(end - top, rows))


def _grid(emulator: Emulator, top: int) -> bytes:
    """Return the lines from `top` on, of which those above the grid scroll out."""
    rows, end = emulator.size.rows, emulator.history + emulator.size.rows
    survey = emulator.survey(whole_rows(emulator, top, end))
    text = joined_rows(emulator, top, survey)
    used, above = last_shown(emulator, top, survey) + 1 - top, emulator.history - top
    left = above - max(0, used - rows)
    return text + (b"\x1b[%d;1H%s" % (rows, b"\n" * left) if left else b"")


# -- the rest -----------------------------------------------------------------------------------------------


def _save(saved: Saved | None) -> bytes:
    if saved is None or saved.initial:
        return b""
    return place(saved) + b"\x1b7" + undo(saved)


def _finish(emulator: Emulator) -> bytes:
    """Return what would affect the printing of everything before."""
    insert = b"\x1b[4h" if emulator.mode(4, ansi=True) else b""
    wrap = b"" if emulator.mode(7) else b"\x1b[?7l"
    link = allowed_opening(emulator.extra("link"))
    return b"".join((emulator.extra("pen"), link, emulator.extra("charsets"), insert, wrap))


def _cursor_shape(fork: Emulator | None) -> bytes:
    if fork is None:
        return b""
    style = re.fullmatch(rb"\x1bP1\$r(\d) q\x1b\\", fork.ask(b"\x1bP$q q\x1b\\"))
    if style is None or style[1] == _DEFAULT_STYLE:
        return b""
    return b"\x1b[?12h" if style[1] == _DEFAULT_BLINKING else b"\x1b[%s q" % style[1]


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
