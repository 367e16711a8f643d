"""Wrapped lines stay wrapped lines in a recreated screen: whatever sizes follow, it looks as the one it was made of.

Known not to come through, and left out of the made-up output: that a line went on from one that was erased together
with all above it, which makes the emulator count lines differently; that blanks in colour at the end of a line were
erased and not printed, which it drops when it wraps the line anew.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.screen_compare import SCROLLBACK, SIZE, copy_of, csi, moves, new_screen, picture, wide, words

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

sizes = st.builds(WindowSize, st.integers(2, 9), st.integers(4, 30))
pens = st.sampled_from([b"\x1b[1m", b"\x1b[31m", b"\x1b[m"])
simple = st.sampled_from(
    [b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x1b[?1049h\x1b[5;5H", b"\x1b[?1049l", b"\x1b[J", b"\x1b[H\x1b[2J"]
)
output = st.one_of(words, words, wide, pens, moves, simple, csi("ABCDEFGd"), csi("@PLMSTX"), csi("K", most=2))
steps = st.lists(st.one_of(output, output, output, sizes), max_size=40)


def take(screen: Screen, step: bytes | WindowSize) -> None:
    if isinstance(step, bytes):
        screen.feed(step)
    else:
        screen.resize(step)


@settings(max_examples=400, derandomize=True)
@given(before=steps, after=st.lists(st.one_of(sizes, sizes, words), max_size=6))
def test_a_copy_takes_on_any_size_as_its_original_does(
    before: list[bytes | WindowSize], after: list[bytes | WindowSize]
) -> None:
    screen = new_screen()
    for step in before:
        take(screen, step)
    copy = copy_of(screen)
    assert picture(copy) == picture(screen)
    for step in after:
        take(screen, step)
        take(copy, step)
        assert picture(copy) == picture(screen)


LINES = {
    "from scrollback into the grid": b"x" * 20 * 9 + b"yyy",
    "from scrollback into a grid with blank lines": b"\r\n" * 6 + b"x" * 20 * 4 + b"\x1b[H\n\x1b[J",
    "much longer than the grid": b"x" * 20 * (SCROLLBACK // 2),
    "with nothing on its last row": b"x" * 20 + b"y\b\x1b[X",
    "whose end was erased": b"x" * 30 + b"\x1b[1;20H\x1b[1K",
    "with a wide character that did not fit": b"x" * 19 + "宽字".encode(),
    "with a gap before a wide character erased": b"x" * 19 + "宽".encode() + b"\x1b[1K",
    "parted by an inserted line": b"x" * 50 + b"\x1b[2;1H\x1b[L",
    "on a background": b"\r\n" * 5 + b"\x1b[41m" + b"x" * 43 + b"\x1b[m",
    "with a link": b"\r\n" * 4 + b"\x1b]8;;http://a/\x07" + b"x" * 50 + b"\x1b]8;;\x07",
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_is_one_line_in_the_copy(name: str) -> None:
    screen = new_screen(LINES[name])
    copy = copy_of(screen)
    assert picture(copy) == picture(screen)
    for size in (WindowSize(6, 33), WindowSize(4, 11), WindowSize(9, 8), SIZE):
        screen.resize(size)
        copy.resize(size)
        assert picture(copy) == picture(screen)
