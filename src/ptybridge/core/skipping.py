"""Which part of a flood need not be parsed, because nothing of it can be left on the screen or in the scrollback.

How it works: text made of printable characters, tabs and line ends only moves lines up. Once more lines follow than
grid and scrollback hold, the earlier ones are gone, whatever they were. So of a large backlog it is enough to parse
the beginning (it may finish an escape sequence that began earlier) and the last lines. Anything else — an escape, a
bell, a character set shift — has effects of its own, and then nothing is skipped.

The emulator parses almost a gigabyte a second, and without the GIL: looking must cost much less than that, above all
of what is done under the GIL, which the flood's reader waits for.
"""

import ctypes
import re

# A sequence that began before the backlog ends within this; longer ones are strings, whose contents do not matter.
HEAD_BYTES = 4096

# Without NUL, at which strspn(3) stops in any case.
_PLAIN = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
# C1 controls in UTF-8 (U+0080 … U+009F): as powerful as escapes. Looking for one byte is forty times as fast.
_C1_LEAD = b"\xc2"
_C1 = re.compile(rb"\xc2[\x80-\x9f]")
_SHORT_LINE_BYTES = 10

_strspn = ctypes.CDLL(None).strspn
_strspn.restype = ctypes.c_size_t
_strspn.argtypes = (ctypes.c_void_p, ctypes.c_char_p)


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
    return (begin, end) if end >= 0 and _is_plain(data, begin) else None


def _tail(data: bytes, begin: int, lines: int) -> int:
    """Return where a tail of at least `lines` lines begins, -1 if the data behind `begin` has fewer.

    The tail begins with a line end, so that the cursor starts its lines in column 0 as it would have.
    """
    at = len(data)
    found = 0
    size = least = lines * _SHORT_LINE_BYTES
    while at > begin:
        before, at = at, max(begin, at - size)
        found += data.count(b"\n", at, before)
        if found > lines:
            # What lies before the first whole line end does not count. If it is not in this piece, there are too few
            # lines behind it, as there were before.
            end = data.find(b"\r\n", at, before + 1)
            if end >= 0 and found - data.count(b"\n", at, end + 2) >= lines:
                return end
        # A little more than is missing if the others are like those seen.
        size = max(least, (lines - found) * (len(data) - at) // max(1, found) * 17 // 16)
    return -1


def _is_plain(data: bytes, begin: int) -> bool:
    # `bytes.translate` would tell as well, but under the GIL.
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    if _strspn(address + begin, _PLAIN) < len(data) - begin:
        return False
    lead = data.find(_C1_LEAD, begin)
    return lead < 0 or _C1.search(data, lead) is None
