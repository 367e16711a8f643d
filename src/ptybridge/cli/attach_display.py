"""What an attachment shows: output on its way to the user's terminal, at most so much of it, and overlays of our own.

How it works: bytes wait here until the terminal takes them. What has been written is told the daemon by offset, so
that it knows how far behind we are; when `full`, the socket is not read and the rest stays in the
transcript.
"""

import sys
from collections import deque
from typing import Final, NamedTuple

from ptybridge.cli.terminal import (
    BOTTOM_LINE,
    PUSH_TITLE,
    RESET_DRAWING,
    RESET_PICTURE,
    RESTORE_CURSOR,
    SAVE_CURSOR,
    RawTerminal,
    window_size,
)
from ptybridge.model import WindowSize

PENDING_LIMIT_BYTES: Final = 1024 * 1024
# One write to a terminal: its driver takes 4 KiB at a time anyway, and a signal is noticed in between.
WRITE_BYTES: Final = 64 * 1024
ACK_BYTES: Final = 64 * 1024
ACK_SECONDS: Final = 0.05
BELL: Final = b"\x07"


class _Piece(NamedTuple):
    """Bytes for the terminal; `offset` lies behind them, `size` is that of the window they must be drawn in."""

    data: memoryview
    offset: int | None
    size: WindowSize | None


class Display:
    """The user's terminal as the target of output.

    `received` is the offset behind the last byte that came in, None when only a picture will do. `misdrawn` says that
    the last snapshot was made for a window of another size than it was drawn in: the cursor may stand in another line
    than the daemon believes.
    """

    def __init__(self, terminal: RawTerminal) -> None:
        self._terminal = terminal
        self._pending: deque[_Piece] = deque()
        self.pending_bytes = 0
        self.received: int | None = None
        self.rendered = False
        self.misdrawn = False
        self._written: int | None = None
        self._acked: int | None = None
        self._ack_at = 0.0

    @property
    def pending(self) -> bool:
        """Whether anything waits for the terminal."""
        return bool(self._pending)

    @property
    def full(self) -> bool:
        """Whether no more should be read from the daemon."""
        return self.pending_bytes >= PENDING_LIMIT_BYTES

    # -- what comes in --------------------------------------------------------------------------------------

    def output(self, offset: int, data: bytes) -> None:
        """Show raw output; `offset` is that of its first byte."""
        self.received = offset + len(data)
        self._add(data, self.received)

    def snapshot(self, offset: int, size: WindowSize, data: bytes, made_for: WindowSize) -> None:
        """Replace the picture in a window of `size` by one that was `made_for` a window of, normally, the same size.

        Erases line by line: many terminals scroll a cleared screen into their history.
        """
        erased = b"".join(b"\x1b[%d;1H\x1b[2K" % row for row in range(1, size.rows + 1))
        self.misdrawn = False
        self._add(RESET_PICTURE + erased + b"\x1b[H", size=made_for)
        self.received = offset
        self._add(data, offset, made_for)

    def painted(self, offset: int, data: bytes) -> None:
        """Show a picture the daemon cropped for us."""
        self.received = offset
        self._add(data, offset)

    def resized(self, rendered: bool) -> None:
        """Prepare for pictures of a session of another size, or for raw output again (a snapshot follows)."""
        if rendered and not self.rendered:
            self._add(RESET_DRAWING)
        self.rendered = rendered
        if rendered:
            self.misdrawn = False  # such pictures fit our window, and a snapshot ends them

    # -- our own ------------------------------------------------------------------------------------------

    def begin(self, size: WindowSize, hint: str) -> None:
        """Scroll what the user's screen shows up into the terminal's history, below it a line of our own."""
        self.begin_inline(hint)
        # From just below the used lines this many line feeds scroll exactly those out, and no blank ones.
        self._add(b"\x1b[J" + b"\n" * (size.rows - 1) + b"\x1b[H")

    def begin_inline(self, hint: str) -> None:
        """Go on where the cursor is, as any command does, below a line of our own."""
        self._add(PUSH_TITLE + _encode(hint and hint + "\r\n"))

    def status(self, text: str) -> None:
        """Write over the last line. It breaks the picture there, so a redraw must follow."""
        line = b"\x18\x1b\\\x1b[0;7m\x1b[2K" + _encode(text)
        self._add(SAVE_CURSOR + BOTTOM_LINE + line + b"\x1b[0m" + RESTORE_CURSOR)

    def clear_status(self) -> None:
        """Erase the last line."""
        self._add(SAVE_CURSOR + BOTTOM_LINE + b"\x1b[0m\x1b[2K" + RESTORE_CURSOR)

    def overlay(self, lines: list[str]) -> None:
        """Write lines over the top left corner. A redraw must follow."""
        text = b"".join(b"\x1b[%d;1H\x1b[0;7m %s \x1b[0m" % (row, _encode(line)) for row, line in enumerate(lines, 1))
        # Without the modes, or the mouse would send reports that look like keys.
        self._add(RESET_PICTURE + b"\x1b[?7l\x1b[?25l" + text + b"\x1b[?7h")

    def bell(self) -> None:
        """Ring, at once."""
        self._add(BELL)

    # -- on its way -----------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Write what the terminal takes now; False when it is gone."""
        while self._pending:
            data, offset, size = self._pending[0]
            self._look(size)
            try:
                count = self._terminal.write(data[:WRITE_BYTES])
            except OSError:
                return False
            self.pending_bytes -= count
            self._look(size)
            if count < len(data):
                self._pending[0] = _Piece(data[count:], offset, size)
                return True
            self._pending.popleft()
            if offset is not None:
                self._written = offset
        return True

    def _look(self, made_for: WindowSize | None) -> None:
        """Note a window that is not what the piece that goes out was made for."""
        if made_for is not None and made_for != window_size(self._terminal.out_fd):
            self.misdrawn = True

    def forget(self) -> None:
        """Drop what has not been written: the terminal is given away, and a new picture will come."""
        self._pending.clear()
        self.pending_bytes = 0
        self.rendered = False

    def attached(self, *, anew: bool) -> None:
        """Begin to acknowledge to a new connection, which has heard nothing yet. `anew`: a picture will come."""
        self._acked = None
        if anew:
            self.misdrawn = False

    def ack_seconds(self, now: float) -> float | None:
        """Return in how many seconds an acknowledgement is due; None while there is nothing to acknowledge."""
        if self._written is None or self._written == self._acked:
            return None
        if self._acked is None or self._written - self._acked >= ACK_BYTES:
            return 0.0
        if not self._ack_at:
            self._ack_at = now + ACK_SECONDS
        return max(0.0, self._ack_at - now)

    def acknowledge(self) -> int:
        """Return the offset to acknowledge."""
        assert self._written is not None
        self._acked, self._ack_at = self._written, 0.0
        return self._written

    def _add(self, data: bytes, offset: int | None = None, size: WindowSize | None = None) -> None:
        self._pending.append(_Piece(memoryview(data), offset, size))
        self.pending_bytes += len(data)


def _encode(text: str) -> bytes:
    return text.encode(sys.stdout.encoding or "ascii", "replace")
