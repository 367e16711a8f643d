"""What the screen model asks of a terminal emulator, and the values it answers with.

`Emulator` is the seam behind which the library sits: the rest of ptybridge knows `core.screen` only, and a
different library needs nothing but another class with these methods. An emulator is not thread-safe; its owner
(`Screen`) guards it with a lock.
"""

from typing import Literal, Protocol, Self

import msgspec

from ptybridge.model import WindowSize

Format = Literal["text", "ansi", "html"]
Width = Literal["narrow", "wide", "tail", "head"]
Markup = Literal["text", "vt"]
# What `Emulator.extra` can tell beside the grid's contents.
Extra = Literal["pen", "link", "charsets", "margins", "tabstops", "keyboard"]


class ScreenModes(msgspec.Struct, frozen=True, kw_only=True):
    """The modes of the terminal that matter to whoever sends it input."""

    application_cursor: bool = False
    application_keypad: bool = False
    bracketed_paste: bool = False
    mouse: bool = False
    focus: bool = False
    kitty_flags: int = 0
    newline_mode: bool = False


class CursorState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cursor is (0-based), and whether the next character wraps before it is printed."""

    row: int
    col: int
    visible: bool = True
    pending_wrap: bool = False


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A rectangle of cells; `top` counts from the oldest line of scrollback."""

    top: int
    rows: int
    left: int
    cols: int


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Neighbouring cells of a row: text, or (with `color`, an SGR sequence) nothing but a background."""

    left: int
    cols: int
    color: bytes = b""


class SpecialRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row `Emulator.format` gets wrong as a whole, but right span by span. Between the spans it is blank."""

    line: int
    linked: bool
    spans: list[Span]


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The special rows of a region, in order, and its last line that is not blank (the line before it if all are)."""

    special: list[SpecialRow]
    last: int


class BellRang(msgspec.Struct, frozen=True, kw_only=True):
    """The bell rang `count` times (at least; the counting of a flood stops early)."""

    count: int


class TitleChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The title is now `title` (without control characters)."""

    title: str


class Notified(msgspec.Struct, frozen=True, kw_only=True):
    """A program asked for a desktop notification; texts without control characters."""

    title: str
    body: str


ScreenEvent = BellRang | TitleChanged | Notified


class Emulator(Protocol):
    """A terminal without a display. Any bytes may be written; none makes it raise or grow without bound."""

    @property
    def size(self) -> WindowSize: ...
    @property
    def history(self) -> int:
        """How many lines of scrollback the active screen has."""
        ...

    @property
    def alternate(self) -> bool: ...
    @property
    def cursor(self) -> CursorState: ...
    @property
    def title(self) -> str: ...
    @property
    def directory(self) -> str:
        """What OSC 7 named as the working directory, as it came."""
        ...

    @property
    def kitty_flags(self) -> int: ...

    def write(self, data: bytes) -> None:
        """Parse output. Releases the GIL while it works."""
        ...

    def resize(self, size: WindowSize) -> None: ...

    def mode(self, number: int, *, ansi: bool = False) -> bool:
        """Return whether a DEC private (or with `ansi` an ANSI) mode is set; unknown modes are not."""
        ...

    def format(self, region: Region, markup: Markup, *, unwrap: bool = False) -> bytes:
        """Return the cells of a region, rows parted by CR LF ("vt") or LF ("text"), without blank rows at the end.

        "vt" rows begin and end with default attributes. With `unwrap` no line end stands where a line merely wrapped.
        """
        ...

    def extra(self, what: Extra) -> bytes:
        """Return the sequences that set up one aspect of the state on a terminal that has its default."""
        ...

    def width_at(self, line: int, col: int) -> Width:
        """Tell what a cell holds: half of a wide character (wide, tail), the gap before one (head), or neither."""
        ...

    def blank_at(self, line: int, col: int) -> bool:
        """Tell whether a cell holds nothing at all: no text, not even a blank, and no background."""
        ...

    def link_at(self, line: int, col: int) -> bytes:
        """Return the address a cell is linked to, empty without one."""
        ...

    def wraps(self, line: int) -> bool:
        """Return whether a line wraps into the next one."""
        ...

    def continues(self, line: int) -> bool:
        """Return whether a line is what the one before it wrapped into, and has not been moved there since."""
        ...

    def survey(self, region: Region) -> Survey:
        """Find the rows of a region that `format` gets wrong. Whole rows, whatever the region's columns are."""
        ...

    def mark(self, key: int) -> None:
        """Remember the line the cursor is in under `key`, wherever the line moves; at most `MAX_MARKS`."""
        ...

    def marks(self) -> list[tuple[int, int]]:
        """Return the marked lines that are prompts still, as (key, line), top first; in the alternate screen none."""
        ...

    def colors(self) -> bytes:
        """Return the sequences that set the colours programs changed (palette, default colours)."""
        ...

    def unfinished(self) -> bytes | None:
        """Return the bytes of a sequence or character begun but not ended; None when they were too many to keep."""
        ...

    def fork(self, *, whole: bool = True) -> Self | None:
        """Return an independent copy that reports nothing and stands outside any sequence; None if that cannot be.

        Scrollback and the screen that does not show may be missing unless it is to be `whole`: they take long.
        """
        ...

    def ask(self, query: bytes) -> bytes:
        """Write a query and return what the terminal answers. Only for forks."""
        ...

    def take_events(self) -> list[ScreenEvent]: ...
    def take_replies(self) -> bytes: ...

    def close(self) -> None:
        """Free memory now; idempotent. Nothing else may be called afterwards."""
        ...
