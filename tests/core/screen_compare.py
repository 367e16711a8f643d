"""What the tests of the screen compare: everything that can be seen of one, and made-up terminal output."""

import re

from hypothesis import strategies as st

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

SIZE = WindowSize(6, 20)
SCROLLBACK = 200

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")


def new_screen(data: bytes = b"", size: WindowSize = SIZE) -> Screen:
    screen = Screen(size, scrollback_lines=SCROLLBACK)
    screen.feed(data)
    return screen


def copy_of(screen: Screen) -> Screen:
    return Screen.restore(screen.snapshot(), screen.offset, screen.size, scrollback_lines=SCROLLBACK)


def cells(row: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return a row's characters with their attributes, without blanks at the end."""
    found: list[tuple[str, tuple[str, ...]]] = []
    look: tuple[str, ...] = ()
    for index, part in enumerate(_SGR.split(row)):
        if index % 2:
            look = () if part in {"", "0"} else (*look, part)
        else:
            found += [(char, look) for char in part]
    while found and found[-1] == (" ", ()):
        found.pop()
    return found


def picture(screen: Screen) -> dict[str, object]:
    """Return everything that can be seen of a screen."""
    return {
        "lines": [cells(row) for row in screen.lines("ansi")],
        "scrollback": [cells(row) for row in screen.scrollback(None, "ansi")],
        "cursor": screen.cursor,
        "modes": screen.modes,
        "title": screen.title,
        "alternate": screen.alternate,
        "offset": screen.offset,
    }


# -- output as programs make it -----------------------------------------------------------------------------


def csi(finals: str, most: int = 7) -> st.SearchStrategy[bytes]:
    return st.builds(lambda n, final: b"\x1b[%d%s" % (n, final.encode()), st.integers(0, most), st.sampled_from(finals))


words = st.text("abcdefgh  ", min_size=1, max_size=30).map(str.encode)
wide = st.lists(st.sampled_from(["宽", "字", "é", "e\u0301", "😀", "x", "ｱ"]), min_size=1, max_size=14).map(
    lambda found: "".join(found).encode()
)
_colors = ["0", "1", "3", "4", "7", "22", "27", "31", "42", "97", "103", "38;5;200", "48;5;17", "48;2;9;8;7", "4:3"]
pens = st.lists(st.sampled_from(_colors), min_size=1, max_size=3).map(lambda found: f"\x1b[{';'.join(found)}m".encode())
moves = st.builds(lambda row, col: b"\x1b[%d;%dH" % (row, col), st.integers(1, 7), st.integers(1, 22))
# Not here: what is known not to come through, see the head of test_screen_snapshot.
simple = st.sampled_from(
    [
        b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\t", b"\b", b"\x1bM", b"\x1bD", b"\x1bE", b"\x1bc",
        b"\x1b[4h", b"\x1b[4l", b"\x1b[?7l", b"\x1b[?7h", b"\x1b7", b"\x1b8",
        b"\x1b[2;5r", b"\x1b[r",
        b"\x1b[?1h", b"\x1b[?25l", b"\x1b[?25h", b"\x1b[?1000h", b"\x1b[?1002h", b"\x1b[?1006h", b"\x1b[?1000l",
        b"\x1b[?1004h", b"\x1b[?2004h", b"\x1b[?2004l", b"\x1b=", b"\x1b>", b"\x1b[20h", b"\x1b[20l", b"\x1b[?5h",
        b"\x1b(0lqqk\x1b(B", b"\x1b)0\x0ex\x0f", b"\x1bH", b"\x1b[3g", b"\x1b[5 q", b"\x1b[0 q", b"\x1b[>4;2m",
        b"\x1b]2;a title\x07", b"\x1b]0;another\x1b\\", b"\x1b]7;file://host/tmp\x07",
        b"\x1b]8;;http://a/1\x1b\\", b"\x1b]8;id=q;http://b/\x1b\\", b"\x1b]8;;\x1b\\",
        b"\x1b]4;1;rgb:12/34/56\x07", b"\x1b]11;#123456\x07", b"\x1b]104\x07", b"\x07",
        b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[>1u", b"\x1b[>5u", b"\x1b[<u",
    ]
)  # fmt: skip
pieces = st.one_of(words, words, wide, pens, moves, simple, csi("ABCDEFGd"), csi("@PLMSTX"), csi("JK", most=2))
streams = st.lists(pieces, max_size=40)
