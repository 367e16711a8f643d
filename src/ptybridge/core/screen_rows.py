"""Rows of a grid as VT bytes, with what the emulator's own formatter leaves out.

It leaves out hyperlinks, and takes rows without text for blank even where their background has a colour. Ordinary
rows go through it in one block; around the others (`Emulator.survey` names them) the block is cut.
"""

from collections.abc import Iterator

from ptybridge.core.emulator import Emulator, Region


def separate_rows(emulator: Emulator, region: Region) -> list[bytes]:
    """Return each row of a region by itself, beginning and ending with default attributes. Links are left out."""
    texts = emulator.format(region, "vt").split(b"\r\n")
    texts += [b""] * (region.rows - len(texts))
    for row in emulator.survey(region):
        if row.painted:
            texts[row.line - region.top] = row.painted
    return texts


def joined_rows(emulator: Emulator, top: int, end: int) -> bytes:
    """Return lines `top` to `end` (exclusive) for another terminal: lines that wrapped wrap there, links are links.

    Blank lines at the end are left out, as is the last line end.
    """
    return b"".join(_pieces(emulator, top, end)).rstrip(b"\r\n") if top < end else b""


def last_row(emulator: Emulator, top: int, end: int) -> int:
    """Return the last line of `top` to `end` (exclusive) that is not blank, `top - 1` if all are."""
    cols = emulator.size.cols
    for line in range(end - 1, top - 1, -1):
        region = Region(top=line, rows=1, left=0, cols=cols)
        if emulator.format(region, "vt") or any(row.painted for row in emulator.survey(region)):
            return line
    return top - 1


def _pieces(emulator: Emulator, top: int, end: int) -> Iterator[bytes]:
    cols = emulator.size.cols
    start = top
    for row in emulator.survey(Region(top=top, rows=end - top, left=0, cols=cols)):
        yield _block(emulator, start, row.line)
        if row.linked:
            yield from _runs(emulator, row.line)
        else:
            yield row.painted
        yield _line_end(emulator, row.line)
        start = row.line + 1
    yield _block(emulator, start, end)


def _block(emulator: Emulator, start: int, end: int) -> bytes:
    if start >= end:
        return b""
    region = Region(top=start, rows=end - start, left=0, cols=emulator.size.cols)
    text = emulator.format(region, "vt", unwrap=True)
    # Blank lines at the end are left out by the formatter, but something follows. They cannot be linked or painted.
    last = end - 1
    while last > start and not emulator.format(Region(top=last, rows=1, left=0, cols=emulator.size.cols), "vt"):
        last -= 1
    return text + b"\r\n" * (end - 1 - last) + _line_end(emulator, end - 1)


def _line_end(emulator: Emulator, line: int) -> bytes:
    """Return nothing where printing on wraps by itself, which takes a last cell that is not blank."""
    cols = emulator.size.cols
    if emulator.wraps(line):
        head = emulator.width_at(line, cols - 1) == "head"
        if head or emulator.format(Region(top=line, rows=1, left=cols - 1, cols=1), "vt"):
            return b""
    return b"\r\n"


def _runs(emulator: Emulator, line: int) -> Iterator[bytes]:
    """Cut a row into runs of equal address, each set in OSC 8."""
    cols = emulator.size.cols
    addresses = [emulator.link_at(line, col) for col in range(cols)]
    start = 0
    for col in range(1, cols + 1):
        if col < cols and addresses[col] == addresses[start]:
            continue
        text = emulator.format(Region(top=line, rows=1, left=start, cols=col - start), "vt")
        if text:
            address = addresses[start]
            # The first run needs no positioning; it may be where the line before wraps into this one.
            at = b"\x1b[%dG" % (start + 1) if start else b""
            yield at + (b"\x1b]8;;%s\x1b\\%s\x1b]8;;\x1b\\" % (address, text) if address else text)
        start = col
