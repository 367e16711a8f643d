"""Find the rows libghostty's formatter does not render faithfully: see `Emulator.survey`.

The library's render state hands out whole rows of cells at once; asking cell by cell costs twenty times as much.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ptybridge.core.emulator import Region, SpecialRow

_CELL_BYTES = 8


def survey(native: Any, terminal: Any, history: int, region: Region) -> list[SpecialRow]:
    """Return the special rows of a region; `history` is how many lines stand above the grid."""
    ffi, lib = native.ffi, native.lib
    state, rows = ffi.new("GhosttyRenderState*"), ffi.new("GhosttyRenderStateRowIterator*")
    if lib.ghostty_render_state_new(ffi.NULL, state) != 0:
        return []
    try:
        above = max(0, history - region.top)
        overscan = ffi.new("GhosttyRenderStateOverscan*", {"above": min(above, 0xFFFF), "below": 0})
        lib.ghostty_render_state_set(state[0], lib.GHOSTTY_RENDER_STATE_OPTION_OVERSCAN, overscan)
        lib.ghostty_render_state_update(state[0], terminal)
        lib.ghostty_render_state_row_iterator_new(ffi.NULL, rows)
        lib.ghostty_render_state_get(state[0], lib.GHOSTTY_RENDER_STATE_DATA_ROW_ITERATOR, rows)
        return list(_special(native, rows[0], history - above, region))
    finally:
        if rows[0]:
            lib.ghostty_render_state_row_iterator_free(rows[0])
        lib.ghostty_render_state_free(state[0])


def _special(native: Any, rows: Any, line: int, region: Region) -> Iterator[SpecialRow]:
    ffi, lib = native.ffi, native.lib
    cells, raw, linked = ffi.new("GhosttyCellsView*"), ffi.new("GhosttyRow*"), ffi.new("bool*")
    get, more = lib.ghostty_render_state_row_get, lib.ghostty_render_state_row_iterator_next
    end = region.top + region.rows
    while line < end and more(rows):
        if line >= region.top:
            get(rows, lib.GHOSTTY_RENDER_STATE_ROW_DATA_RAW, raw)
            lib.ghostty_row_get(raw[0], lib.GHOSTTY_ROW_DATA_HYPERLINK, linked)
            get(rows, lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS_RAW, cells)
            painted = _painted(native, cells.ptr, cells.len, region)
            if linked[0] or painted:
                yield SpecialRow(line=line, linked=linked[0], painted=painted)
        line += 1


def _painted(native: Any, cells: Any, count: int, region: Region) -> bytes:
    """Return the row as coloured blanks if it has no text but colour within the region, else nothing."""
    data = bytes(native.ffi.buffer(cells, count * _CELL_BYTES))
    used = data.lstrip(b"\0")
    if not used:
        return b""
    # Nearly every row begins with text: one look suffices.
    first = (len(data) - len(used)) // _CELL_BYTES
    if _background(native, cells[first]) is None:
        return b""
    runs = [(_background(native, cell), len(list(same))) for cell, same in groupby(cells[0:count])]
    if any(color is None for color, _ in runs):
        return b""
    colors = [color for color, length in runs for _ in range(length)]
    out = []
    for color, same in groupby(colors[region.left : region.left + region.cols]):
        blanks = b" " * len(list(same))
        out.append(b"\x1b[0m%s%s\x1b[0m" % (color, blanks) if color else blanks)
    return b"".join(out).rstrip(b" ")


def _background(native: Any, cell: int) -> bytes | None:
    """Return the SGR of a cell without text, empty for no colour; None if there is text."""
    ffi, lib = native.ffi, native.lib
    tag, text = ffi.new("GhosttyCellContentTag*"), ffi.new("bool*")
    lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_CONTENT_TAG, tag)
    if tag[0] == lib.GHOSTTY_CELL_CONTENT_BG_COLOR_PALETTE:
        index = ffi.new("GhosttyColorPaletteIndex*")
        lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_COLOR_PALETTE, index)
        return b"\x1b[48;5;%dm" % index[0]
    if tag[0] == lib.GHOSTTY_CELL_CONTENT_BG_COLOR_RGB:
        rgb = ffi.new("GhosttyColorRgb*")
        lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_COLOR_RGB, rgb)
        return b"\x1b[48;2;%d;%d;%dm" % (rgb.r, rgb.g, rgb.b)
    lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_HAS_TEXT, text)
    return None if text[0] else b""
