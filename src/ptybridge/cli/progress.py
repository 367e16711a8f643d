"""A bar on the terminal while a file is on its way; nothing where nobody looks."""

import sys
import time
from typing import Final

from ptybridge.cli import output
from ptybridge.text import printable

INTERVAL_SECONDS: Final = 0.1
BAR_CELLS: Final = 24


class Progress:
    """Shows how far a transfer is, on standard error if that is a terminal."""

    def __init__(self, name: str) -> None:
        self._name = output.cut(printable(name), 30)
        self._shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._first: int | None = None
        self._next = 0.0

    def __call__(self, done: int, size: int) -> None:
        """Take note of (bytes done, bytes in all)."""
        if not self._shown:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now < self._next and done < size:
            return
        self._next = now + INTERVAL_SECONDS
        part = done / size if size else 1.0
        bar = "━" * round(part * BAR_CELLS)
        rate = (done - self._first) / max(now - self._began, 0.001)
        line = f"{self._name}  {bar:·<{BAR_CELLS}} {part:4.0%}  {output.size(done)}  {output.size(rate)}/s"
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    def count(self, done: int, at: str) -> None:
        """Take note of bytes done, of nobody knows how many, and of what it is at."""
        if not self._shown:
            return
        self._first = 0
        rate = done / max(time.monotonic() - self._began, 0.001)
        where = output.cut(printable(at), 40)
        sys.stderr.write(f"\r\x1b[K{self._name}  {output.size(done)}  {output.size(rate)}/s  {where}")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line for what comes next."""
        if self._shown and self._first is not None:
            sys.stderr.write("\n")
            sys.stderr.flush()
