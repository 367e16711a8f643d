"""Tables, colours and times for people."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from ptybridge.text import printable

GAP: Final = "  "
# The last column is what the others are about: so wide it should stay, as long as others can be left out or cut.
LAST_COLUMNS: Final = 16
LEAST_COLUMNS: Final = 4
# SGR parameters: https://vt100.net/docs/vt510-rm/SGR.html
STYLES: Final = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"))


def coloured(stream: TextIO | None = None) -> bool:
    """Tell whether to use colours: on a terminal that has them, unless NO_COLOR (no-color.org) is set."""
    stream = stream or sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def style(text: str, name: str) -> str:
    """Return `text` in a colour, if there are colours."""
    return f"\x1b[{STYLES[name]}m{text}\x1b[0m" if name and text and coloured() else text


def cells(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(char) in {"Mn", "Me", "Cf"} else 2 if east_asian_width(char) in {"W", "F"} else 1 for char in text
    )


def cut(text: str, width: int) -> str:
    """Return `text` shortened to `width` columns."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text + "…"


def table(head: Sequence[str], rows: Iterable[Sequence[tuple[str, str]]], spare: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table. A cell is its text and the name of its style or "".

    Texts are made printable. A terminal that is too narrow gets no line that wraps: columns with the titles in `spare`
    are left out, in that order, until the last one has room; then the widest are cut, the first one last of all.
    Elsewhere than on a terminal nothing is.
    """
    clean = [[(printable(text), name) for text, name in row] for row in rows]
    body = [[(title, "dim") for title in head], *clean]
    widths = [max(cells(row[column][0]) for row in body) for column in range(len(head))]
    shown = _fit(head, widths, spare)
    lines = []
    for row in body:
        padded = []
        for column in shown:
            text, name = cut(row[column][0], widths[column]), row[column][1]
            padded.append(style(text, name) + " " * (widths[column] - cells(text)))
        padded[-1] = padded[-1].rstrip()
        lines.append(GAP.join(padded).rstrip())
    return lines


def _fit(head: Sequence[str], widths: list[int], spare: Sequence[str]) -> list[int]:
    """Return the columns to show, and make their widths fit the terminal."""
    shown = list(range(len(head)))

    def missing() -> int:
        return sum(widths[column] for column in shown) + len(GAP) * (len(shown) - 1) - terminal_columns()

    *others, last = shown
    wanted = min(widths[last], LAST_COLUMNS)
    for title in spare:
        if missing() <= widths[last] - wanted:
            break
        shown.remove(head.index(title))
        others.remove(head.index(title))
    widths[last] -= max(0, min(missing(), widths[last] - wanted))
    while missing() > 0:
        widest = max([*others[1:], last], key=lambda column: widths[column])
        if widths[widest] <= LEAST_COLUMNS:
            widest = others[0] if others else last
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return shown


def pairs(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Return the lines of a list of names and values."""
    known = [(name, printable(value)) for name, value in entries if value]
    width = max((len(name) for name, _ in known), default=0)
    return [f"{style(name.ljust(width), 'dim')}{GAP}{value}" for name, value in known]


def terminal_columns() -> int:
    """Return the width of standard output; without a terminal there is no margin."""
    if not sys.stdout.isatty():
        return 1_000_000
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def duration(milliseconds: float) -> str:
    """Return "3h", "12m", "5s": the largest unit alone."""
    seconds = max(0, int(milliseconds / 1000))
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def ago(time_ms: int) -> str:
    """Return how long ago a time was."""
    return duration(time.time() * 1000 - time_ms)


def clock(time_ms: int) -> str:
    """Return a time of day, with the date unless it is today."""
    then = time.localtime(time_ms / 1000)
    today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", then)


def size(count: float) -> str:
    """Return "12 B", "3.4 KiB"."""
    if count < 1024:
        return f"{count:.0f} B"
    units = iter(("KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    count /= 1024
    while count >= 1024:
        count /= 1024
        unit = next(units)
    return f"{count:.1f} {unit}"


def command_line(command: Sequence[str]) -> str:
    """Return a command as one would type it; line breaks are shown as such, for they are part of the argument."""
    from shlex import join

    return join(part.replace("\n", "⏎") for part in command)
