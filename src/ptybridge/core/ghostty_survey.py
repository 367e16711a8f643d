"""Find the rows libghostty's formatter does not render faithfully: see `Emulator.survey`.

Four things go wrong there: links are left out; cells that only have a background count as blank when the row has
no text; blank cells between styled ones take over the style before them; and where a line that
wrapped, or the one it wrapped into, was changed since, rows are joined or spaces added.
The library's render state hands out whole rows of cells at once; asking cell by cell costs twenty times as much.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from typing import Any, Final, NamedTuple, Self

from ptybridge.core.emulator import Region, Span, SpecialRow, Survey

_CELL_BYTES: Final = 8
_GAP: Final = None
_TEXT: Final = b""
_BLANK: Final = bytes(_CELL_BYTES)
_KindOf = Callable[[int], bytes | None]


class RowFlags(NamedTuple):
    """The bits of a row's value that say something about it."""

    wraps: int
    continues: int
    linked: int
    styled: int


class _Row(NamedTuple):
    line: int
    cells: bytes
    wraps: bool
    continues: bool
    # It goes on from a row that says it does not wrap.
    torn: bool
    linked: bool
    styled: bool

    @classmethod
    def of(cls, line: int, bits: int, cells: bytes, flags: RowFlags, *, goes_on: bool) -> Self:
        return cls(
            line=line,
            cells=cells,
            wraps=bits & flags.wraps != 0,
            continues=bits & flags.continues != 0,
            torn=bits & flags.continues != 0 and not goes_on,
            linked=bits & flags.linked != 0,
            styled=bits & flags.styled != 0,
        )


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


def flag_masks(ffi: Any, lib: Any) -> RowFlags:
    """Return which bits of a row's value are its flags, again by asking: calling for each costs more than the rest."""
    out = ffi.new("bool*")

    def mask(flag: int) -> int:
        found = 0
        for bit in range(64):
            lib.ghostty_row_get(1 << bit, flag, out)
            found |= out[0] << bit
        return found

    return RowFlags(
        wraps=mask(lib.GHOSTTY_ROW_DATA_WRAP),
        continues=mask(lib.GHOSTTY_ROW_DATA_WRAP_CONTINUATION),
        linked=mask(lib.GHOSTTY_ROW_DATA_HYPERLINK),
        styled=mask(lib.GHOSTTY_ROW_DATA_STYLED),
    )


def is_gap(native: Any, cell: int) -> bool:
    """Return whether a cell has neither text nor a background."""
    return _kind(native, cell) is _GAP


def survey(native: Any, terminal: Any, history: int, region: Region, filled: Callable[[int], bool]) -> Survey:
    """Judge the rows of a region.

    `history` is how many lines stand above the grid; `filled` tells whether a line begins with text on a background.
    """
    ffi, lib = native.ffi, native.lib
    state, rows = ffi.new("GhosttyRenderState*"), ffi.new("GhosttyRenderStateRowIterator*")
    if lib.ghostty_render_state_new(ffi.NULL, state) != 0:
        return Survey(special=[], last=region.top + region.rows - 1)
    try:
        above = max(0, history - region.top)
        if above:
            overscan = ffi.new("GhosttyRenderStateOverscan*", {"above": min(above, 0xFFFF), "below": 0})
            lib.ghostty_render_state_set(state[0], lib.GHOSTTY_RENDER_STATE_OPTION_OVERSCAN, overscan)
        lib.ghostty_render_state_update(state[0], terminal)
        lib.ghostty_render_state_row_iterator_new(ffi.NULL, rows)
        lib.ghostty_render_state_get(state[0], lib.GHOSTTY_RENDER_STATE_DATA_ROW_ITERATOR, rows)
        skipped = region.top - (history - above)
        return _judge(native, list(islice(_rows(native, rows[0]), skipped, skipped + region.rows)), region.top, filled)
    finally:
        if rows[0]:
            lib.ghostty_render_state_row_iterator_free(rows[0])
        lib.ghostty_render_state_free(state[0])


