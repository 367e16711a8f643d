"""What a flood's parsing may leave out must not show afterwards."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core import skipping
from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

SIZE = WindowSize(6, 20)
SCROLLBACK = 10

lines = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cf"]), max_size=45)
before = st.sampled_from(
    [
        b"",
        b"\x1b[31;44mred",
        b"\x1b[2;4r\x1b[3;3H",
        b"\x1b[?1049h",
        b"\x1b[4h",
        b"\x1b[?7l",
        b"\x1b[5;5Hmiddle",
        b"\x1b[3",
    ]
)


def picture(screen: Screen) -> object:
    return screen.lines("ansi"), screen.scrollback(SCROLLBACK, "ansi"), screen.cursor


@settings(max_examples=60)
@given(before=before, texts=st.lists(lines, min_size=5, max_size=40), repeats=st.integers(20, 60), tail=lines)
def test_a_skimmed_flood_leaves_the_same_screen(before: bytes, texts: list[str], repeats: int, tail: str) -> None:
    flood = "".join(text + "\r\n" for text in texts).encode() * repeats + tail.encode()
    flood += b"x" * 50 + b"\r\n" if len(flood) < 3 * skipping.HEAD_BYTES else b""
    whole, skimmed = (Screen(SIZE, scrollback_lines=SCROLLBACK) for _ in range(2))
    whole.feed(before + flood)
    skimmed.feed(before)
    skimmed.skim(flood)
    assert picture(skimmed) == picture(whole)
    assert skimmed.offset == whole.offset == len(before + flood)


def test_most_of_a_plain_flood_is_left_out() -> None:
    flood = b"y\r\n" * 100_000
    piece = skipping.cut(flood, 100)
    assert piece is not None
    begin, end = piece
    assert end - begin > 0.98 * len(flood)


def test_nothing_is_left_out_where_something_could_last() -> None:
    flood = b"y\r\n" * 10_000
    for byte in (b"\x1b[31m", b"\x07", b"\x0e", "\x9b31m".encode(), b"\x05"):
        middle = len(flood) // 2
        assert skipping.cut(flood[:middle] + byte + flood[middle:], 100) is None
