"""Rows of a grid as VT bytes, with what the emulator's own formatter gets wrong put right.

Ordinary rows go through it in one block; around the others (`Emulator.survey` names them) the block is cut, and
they are put together from the spans they are made of.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from ptybridge.core.emulator import Emulator, Region, Span, SpecialRow, Survey
from ptybridge.core.links import allowed

_NEW_LINE: Final = b"\r\n"
# U+3000, a blank of two cells.
_WIDE_BLANK: Final = "\u3000".encode()


def separate_rows(emulator: Emulator, region: Region) -> list[bytes]:
    """Return each row of a region by itself, beginning and ending with default attributes. Links are left out.

    Of a wide character that the region's edge cuts in half nothing is shown.
    """
    whole = Span(left=0, cols=emulator.size.cols)
    if region.cols == whole.cols:
        texts = emulator.format(region, "vt").split(b"\r\n")
        texts += [b""] * (region.rows - len(texts))
    else:
        texts = [_cut(emulator, region.top + row, [whole], region) for row in range(region.rows)]
    for row in emulator.survey(region).special:
        texts[row.line - region.top] = _cut(emulator, row.line, row.spans, region)
    return texts


def joined_rows(emulator: Emulator, top: int, survey: Survey) -> bytes:
    """Return the surveyed lines for another terminal: lines that wrapped wrap there, links are links.

    Blank lines at the end are left out, as is the last line end.
    """
    return b"".join(_pieces(emulator, survey, top)).rstrip(b"\r\n")


def last_shown(emulator: Emulator, top: int, survey: Survey) -> int:
    """Return the last of the surveyed lines that `joined_rows` does not leave out, at least `top`.

    Cells may be in use without showing, like the gap a wide character left behind. A blank line into which the one
    before it wrapped is not left out.
    """
    shown = {row.line for row in survey.special if row.spans}
    last = survey.last
    while last > top and last not in shown and not emulator.wraps(last - 1):
        if emulator.format(whole_rows(emulator, last, last + 1), "vt"):
            break
        last -= 1
    return max(top, last)


def whole_rows(emulator: Emulator, start: int, end: int) -> Region:
    """Return the region of lines `start` to `end` (exclusive)."""
    return Region(top=start, rows=end - start, left=0, cols=emulator.size.cols)


def _cut(emulator: Emulator, line: int, spans: list[Span], region: Region) -> bytes:
    col, right = region.left, region.left + region.cols
    out = []
    for span in spans:
        start, end = max(span.left, region.left), min(span.left + span.cols, right)
        if start < end and not span.color:
            start += start > span.left and emulator.width_at(line, start) == "tail"
            end -= end < span.left + span.cols and emulator.width_at(line, end - 1) == "wide"
        if start < end:
            out.append(b" " * (start - col) + _span(emulator, line, start, end, span.color))
            col = end
    return b"".join(out)


def _span(emulator: Emulator, line: int, start: int, end: int, color: bytes) -> bytes:
    if color:
        return b"\x1b[0m%s%s\x1b[0m" % (color, b" " * (end - start))
    return emulator.format(Region(top=line, rows=1, left=start, cols=end - start), "vt")


def _pieces(emulator: Emulator, survey: Survey, start: int) -> Iterator[bytes]:
    for row in survey.special:
        yield _block(emulator, start, row.line)
        yield _special(emulator, row)
        start = row.line + 1
    if start <= survey.last:
        yield emulator.format(whole_rows(emulator, start, survey.last + 1), "vt", unwrap=True)


def _block(emulator: Emulator, start: int, end: int) -> bytes:
    """Return ordinary lines, with a line end after each that needs one."""
    if start >= end:
        return b""
    text = emulator.format(whole_rows(emulator, start, end), "vt", unwrap=True)
    # Blank lines at the end are left out by the formatter, but something follows.
    last = end - 1
    while last > start and not emulator.format(whole_rows(emulator, last, last + 1), "vt"):
        last -= 1
    return text + b"\r\n" * (end - 1 - last) + _line_end(emulator, end - 1)


def _line_end(emulator: Emulator, line: int) -> bytes:
    """Return what leads from the end of a printed line into the next one, where either is special.

    If it wrapped and its last cell is not blank, it wraps there by itself when something is printed.
    """
    last = emulator.size.cols - 1
    if not emulator.wraps(line) or emulator.blank_at(line, last):
        return _NEW_LINE
    if emulator.width_at(line, last) == "head":
        return b"\x1b[%dG" % (last + 1) + _wrap(emulator, line + 1, gap=True)
    return _wrap(emulator, line + 1)


def _wrap(emulator: Emulator, line: int, *, gap: bool = False) -> bytes:
    """Return what makes the cursor wrap into a line, to its beginning.

    That is its first character, or a blank which is erased again; without colours, as a line that scrolls in because
    of it takes on the background. A wide character leaves a `gap` behind. A line that does not know that it goes on
    from the one before was inserted there.
    """
    wide = emulator.width_at(line, 0) == "wide"
    first = emulator.format(Region(top=line, rows=1, left=0, cols=1 + wide), "text")
    if gap and not wide:
        first = _WIDE_BLANK
    if not emulator.continues(line):
        return (first or b" ") + b"\r\x1b[M"
    erased = not first or first == _WIDE_BLANK or emulator.blank_at(line, 0)
    # Erasing to the beginning of a row leaves it what the one before wrapped into.
    return (first or b" ") + (b"\x1b[1K\r" if erased else b"\r")


def _special(emulator: Emulator, row: SpecialRow) -> bytes:
    """Return a special row and its end."""
    cells, end = b"".join(_spans(emulator, row)), _line_end(emulator, row.line)
    size = emulator.size
    if end != _NEW_LINE or size.rows == 1 or not emulator.wraps(row.line):
        return cells + end
    # It wrapped and then its end was erased. So fill it up and wrap; then push out of the row what filled it: inserting
    # leaves a row wrapped, while erasing its end does not.
    used = row.spans[-1].left + row.spans[-1].cols if row.spans else 0
    fill = size.cols - used
    return b"%s%s%s\x1b[A\x1b[%dG\x1b[%d@\x1b[B\r" % (cells, b" " * fill, _wrap(emulator, row.line + 1), used + 1, fill)


def _spans(emulator: Emulator, row: SpecialRow) -> Iterator[bytes]:
    for span in row.spans:
        # At the beginning of a row the cursor may still stand at the end of the one before, about to wrap.
        if span.left:
            yield b"\x1b[%dG" % (span.left + 1)
        if span.color and (span.left + span.cols < emulator.size.cols or not emulator.wraps(row.line)):
            # Erased cells are dropped where lines are wrapped anew; blanks would not be.
            yield b"\x1b[0m%s\x1b[%dX\x1b[0m" % (span.color, span.cols)
            continue
        if not row.linked or span.color:
            yield _span(emulator, row.line, span.left, span.left + span.cols, span.color)
            continue
        start = span.left
        addresses = [allowed(emulator.link_at(row.line, col)) for col in range(start, start + span.cols)]
        for address, run in groupby(addresses):
            end = start + len(list(run))
            text = _span(emulator, row.line, start, end, b"")
            yield b"\x1b]8;;%s\x1b\\%s\x1b]8;;\x1b\\" % (address, text) if address else text
            start = end