def _judge(native: Any, rows: list[tuple[int, bytes]], top: int, filled: Callable[[int], bool]) -> Survey:
    flags, kind = native.row_flags, _memo(partial(_kind, native))
    # Most rows are done with after these few steps, which are most of what a snapshot takes.
    lowest = [cells[::_CELL_BYTES] for _, cells in rows]
    telling = flags.wraps | flags.continues | flags.linked
    if 1 in b"".join(lowest).translate(native.colored_cells):
        telling = -1
    special: list[SpecialRow] = []
    before: _Row | None = None
    goes_on = True
    for line, ((bits, cells), low) in enumerate(zip(rows, lowest, strict=True), top):
        # A blank cell between others has a lowest byte of 0, as have a few characters.
        if bits & telling or before is not None or (bits & flags.styled and b"\0" in low.strip(b"\0")):
            row = _Row.of(line, bits, cells, flags, goes_on=goes_on)
            # A row that wraps is judged when the next one is known.
            if before is not None and not _fits(native, before, row):
                special.append(_special(kind, before))
            # Wrapping into a line may scroll it in, with the background of what is printed first.
            scrolled_in = before is not None and row.styled and row.cells.endswith(_BLANK) and filled(line)
            misjudged = scrolled_in or _misjudged(native, row)
            if misjudged:
                special.append(_special(kind, row))
            before = row if row.wraps and not misjudged else None
        goes_on = bits & flags.wraps != 0
    last = len(rows) - 1
    while last >= 0 and not any(rows[last][1]) and not (last and rows[last - 1][0] & flags.wraps):
        last -= 1
    return Survey(special=special, last=top + last)


def _misjudged(native: Any, row: _Row) -> bool:
    """Tell whether the formatter gets this row wrong by itself."""
    if row.linked or row.torn:
        return True
    colored = row.cells[::_CELL_BYTES].translate(native.colored_cells).count(1)
    if row.styled or colored:
        used = row.cells.strip(b"\0")
        if _BLANK in used or colored >= len(used) // _CELL_BYTES:
            return True
    # A blank last cell cannot have wrapped. It may be the gap before a wide character; then the one before it counts.
    ends = (row.cells[-_CELL_BYTES:], row.cells[-2 * _CELL_BYTES : -_CELL_BYTES])
    return row.wraps and _BLANK in ends


def _fits(native: Any, row: _Row, following: _Row) -> bool:
    """Tell whether what follows is what `row` wrapped into: not blank, and wide if a gap was left for that."""
    if not following.continues or following.cells.startswith(_BLANK):
        return False
    lib = native.lib
    gap_left = _width(native, row.cells[-_CELL_BYTES:]) == lib.GHOSTTY_CELL_WIDE_SPACER_HEAD
    return not gap_left or _width(native, following.cells[:_CELL_BYTES]) == lib.GHOSTTY_CELL_WIDE_WIDE


def _width(native: Any, cell: bytes) -> int:
    width = native.ffi.new("GhosttyCellWide*")
    native.lib.ghostty_cell_get(int.from_bytes(cell, sys.byteorder), native.lib.GHOSTTY_CELL_DATA_WIDE, width)
    return int(width[0])


def _special(kind: _KindOf, row: _Row) -> SpecialRow:
    return SpecialRow(line=row.line, linked=row.linked, spans=_spans(kind, row))


def _rows(native: Any, rows: Any) -> Iterator[tuple[int, bytes]]:
    """Yield each row's value and its cells."""
    ffi, lib = native.ffi, native.lib
    view, raw = ffi.new("GhosttyCellsView*"), ffi.new("GhosttyRow*")
    asked = (lib.GHOSTTY_RENDER_STATE_ROW_DATA_RAW, lib.GHOSTTY_RENDER_STATE_ROW_DATA_CELLS_RAW)
    keys, values = ffi.new("GhosttyRenderStateRowData[2]", asked), ffi.new("void*[2]", (raw, view))
    get, more, buffer = lib.ghostty_render_state_row_get_multi, lib.ghostty_render_state_row_iterator_next, ffi.buffer
    while more(rows):
        get(rows, 2, keys, values, ffi.NULL)
        yield raw[0], buffer(view.ptr, view.len * _CELL_BYTES)[:]


def _spans(kind: _KindOf, row: _Row) -> list[Span]:
    """Cut a row at its blank cells, and what has no text at changes of colour.

    Colour between text stays with it, unless links are going to cut that into pieces.
    """
    kinds = list(map(kind, memoryview(row.cells).cast("Q")))
    spans, left = [], 0
    for blank, run in groupby(kinds, lambda piece: piece is _GAP):
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


def _memo(function: _KindOf) -> _KindOf:
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
