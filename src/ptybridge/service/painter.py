"""Paints a session's screen into a window of another size: only the rows that changed since the last picture."""

from ptybridge.core.emulator import ScreenModes
from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

# Synchronized output (mode 2026) lets a terminal show the picture at once; those that do not know it ignore it.
_BEGIN = b"\x1b[?2026h\x1b[?25l"
_END = b"\x1b[?2026l"
_RESET = b"\x1b[0m\x1b[?1049h\x1b[?7l\x1b[H\x1b[2J"


class Painter:
    """Remembers what one viewer shows."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shown: list[bytes] | None = None
        self._size: WindowSize | None = None
        self._cursor: tuple[int, int, bool] | None = None
        self._modes: ScreenModes | None = None

    def forget(self) -> None:
        """Paint everything next time."""
        self._shown = None
        self._modes = None

    def paint(self, size: WindowSize) -> tuple[int, bytes]:
        """Return the offset the picture belongs to and the bytes that bring the viewer up to it, maybe none."""
        offset = self._screen.offset
        rows = self._screen.render(size)
        cursor = self._screen.render_cursor(size)
        modes = self._screen.modes
        parts: list[bytes] = []
        if self._shown is None or self._size != size:
            parts.append(_RESET)
            self._shown = None
        if modes != self._modes:
            parts.append(_input_modes(modes, self._modes))
            self._modes = modes
        for at, row in enumerate(rows):
            if self._shown is None or self._shown[at] != row:
                parts.append(b"\x1b[%d;1H%b\x1b[0m" % (at + 1, row))
        if not parts and cursor == self._cursor:
            return offset, b""
        self._shown, self._size, self._cursor = rows, size, cursor
        at_row, at_col, visible = cursor
        place = b"\x1b[%d;%dH" % (at_row + 1, at_col + 1)
        return offset, b"".join((_BEGIN, *parts, place, b"\x1b[?25h" if visible else b"", _END))


def _input_modes(modes: ScreenModes, before: ScreenModes | None) -> bytes:
    """Let the viewer's keyboard send what the program expects: xterm ctlseqs DECCKM, DECKPAM, 2004; kitty's flags.

    The mouse stays the viewer's own: its places in a cropped picture are not the program's.
    """
    parts = [
        b"\x1b[?1h" if modes.application_cursor else b"\x1b[?1l",
        b"\x1b=" if modes.application_keypad else b"\x1b>",
        b"\x1b[?2004h" if modes.bracketed_paste else b"\x1b[?2004l",
    ]
    if modes.kitty_flags != (before.kitty_flags if before is not None else 0):
        parts.append(b"\x1b[=%d;1u" % modes.kitty_flags)
    return b"".join(parts)
