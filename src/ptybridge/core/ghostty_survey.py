"""Find the rows libghostty's formatter does not render faithfully: see `Emulator.survey`.

Four things go wrong there: links are left out; cells that only have a background count as blank when the row has
no text; blank cells between styled ones take over the style before them; and where a line that
wrapped, or the one it wrapped into, was changed since, rows are joined or spaces added.
The library's render state hands out whole rows of cells at once; asking cell by cell costs twenty times as much.
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Any, Final, NamedTuple

from ptybridge.core.emulator import Region, Span, SpecialRow

_CELL_BYTES: Final = 8
_GAP: Final = None
_TEXT: Final = b""
_BLANK: Final = bytes(_CELL_BYTES)


class _Row(NamedTuple):
    cells: bytes
    wraps: bool
    continues: bool
    linked: bool
    styled: bool


def colored_cells(ffi: Any, lib: Any) -> bytes:
    """Return a table for `bytes.translate`: lowest byte of a cell → 1 if the cell is nothing but a background.

    The kind of a cell's content is in its lowest bits; which ones, the library is asked.
    """
    tag = ffi.new("GhosttyCellContentTag*")
    colors = {lib.GHOSTTY_CELL_CONTENT_BG_COLOR_PALETTE, lib.GHOSTTY_CELL_CONTENT_BG_COLOR_RGB}
    table = bytearray(256)
    for low in range(256):
        lib.ghostty_cell_get(low, lib.GHOSTTY_CELL_DATA_CONTENT_TAG, tag)
        table[low] = tag[0] in colors
    return bytes(table)


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


def _special(native: Any, rows: Any, first: int, region: Region) -> Iterator[SpecialRow]:
    # A row that wraps is judged when the next one is known.
    wrapped: SpecialRow | None = None
    goes_on = True
    for line, row in enumerate(_rows(native, rows), first):
        if line >= region.top + region.rows:
            break
        if line < region.top:
            continue
        if wrapped is not None and row.cells.startswith(_BLANK):
            yield wrapped
        wrapped = None
        special = _judge(native, line, row)
        torn = row.continues and not goes_on
        goes_on = row.wraps
        if special is not None:
            yield special
        elif row.wraps or torn:
            whole = SpecialRow(line=line, linked=False, spans=_spans(native, row))
            # The last cell may be the gap before a wide character; then the one before it counts.
            if torn or _BLANK in (row.cells[-_CELL_BYTES:], row.cells[-2 * _CELL_BYTES : -_CELL_BYTES]):
                yield whole
            else:
                wrapped = whole


def _judge(native: Any, line: int, row: _Row) -> SpecialRow | None:
    if row.linked or row.styled or 1 in row.cells[::_CELL_BYTES].translate(native.colored_cells):
        spans = _spans(native, row)
        if row.linked or not _one_piece(spans):
            return SpecialRow(line=line, linked=row.linked, spans=spans)
    return None


def _rows(native: Any, rows: Any) -> Iterator[_Row]:
    ffi, lib = native.ffi, native.lib
    view, raw = ffi.new("GhosttyCellsView*"), ffi.new("GhosttyRow*")
    wraps, continues, linked, styled = (ffi.new("bool*") for _ in range(4))
    while lib.ghostty_render_state_row_iterator_next(rows):
        lib.ghostty_render_state_row_get(rows, lib.GHOSTTY_RENDER_STATE_ROW_DATA_RAW, raw)
        lib.ghostty_row_get(raw[0], lib.GHOSTTY_ROW_DATA_WRAP, wraps)
        lib.ghostty_row_get(raw[0], lib.GHOSTTY_ROW_DATA_WRAP_CONTINUATION, continues)
        lib.ghostty_row_get(raw[0], lib.GHOSTTY_ROW_DATA_HYPERLINK, linked)
        lib.ghostty_row_get(raw[0], lib.GHOSTTY_ROW_DATA_STYLED, styled)
        lib.ghostty_render_state_row_get(rows, lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS_RAW, view)
        yield _Row(bytes(ffi.buffer(view.ptr, view.len * _CELL_BYTES)), wraps[0], continues[0], linked[0], styled[0])


def _one_piece(spans: list[Span]) -> bool:
    return not spans or (len(spans) == 1 and not spans[0].color)


def _spans(native: Any, row: _Row) -> list[Span]:
    """Cut a row at its blank cells, and what has no text at changes of colour.

    Colour between text stays with it, unless links are going to cut that into pieces.
    """
    kinds = list(map(_memo(partial(_kind, native)), memoryview(row.cells).cast("Q")))
    spans, left = [], 0
    for blank, run in groupby(kinds, lambda kind: kind is _GAP):
        piece = list(run)
        if blank:
            left += len(piece)
        elif _TEXT in piece and not row.linked:
            spans.append(Span(left=left, cols=len(piece)))
            left += len(piece)
        else:
            for color, same in groupby(piece):
                cols = len(list(same))
                spans.append(Span(left=left, cols=cols, color=color or _TEXT))
                left += cols
    return spans


def _memo(function: Any) -> Any:
    known: dict[int, bytes | None] = {0: _GAP}

    def look_up(cell: int) -> bytes | None:
        if cell not in known:
            known[cell] = function(cell)
        return known[cell]

    return look_up


def _kind(native: Any, cell: int) -> bytes | None:
    """Return `_TEXT`, `_GAP`, or the SGR of a cell that is nothing but a background."""
    ffi, lib = native.ffi, native.lib
    tag, text, width = ffi.new("GhosttyCellContentTag*"), ffi.new("bool*"), ffi.new("GhosttyCellWide*")
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
    lib.ghostty_cell_get(cell, lib.GHOSTTY_CELL_DATA_WIDE, width)
    return _TEXT if text[0] or width[0] == lib.GHOSTTY_CELL_WIDE_SPACER_TAIL else _GAP
