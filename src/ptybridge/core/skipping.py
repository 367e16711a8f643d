"""Which part of a flood need not be parsed, because nothing of it can be left on the screen or in the scrollback.

How it works: text made of printable characters, tabs and line ends only moves lines up. Once more lines follow than
grid and scrollback hold, the earlier ones are gone, whatever they were. So of a large backlog it is enough to parse
the beginning (it may finish an escape sequence that began earlier) and the last lines. Anything else — an escape, a
bell, a character set shift — has effects of its own, and then nothing is skipped.
"""

# A sequence that began before the backlog ends within this; longer ones are strings, whose contents do not matter.
HEAD_BYTES = 4096

_PLAIN = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
# C1 controls in UTF-8 (U+0080 … U+009F): as powerful as escapes.
_C1_LEAD = b"\xc2"
_SHORT_LINE_BYTES = 10


def cut(data: bytes, lines: int) -> tuple[int, int] | None:
    """Return (from, to): the part of `data` that may be left out when `lines` lines are kept, None if there is none.

    Only valid while the screen has no scroll margins, as lines then scroll nowhere but up.
    """
    if len(data) <= 2 * HEAD_BYTES:
        return None
    begin = data.find(b"\r\n", HEAD_BYTES)
    if begin < 0:
        return None
    end = _tail(data, begin + 2, lines)
    if end < 0:
        return None
    middle = data[begin:]
    if middle.translate(None, _PLAIN) or (_C1_LEAD in middle and _has_c1(middle)):
        return None
    return begin, end


def _tail(data: bytes, begin: int, lines: int) -> int:
    """Return where a tail of at least `lines` lines begins, -1 if the data behind `begin` has fewer.

    The tail begins with a line end, so that the cursor starts its lines in column 0 as it would have. It may hold
    up to twice the lines wanted: counting in growing tails is much cheaper than looking for each line.
    """
    size = lines * _SHORT_LINE_BYTES
    while len(data) - size > begin:
        if data.count(b"\r\n", len(data) - size) > lines:
            return data.find(b"\r\n", len(data) - size)
        size *= 2
    return -1


def _has_c1(data: bytes) -> bool:
    return any(bytes((0xC2, second)) in data for second in range(0x80, 0xA0))
