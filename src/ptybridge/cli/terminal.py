"""The user's terminal: raw while a program of ours has it, and put back as it was whatever happens.

How it works: the termios settings are one state, the modes a program switched on in the emulator another, and both
outlive us. `RawTerminal` saves and restores the first; `RESET_SEQUENCE` undoes the second without knowing which modes
are on. Reads and writes go through a descriptor of our own: `O_NONBLOCK` belongs to the open file, which the user's
shell shares with us, and would stay behind if we were killed.
"""

import os
import select
import sys
import termios
import time
from types import TracebackType
from typing import Any, Final, Self

from ptybridge.cli.exits import EXIT_USAGE
from ptybridge.model import WindowSize

# How long leaving may wait for a terminal that takes nothing (Ctrl-S, a dead ssh) before it goes without the reset.
LEAVE_SECONDS: Final = 1.0
# One write's size when the terminal cannot be opened anew and its descriptor blocks: small, so that it rarely does.
BLOCKING_WRITE_BYTES: Final = 1024
MAX_SIDE: Final = 10_000  # the contract's largest rows and cols
FALLBACK_SIZE: Final = WindowSize(rows=24, cols=80)

SAVE_CURSOR: Final = b"\x1b7"
RESTORE_CURSOR: Final = b"\x1b8"
PUSH_TITLE: Final = b"\x1b[22;0t"
POP_TITLE: Final = b"\x1b[23;0t"
# A row beyond every terminal is its last one; origin mode must be off for it to be a row of the screen.
BOTTOM_LINE: Final = b"\x1b[?6l\x1b[9999;1H"

_MODES_OFF: Final = b"".join(
    b"\x1b[?%dl" % mode
    for mode in (
        2026,  # synchronized update: first, or the terminal shows none of the rest
        9, 1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016,  # mouse tracking and its encodings
        1004,  # focus reports
        2004,  # bracketed paste
        2031, 2048,  # colour scheme and in-band size reports
        1,  # application cursor keys
        5,  # reverse video
        45,  # reverse wrap-around
        69,  # left and right margins
    )
)  # fmt: skip

# How it works: CAN and ST end whatever sequence the output was cut in. Leaving the alternate screen (1049) restores the
# cursor saved on entering it, in some terminals also when it is not showing. Entering it first saves the cursor then,
# and does nothing where it is showing: so the primary screen's cursor ends where it should either way. The modes whose
# reset moves the cursor (scroll region, origin, and kitty's pop where `CSI u` is taken for "restore cursor") stand
# between a save and a restore.
RESET_PICTURE: Final = (
    b"\x18\x1b\\"
    + _MODES_OFF
    + b"\x1b[?1049h\x1b[=0;1u\x1b[<99u"  # kitty keyboard of the alternate screen, which has a stack of its own
    + b"\x1b[?1049l\x1b[?1047l\x1b[?47l"
    + SAVE_CURSOR
    + b"\x1b[=0;1u\x1b[<99u\x1b[>4;0m"  # … of the primary one, and xterm's modifyOtherKeys
    + b"\x1b[?6l\x1b[r"
    + RESTORE_CURSOR
    + b"\x1b>\x1b[4l\x1b[20l\x1b[?7h"  # numeric keypad, no insert, line feed stays one, autowrap
    + b"\x0f\x1b(B\x1b)B\x1b]8;;\x1b\\\x1b[0m"  # charsets, an open hyperlink, colours
    + b"\x1b[?25h\x1b[0 q"
)
# What distorts drawing, without the modes that shape input: for pictures painted by position.
RESET_DRAWING: Final = (
    b"\x18\x1b\\"
    + SAVE_CURSOR
    + b"\x1b[?69l\x1b[?6l\x1b[r"
    + RESTORE_CURSOR
    + (b"\x1b[4l\x0f\x1b(B\x1b)B\x1b]8;;\x1b\\\x1b[0m")
)
# For a terminal that is given back: also the title it had before.
RESET_SEQUENCE: Final = RESET_PICTURE + POP_TITLE


def window_size(fd: int = 1) -> WindowSize:
    """Return the size of the terminal at `fd`, within what the contract allows; 24×80 where it has none (0×0)."""
    try:
        cols, rows = os.get_terminal_size(fd)
    except OSError:
        return FALLBACK_SIZE
    if rows < 1 or cols < 1:
        return FALLBACK_SIZE
    return WindowSize(rows=min(rows, MAX_SIDE), cols=min(cols, MAX_SIDE))


def reset(fd: int | None = None) -> int:
    """Give a terminal back after a client was killed: modes, screen and line discipline. For `ptybridge reset`.

    Returns 0, or 2 where standard output (or `fd`) is no terminal.
    """
    out_fd = 1 if fd is None else fd
    if not os.isatty(out_fd):
        print("ptybridge: reset: standard output is not a terminal", file=sys.stderr)
        return EXIT_USAGE
    with RawTerminal(out_fd, out_fd) as terminal:
        terminal.settings = _sane(terminal.settings)
        # To the bottom: the cursor may stand anywhere in the picture that is left over.
        terminal.leave(BOTTOM_LINE + b"\r\n")
    return 0


