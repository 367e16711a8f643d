"""A session's screen: the grid a terminal would show after the transcript up to `offset`.

Feeding may happen in a worker thread (big blocks release the GIL), asking in the event loop's: one lock guards
the emulator. Nothing here is a checkpoint; a question waits at most for the block that is being parsed.
"""

from threading import Lock
from typing import Self

from ptybridge.core import screen_render, screen_snapshot, skipping
from ptybridge.core.emulator import Emulator, Format, Notified, Region, ScreenEvent, ScreenModes
from ptybridge.core.screen_html import to_html
from ptybridge.core.screen_notices import NoticeScanner
from ptybridge.core.screen_rows import separate_rows
from ptybridge.model import WindowSize
from ptybridge.text import printable

_MAX_NOTICES = 16
_MOUSE_MODES = (9, 1000, 1002, 1003)
# Bytes without which output is plain text: what begins sequences, and the two shifts to another charset.
_STATE_CHANGES = (b"\x1b", b"\x0e", b"\x0f")
# A snapshot up to this size is kept until something changes: several viewers often attach to a still screen.
_KEPT_SNAPSHOT_BYTES = 16 << 10


class Screen:
    """The model of one terminal. `offset` is the transcript offset after the last byte it was fed."""

    def __init__(self, size: WindowSize, *, scrollback_lines: int = 2000, offset: int = 0) -> None:
        # Loading the library takes 20 ms and 10 MB: only a process that has a screen pays for it.
        from ptybridge.core.ghostty import GhosttyEmulator

        self.offset = offset
        self._lock = Lock()
        self._scrollback_lines = scrollback_lines
        self._emulator: Emulator = GhosttyEmulator(size, scrollback_lines)
        self._scanner = NoticeScanner()
        self._notices: list[Notified] = []
        self._snapshot: tuple[int | None, bytes] | None = None
        self._state: screen_snapshot.State | None = None

    @classmethod
    def restore(cls, snapshot: bytes, offset: int, size: WindowSize, *, scrollback_lines: int = 2000) -> Self:
        """Return a screen recreated from a snapshot that was taken at `offset`, at the same size."""
        screen = cls(size, scrollback_lines=scrollback_lines)
        screen.feed(snapshot)
        screen.take_events()
        screen.take_replies()
        screen.offset = offset
        return screen

    @property
    def size(self) -> WindowSize:
        """The grid's size: what was asked for, within what can be modelled."""
        return self._emulator.size

    def close(self) -> None:
        """Free the memory now; nothing else may be called afterwards."""
        with self._lock:
            self._emulator.close()

    # -- changing -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Parse output and move `offset` past it. Never raises, whatever the bytes are. One feeder at a time."""
        with self._lock:
            self._feed(data)

    def skim(self, data: bytes) -> None:
        """As `feed`, but leave out what can have no effect that lasts to its end (see `core.skipping`)."""
        piece = skipping.cut(data, self.size.rows * 2 + self._scrollback_lines)
        # In one go, so that nobody sees the offset and the screen apart.
        with self._lock:
            if piece is None:
                self._feed(data)
                return
            begin, end = piece
            self._feed(data[:begin])
            if self._emulator.extra("margins"):
                self._feed(data[begin:])
            else:
                self._feed(data[end:])
                self.offset += end - begin

    def _feed(self, data: bytes) -> None:
        self._emulator.write(data)
        self._notices += self._scanner.scan(data)
        del self._notices[_MAX_NOTICES:]
        self._snapshot = None
        if self._state is not None and any(byte in data for byte in _STATE_CHANGES):
            self._state = None
        self.offset += len(data)

    def mark(self, key: int) -> None:
        """Remember the line the cursor is in under `key`: see `capture_marked`."""
        with self._lock:
            self._emulator.mark(key)

    def resize(self, size: WindowSize) -> None:
        """Change the size; the primary screen's wrapped lines are wrapped anew."""
        with self._lock:
            if size != self._emulator.size:
                self._emulator.resize(size)
                self._snapshot = self._state = None

    # -- recreating it elsewhere ----------------------------------------------------------------------------

    def snapshot(self, scrollback_lines: int | None = None) -> bytes:
        """Return bytes that recreate this screen on a terminal of the same size that was just reset."""
        return self.capture(scrollback_lines)[1]

    def capture(self, scrollback_lines: int | None = None) -> tuple[int, bytes]:
        """Return the offset and the snapshot that belongs to it, even while another thread feeds."""
        with self._lock:
            return self._capture(scrollback_lines)

    def capture_marked(self, scrollback_lines: int) -> tuple[int, bytes, list[tuple[int, int]]]:
        """As `capture`, with the marked lines that are in it, as (key, line): 0 is the snapshot's first line."""
        with self._lock:
            history = self._emulator.history
            top = history - min(history, scrollback_lines)
            marks = [(key, line - top) for key, line in self._emulator.marks() if line >= top]
            return *self._capture(scrollback_lines), marks

    def _capture(self, scrollback_lines: int | None) -> tuple[int, bytes]:
        if self._snapshot is not None and self._snapshot[0] == scrollback_lines:
            return self.offset, self._snapshot[1]
        state = self._state
        if state is None or state.limit != scrollback_lines:
            state = screen_snapshot.gather(self._emulator, scrollback_lines)
            self._state = state if state.lasting else None
        snapshot = screen_snapshot.compose(self._emulator, state)
        if len(snapshot) <= _KEPT_SNAPSHOT_BYTES:
            self._snapshot = scrollback_lines, snapshot
        return self.offset, snapshot

    def render(self, size: WindowSize) -> list[bytes]:
        """Return a byte string per row of a viewer's window, cropped around the cursor; write each at column 1.

        Equal strings paint equal rows, so a caller may send only those that changed.
        """
        with self._lock:
            return screen_render.render(self._emulator, size)

    def render_cursor(self, size: WindowSize) -> tuple[int, int, bool]:
        """Return the cursor's 0-based row and column, and its visibility, in a viewer's window."""
        with self._lock:
            return screen_render.render_cursor(self._emulator, size)

    # -- questions ------------------------------------------------------------------------------------------

    def lines(self, format: Format = "text") -> list[str]:
        """Return the grid, one string per row. Text has no trailing blanks."""
        with self._lock:
            return self._rows(self._emulator.history, self._emulator.size.rows, format)

    def scrollback(self, count: int | None = None, format: Format = "text") -> list[str]:
        """Return the newest `count` lines above the grid (None: all), oldest first. In the alternate screen: none."""
        with self._lock:
            history = self._emulator.history
            rows = history if count is None else max(0, min(count, history))
            return self._rows(history - rows, rows, format)

    @property
    def cursor(self) -> tuple[int, int, bool]:
        """The cursor's 0-based row and column, and whether it is visible."""
        with self._lock:
            cursor = self._emulator.cursor
        return cursor.row, cursor.col, cursor.visible

    @property
    def title(self) -> str:
        """The title the program set, without control and direction characters."""
        with self._lock:
            return printable(self._emulator.title)

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is showing."""
        with self._lock:
            return self._emulator.alternate

    @property
    def modes(self) -> ScreenModes:
        """The modes that matter to whoever sends input."""
        with self._lock:
            mode = self._emulator.mode
            return ScreenModes(
                application_cursor=mode(1),
                application_keypad=mode(66),
                bracketed_paste=mode(2004),
                mouse=any(mode(number) for number in _MOUSE_MODES),
                focus=mode(1004),
                kitty_flags=self._emulator.kitty_flags,
                newline_mode=mode(20, ansi=True),
            )

    # -- what happened --------------------------------------------------------------------------------------

    def take_events(self) -> list[ScreenEvent]:
        """Return bells, a changed title and notifications since the last call."""
        with self._lock:
            notices, self._notices = self._notices, []
            return [*self._emulator.take_events(), *notices]

    def take_replies(self) -> bytes:
        """Return the answers to queries the program made since the last call, in fixed form only."""
        with self._lock:
            return self._emulator.take_replies()

    def _rows(self, top: int, rows: int, format: Format) -> list[str]:
        if rows == 0:
            return []
        region = Region(top=top, rows=rows, left=0, cols=self._emulator.size.cols)
        if format == "text":
            texts = self._emulator.format(region, "text").decode("utf-8", "replace").split("\n")
            return [text.rstrip(" ") for text in texts] + [""] * (rows - len(texts))
        return [
            to_html(row) if format == "html" else row.decode("utf-8", "replace")
            for row in separate_rows(self._emulator, region)
        ]
