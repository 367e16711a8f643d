"""Paint a grid into a viewer's window of another size: crop it around the cursor, or leave the rest blank."""

from ptybridge.core.emulator import Emulator, Region
from ptybridge.core.screen_rows import separate_rows
from ptybridge.model import WindowSize

# A row begins with this: it may be painted over whatever is there. Erasing comes first, because once the last
# column is written many terminals still stand on it and would erase it.
ROW_START = b"\x1b[m\x1b[K"


def window(emulator: Emulator, size: WindowSize) -> tuple[int, int]:
    """Return the row and column of the grid at the viewer's upper left corner, so that the cursor is in view.

    Rows follow the cursor one by one; columns move by half a window, so that typing does not shift each keystroke.
    """
    cursor, grid = emulator.cursor, emulator.size
    top = max(0, cursor.row - size.rows + 1)
    left = 0
    if cursor.col >= size.cols:
        step = max(1, size.cols // 2)
        left = min(((cursor.col - size.cols) // step + 1) * step, max(0, grid.cols - size.cols))
    return top, left


def render(emulator: Emulator, size: WindowSize) -> list[bytes]:
    """Return one self-contained byte string for each of the viewer's rows, to be written at its first column."""
    grid = emulator.size
    top, left = window(emulator, size)
    rows, cols = min(size.rows, grid.rows - top), min(size.cols, grid.cols - left)
    texts = separate_rows(emulator, Region(top=emulator.history + top, rows=rows, left=left, cols=cols))
    texts += [b""] * (size.rows - len(texts))
    return [ROW_START + text for text in texts]


def render_cursor(emulator: Emulator, size: WindowSize) -> tuple[int, int, bool]:
    """Return the cursor's row, column and visibility in the viewer's window."""
    cursor = emulator.cursor
    top, left = window(emulator, size)
    return cursor.row - top, min(cursor.col - left, size.cols - 1), cursor.visible