class RawTerminal:
    """A terminal in raw mode for the length of a `with`, read and written without blocking.

    `in_fd` may be no terminal (input from a pipe); then only its bytes are used. `write` may take less than it is
    given. `leave` and `enter` may be called in between, to suspend and come back.
    """

    def __init__(self, in_fd: int = 0, out_fd: int = 1) -> None:
        self.in_fd, self.out_fd = in_fd, out_fd
        self._tty = in_fd if os.isatty(in_fd) else out_fd
        self._opened: list[int] = []
        self._blocking = False
        self.raw = False
        self.interactive = os.isatty(in_fd)
        # Read here, not in `__enter__`: there is nothing to undo yet if this is no terminal.
        self.settings = termios.tcgetattr(self._tty)

    def __enter__(self) -> Self:
        self.out_fd = self._reopen(self.out_fd)
        if self.interactive:
            self.in_fd = self._reopen(self.in_fd)
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.leave(BOTTOM_LINE + b"\r\n")
        finally:
            for fd in self._opened:
                os.close(fd)
            self._opened.clear()

    def enter(self) -> None:
        """Switch to raw mode. What was typed ahead is kept and becomes input."""
        self.raw = True  # before: if we are interrupted in between, restoring once too often is harmless
        termios.tcsetattr(self._tty, termios.TCSANOW, _raw(self.settings))

    def leave(self, placing: bytes = b"", *, flush: bool = True) -> None:
        """Reset the terminal and restore its settings; `placing` then moves the cursor. Safe to call twice.

        `flush` discards unread input: reports of a mouse or answers to queries would be typed into the user's shell.
        Never raises for a terminal that is gone.
        """
        if not self.raw:
            return
        self.show(RESET_SEQUENCE + placing)
        try:
            # Not TCSAFLUSH: it waits for output to drain, for ever on a terminal that was stopped with Ctrl-S.
            termios.tcsetattr(self._tty, termios.TCSANOW, self.settings)
            if flush:
                termios.tcflush(self._tty, termios.TCIFLUSH)
        except termios.error:
            pass  # the terminal is gone, and its settings with it
        self.raw = False

    def show(self, data: bytes) -> None:
        """Write all of `data`, raw mode or not, waiting at most `LEAVE_SECONDS` for a terminal that is stopped."""
        deadline = time.monotonic() + LEAVE_SECONDS
        rest = memoryview(data)
        try:
            while rest:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self.out_fd], [], left)[1]:
                    return
                rest = rest[self.write(rest) :]
        except OSError:
            pass  # the terminal is gone: nothing is left to restore

    def show_line(self, text: str) -> None:
        """Write a line for the user, after `leave`."""
        self.show(text.encode(sys.stdout.encoding or "ascii", "replace") + b"\n")

    def read(self, limit: int) -> bytes | None:
        """Return what was typed, b"" at the end (hung up), None when there is nothing now."""
        try:
            return os.read(self.in_fd, limit)
        except BlockingIOError:
            return None
        except OSError:
            return b""  # EIO: the terminal hung up, tty(4)

    def write(self, data: bytes | memoryview) -> int:
        """Write as much as the terminal takes now. Raises OSError when it is gone."""
        try:
            return os.write(self.out_fd, data[:BLOCKING_WRITE_BYTES] if self._blocking else data)
        except BlockingIOError:
            return 0

    def _reopen(self, fd: int) -> int:
        try:
            own = os.open(os.ttyname(fd), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # Another user's terminal (after su), or one of another mount namespace.
            self._blocking = True
            return fd
        self._opened.append(own)
        return own


_Settings = list[Any]  # what tcgetattr gives: four masks of flags, two speeds, the control characters


def _raw(settings: _Settings) -> _Settings:
    iflag, oflag, cflag, lflag, ispeed, ospeed, chars = settings
    iflag &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
        | termios.ICRNL | termios.IXON
    )  # fmt: skip
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    chars = list(chars)
    chars[termios.VMIN], chars[termios.VTIME] = 1, 0
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    return [iflag, oflag & ~termios.OPOST, cflag, lflag, ispeed, ospeed, chars]


def _sane(settings: _Settings) -> _Settings:
    """Return what `stty sane` would set, keeping the user's speeds and control characters."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, chars = settings
    iflag = iflag & ~(termios.INLCR | termios.IGNCR) | termios.BRKINT | termios.ICRNL | termios.IXON
    lflag |= termios.ECHO | termios.ECHOE | termios.ECHOK | termios.ICANON | termios.ISIG | termios.IEXTEN
    return [iflag, oflag | termios.OPOST | termios.ONLCR, cflag, lflag, ispeed, ospeed, chars]
