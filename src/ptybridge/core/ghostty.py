"""The `Emulator` on libghostty-vt, through pyghostty's ffi.

The library is loaded at the first terminal, never on import. Its callbacks are static; the terminal's `userdata`
leads to the `Outbox` where they leave what happened. They run inside `write`, on whatever thread that is.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any, Final, Self

from ptybridge.core.emulator import CursorState, Extra, Markup, Region, ScreenEvent, Survey, Width
from ptybridge.core.ghostty_outbox import Outbox, install_callbacks
from ptybridge.core.ghostty_survey import colored_cells, flag_masks, is_gap, survey
from ptybridge.model import WindowSize

# 8 bytes a cell, on each of the two screens; a program that asks for more gets fewer rows.
MAX_CELLS: Final = 1_000_000
# A bound for the memory of scrollback however wide and styled its lines are.
MAX_SCROLLBACK_BYTES: Final = 16 << 20
# Scrollback comes and goes in pages of this many bytes, which hold about this many cells (one per row is lost). A
# limit in bytes lets the library reuse the oldest page; one in lines makes it free and allocate, five times slower.
PAGE_BYTES: Final = 409_600
PAGE_CELLS: Final = 46_225
# An unfinished sequence up to this length can be replayed to whoever attaches in its middle.
MAX_UNFINISHED_BYTES: Final = 64 << 10
# Longer APC strings (images we do not show anyway) are dropped instead of collected.
MAX_STRING_BYTES: Final = 64 << 10
# Only ratios of pixels matter, and only to programs that ask for them.
CELL_PIXELS: Final = (8, 16)
# Each costs the library a little whenever lines move; the oldest make room.
MAX_MARKS: Final = 500

_OPTION_STRUCTS: Final = ("TerminalOptions", "TerminalExtra", "ScreenExtra")
_WIDTHS: Final[tuple[Width, ...]] = ("narrow", "wide", "tail", "head")


@cache
def load() -> Any:
    """Load the library once, with what all terminals share of it."""
    from pyghostty import ffi, lib
    from pyghostty._ffi import union_fn

    grid_ref = union_fn(
        "ghostty_terminal_grid_ref", "GhosttyResult(*)(GhosttyTerminal, GhosttyPointS, GhosttyGridRef*)"
    )
    track = union_fn(
        "ghostty_terminal_grid_ref_track", "GhosttyResult(*)(GhosttyTerminal, GhosttyPointS, GhosttyTrackedGridRef*)"
    )
    return SimpleNamespace(
        ffi=ffi,
        lib=lib,
        grid_ref=grid_ref,
        track=track,
        callbacks=install_callbacks(ffi, lib),
        # Structs begin with their own size.
        option_sizes=tuple(ffi.sizeof(f"GhosttyFormatter{name}") for name in _OPTION_STRUCTS),
        selection_size=ffi.sizeof("GhosttySelection"),
        style_size=ffi.sizeof("GhosttyStyle"),
        ref_size=ffi.sizeof("GhosttyGridRef"),
        colored_cells=colored_cells(ffi, lib),
        row_flags=flag_masks(ffi, lib),
    )


class GhosttyEmulator:
    """See `Emulator`. `scrollback_lines` is what the owner wants; the library keeps some more, which nobody sees."""

    def __init__(self, size: WindowSize, scrollback_lines: int) -> None:
        self._native = native = load()
        self._scrollback_lines = scrollback_lines
        self.size = clamp(size)
        handle = native.ffi.new("GhosttyTerminal*")
        status = native.lib.ghostty_terminal_new(native.ffi.NULL, handle, self.size.cols, self.size.rows)
        if status != 0:
            raise MemoryError("no memory for a terminal")
        self._adopt(handle[0])
        self._configure()
        self._outbox = Outbox(native, self._terminal)

    def _adopt(self, terminal: Any) -> None:
        native = self._native
        self._terminal = native.ffi.gc(terminal, native.lib.ghostty_terminal_free)
        # Known until the next write: lines above the grid (counted, hidden), and one cell formatted without extras.
        self._above: tuple[int, int] | None = None
        self._bare: bytes | None = None
        self._marks: dict[int, Any] = {}

    def _configure(self) -> None:
        native = self._native
        self._limit_history()
        self._set("CONTINUATION_MAX_BYTES", "size_t*", MAX_UNFINISHED_BYTES)
        self._set("APC_MAX_BYTES", "size_t*", MAX_STRING_BYTES)
        self._set("APC_MAX_BYTES_KITTY", "size_t*", MAX_STRING_BYTES)
        self._set("CLIPBOARD_WRITE_MAX_BYTES", "size_t*", 0)
        self._set("KITTY_IMAGE_STORAGE_LIMIT", "uint64_t*", 0)
        # A default no program asks for (steady underline), so that "reset to the user's own" is told from "block".
        underline = native.lib.GHOSTTY_TERMINAL_CURSOR_STYLE_UNDERLINE
        self._set("DEFAULT_CURSOR_STYLE", "GhosttyTerminalCursorStyle*", underline)
        self._set("DEFAULT_CURSOR_BLINK", "bool*", False)

    def _limit_history(self) -> None:
        lines = self._scrollback_lines
        page_rows = max(1, PAGE_CELLS // (self.size.cols + 1))
        # Rounded up, and one more, because the oldest is dropped as a whole.
        pages = -(-(lines + self.size.rows) // page_rows) + 1
        self._set("SCROLLBACK_MAX_BYTES", "size_t*", min(pages * PAGE_BYTES, MAX_SCROLLBACK_BYTES) if lines else 0)

    def close(self) -> None:
        for key in list(self._marks):
            self._unmark(key)
        self._native.ffi.release(self._terminal)

    # -- input ----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._above = self._bare = None
        self._native.lib.ghostty_terminal_vt_write(self._terminal, data, len(data))

    def resize(self, size: WindowSize) -> None:
        size = clamp(size)
        self._native.lib.ghostty_terminal_resize(self._terminal, size.cols, size.rows, *CELL_PIXELS)
        self.size = size
        self._above = self._bare = None
        self._limit_history()

    def take_events(self) -> list[ScreenEvent]:
        return self._outbox.take_events()

    def take_replies(self) -> bytes:
        return self._outbox.take_replies()

    # -- state ----------------------------------------------------------------------------------------------

    @property
    def history(self) -> int:
        return self._count_above()[0]

    def _count_above(self) -> tuple[int, int]:
        if self._above is None:
            rows = int(self._get("SCROLLBACK_ROWS", "size_t*"))
            counted = min(rows, self._scrollback_lines)
            self._above = counted, rows - counted
        return self._above

    @property
    def alternate(self) -> bool:
        active = self._get("ACTIVE_SCREEN", "GhosttyTerminalScreen*")
        return bool(active == self._native.lib.GHOSTTY_TERMINAL_SCREEN_ALTERNATE)

    @property
    def cursor(self) -> CursorState:
        return CursorState(
            row=self._get("CURSOR_Y", "uint16_t*"),
            col=self._get("CURSOR_X", "uint16_t*"),
            visible=self._get("CURSOR_VISIBLE", "bool*"),
            pending_wrap=self._get("CURSOR_PENDING_WRAP", "bool*"),
        )

    @property
    def title(self) -> str:
        return self._outbox.text(self._get("TITLE", "GhosttyString*"))

    @property
    def directory(self) -> str:
        return self._outbox.text(self._get("PWD", "GhosttyString*"))

    @property
    def kitty_flags(self) -> int:
        return int(self._get("KITTY_KEYBOARD_FLAGS", "uint8_t*"))

    def mode(self, number: int, *, ansi: bool = False) -> bool:
        query = self._native.ffi.new("GhosttyTerminalModeConfig*")
        query.mode = number | (ansi << 15)
        status = self._native.lib.ghostty_terminal_get(
            self._terminal, self._native.lib.GHOSTTY_TERMINAL_DATA_MODE, query
        )
        return status == 0 and bool(query.value)

    def unfinished(self) -> bytes | None:
        ffi, lib = self._native.ffi, self._native.lib
        # A query without a buffer tells the length, by failing unless that is 0.
        length = ffi.new("size_t*", MAX_UNFINISHED_BYTES + 1)
        if lib.ghostty_terminal_continuation_buf(self._terminal, ffi.NULL, 0, length) == 0:
            return b""
        if length[0] > MAX_UNFINISHED_BYTES:
            return None
        buffer = ffi.new("uint8_t[]", length[0])
        if lib.ghostty_terminal_continuation_buf(self._terminal, buffer, len(buffer), length) != 0:
            return None
        return bytes(ffi.buffer(buffer, length[0]))

    # -- the grid -------------------------------------------------------------------------------------------

    def format(self, region: Region, markup: Markup, *, unwrap: bool = False) -> bytes:
        options = self._options(region, markup)
        options.unwrap = unwrap
        return self._format(options)

    def extra(self, what: Extra) -> bytes:
        # The formatter cannot leave the contents out: format one cell with and without, and take the difference.
        options = self._options(Region(top=0, rows=1, left=0, cols=1), "vt")
        if self._bare is None:
            self._bare = self._format(options)
        bare, extra, screen = self._bare, options.extra, options.extra.screen
        if what == "pen":
            screen.style = screen.protection = True
        elif what == "link":
            screen.hyperlink = True
        elif what == "charsets":
            screen.charsets = True
        elif what == "margins":
            extra.scrolling_region = True
        elif what == "tabstops":
            # These come before the contents, the others after.
            extra.tabstops = True
            return self._format(options).removesuffix(bare)
        else:
            extra.keyboard = True
        return self._format(options).removeprefix(bare)

    def width_at(self, line: int, col: int) -> Width:
        ffi, lib = self._native.ffi, self._native.lib
        width = ffi.new("GhosttyCellWide*")
        lib.ghostty_cell_get(self._cell(line, col), lib.GHOSTTY_CELL_DATA_WIDE, width)
        return _WIDTHS[int(width[0])]

    def blank_at(self, line: int, col: int) -> bool:
        return is_gap(self._native, self._cell(line, col)) and self.width_at(line, col) == "narrow"

    def link_at(self, line: int, col: int) -> bytes:
        ffi, lib = self._native.ffi, self._native.lib
        length, ref = ffi.new("size_t*"), self._ref(line, col)
        lib.ghostty_grid_ref_hyperlink_uri(ref, ffi.NULL, 0, length)
        if length[0] == 0:
            return b""
        buffer = ffi.new("uint8_t[]", length[0])
        lib.ghostty_grid_ref_hyperlink_uri(ref, buffer, len(buffer), length)
        return bytes(ffi.buffer(buffer, length[0]))

    def wraps(self, line: int) -> bool:
        return bool(self._row(line) & self._native.row_flags.wraps != 0)

    def continues(self, line: int) -> bool:
        return bool(self._row(line) & self._native.row_flags.continues != 0)

    def mark(self, key: int) -> None:
        native = self._native
        point, ref = native.ffi.new("GhosttyPointS*"), native.ffi.new("GhosttyTrackedGridRef*")
        point.tag = native.lib.GHOSTTY_POINT_TAG_ACTIVE
        point.value.x, point.value.y = 0, self.cursor.row
        if self.alternate or native.track(self._terminal, point[0], ref) != 0:
            return
        self._unmark(key)
        self._marks[key] = ref[0]
        while len(self._marks) > MAX_MARKS:
            self._unmark(next(iter(self._marks)))

    def marks(self) -> list[tuple[int, int]]:
        if self.alternate:
            return []
        native, found = self._native, {}
        hidden = self._count_above()[1]
        point, kind = native.ffi.new("GhosttyPointCoordinate*"), native.ffi.new("GhosttyRowSemanticPrompt*")
        for key, ref in list(self._marks.items()):
            status = native.lib.ghostty_tracked_grid_ref_point(ref, native.lib.GHOSTTY_POINT_TAG_SCREEN, point)
            line = int(point.y) - hidden
            if status != 0 or line < 0:
                self._unmark(key)  # nobody sees it any more
                continue
            # A line that was cleared is no prompt any more; of one used again the last counts.
            native.lib.ghostty_row_get(self._row(line), native.lib.GHOSTTY_ROW_DATA_SEMANTIC_PROMPT, kind)
            if kind[0] == native.lib.GHOSTTY_ROW_SEMANTIC_PROMPT:
                found[line] = key
        return [(key, line) for line, key in sorted(found.items())]

    def _unmark(self, key: int) -> None:
        ref = self._marks.pop(key, None)
        if ref is not None:
            self._native.lib.ghostty_tracked_grid_ref_free(ref)

    def survey(self, region: Region) -> Survey:
        return survey(self._native, self._terminal, self.history, region, self._filled)

    def _filled(self, line: int) -> bool:
        style = self._native.ffi.new("GhosttyStyle*")
        style.size = self._native.style_size
        self._native.lib.ghostty_grid_ref_style(self._ref(line, 0), style)
        return bool(int(style.bg_color.tag) != self._native.lib.GHOSTTY_STYLE_COLOR_NONE)

    def colors(self) -> bytes:
        ffi, lib = self._native.ffi, self._native.lib
        now, initial = ffi.new("GhosttyColorRgb[256]"), ffi.new("GhosttyColorRgb[256]")
        lib.ghostty_terminal_get(self._terminal, lib.GHOSTTY_TERMINAL_DATA_COLOR_PALETTE, now)
        lib.ghostty_terminal_get(self._terminal, lib.GHOSTTY_TERMINAL_DATA_COLOR_PALETTE_DEFAULT, initial)
        out = []
        if bytes(ffi.buffer(now)) != bytes(ffi.buffer(initial)):
            for index, (color, before) in enumerate(zip(now, initial, strict=True)):
                if (color.r, color.g, color.b) != (before.r, before.g, before.b):
                    out.append(b"\x1b]4;%d;rgb:%02x/%02x/%02x\x1b\\" % (index, color.r, color.g, color.b))
        for command, key in ((10, "FOREGROUND"), (11, "BACKGROUND"), (12, "CURSOR")):
            # These have no default here, so that a value means a program set one.
            if lib.ghostty_terminal_get(self._terminal, getattr(lib, f"GHOSTTY_TERMINAL_DATA_COLOR_{key}"), now) == 0:
                out.append(b"\x1b]%d;rgb:%02x/%02x/%02x\x1b\\" % (command, now[0].r, now[0].g, now[0].b))
        return b"".join(out)

    # -- copies ---------------------------------------------------------------------------------------------

    def fork(self, *, whole: bool = True) -> Self | None:
        ffi, lib = self._native.ffi, self._native.lib
        data, length = ffi.new("uint8_t**"), ffi.new("size_t*")
        # Fails when an unfinished sequence has grown past what is kept of it.
        if lib.ghostty_snapshot_encode_alloc(self._terminal, ffi.NULL, data, length) != 0:
            return None
        decoder, terminal = ffi.new("GhosttySnapshotDecoder*"), ffi.new("GhosttyTerminal*")
        try:
            if lib.ghostty_snapshot_decoder_new_buf(ffi.NULL, decoder, data[0], length[0]) != 0:
                return None
            decode = lib.ghostty_snapshot_decoder_decode if whole else lib.ghostty_snapshot_decoder_ready
            status = decode(decoder[0], terminal)
            lib.ghostty_snapshot_decoder_free(decoder[0])
        finally:
            lib.ghostty_free(ffi.NULL, data[0], length[0])
        if status != 0:
            return None
        twin = object.__new__(type(self))
        twin._native, twin.size, twin._scrollback_lines = self._native, self.size, self._scrollback_lines
        twin._adopt(terminal[0])
        twin._outbox = Outbox(self._native, twin._terminal, only="WRITE_PTY")
        twin.write(b"\x18")  # CAN ends a sequence in progress
        return twin

    def ask(self, query: bytes) -> bytes:
        self._outbox.confined = False
        self._outbox.take_replies()
        self.write(query)
        return self._outbox.take_replies()

    # -- the library's calling conventions ------------------------------------------------------------------

    def _get(self, key: str, kind: str) -> Any:
        out = self._native.ffi.new(kind)
        self._native.lib.ghostty_terminal_get(
            self._terminal, getattr(self._native.lib, f"GHOSTTY_TERMINAL_DATA_{key}"), out
        )
        return out[0]

    def _set(self, key: str, kind: str, value: object) -> None:
        option = getattr(self._native.lib, f"GHOSTTY_TERMINAL_OPT_{key}")
        self._native.lib.ghostty_terminal_set(self._terminal, option, self._native.ffi.new(kind, value))

    def _ref(self, line: int, col: int) -> Any:
        native = self._native
        point, ref = native.ffi.new("GhosttyPointS*"), native.ffi.new("GhosttyGridRef*")
        point.tag = native.lib.GHOSTTY_POINT_TAG_SCREEN
        point.value.x, point.value.y = col, line + self._count_above()[1]
        ref.size = native.ref_size
        native.grid_ref(self._terminal, point[0], ref)
        return ref

    def _cell(self, line: int, col: int) -> int:
        cell = self._native.ffi.new("GhosttyCell*")
        self._native.lib.ghostty_grid_ref_cell(self._ref(line, col), cell)
        return int(cell[0])

    def _row(self, line: int) -> int:
        row = self._native.ffi.new("GhosttyRow*")
        self._native.lib.ghostty_grid_ref_row(self._ref(line, 0), row)
        return int(row[0])

    def _options(self, region: Region, markup: Markup) -> Any:
        ffi, lib = self._native.ffi, self._native.lib
        options = ffi.new("GhosttyFormatterTerminalOptions*")
        options.size, options.extra.size, options.extra.screen.size = self._native.option_sizes
        options.emit = lib.GHOSTTY_FORMATTER_FORMAT_VT if markup == "vt" else lib.GHOSTTY_FORMATTER_FORMAT_PLAIN
        options.trim = markup == "text"
        selection = ffi.new("GhosttySelection*")
        selection.size = self._native.selection_size
        selection.start = self._ref(region.top, region.left)[0]
        last, edge = region.top + region.rows - 1, region.left + region.cols - 1
        # The gap before a wide character that did not fit brings that character along, from the next line.
        if edge > region.left and self.width_at(last, edge) == "head":
            edge -= 1
        selection.end = self._ref(last, edge)[0]
        selection.rectangle = region.cols < self.size.cols
        options.selection = selection
        self._selection = selection  # keeps it alive until the next call: the struct holds a bare pointer
        return options

    def _format(self, options: Any) -> bytes:
        ffi, lib = self._native.ffi, self._native.lib
        formatter, data, length = ffi.new("GhosttyFormatter*"), ffi.new("uint8_t**"), ffi.new("size_t*")
        if lib.ghostty_formatter_terminal_new(ffi.NULL, formatter, self._terminal, options[0]) != 0:
            return b""
        status = lib.ghostty_formatter_format_alloc(formatter[0], ffi.NULL, data, length)
        lib.ghostty_formatter_free(formatter[0])
        if status != 0 or length[0] == 0:
            return b""
        text = bytes(ffi.buffer(data[0], length[0]))
        lib.ghostty_free(ffi.NULL, data[0], length[0])
        return text


def clamp(size: WindowSize) -> WindowSize:
    """Return the nearest size that can be modelled."""
    cols = max(1, min(size.cols, 10_000))
    return WindowSize(rows=max(1, min(size.rows, 10_000, MAX_CELLS // cols)), cols=cols)
