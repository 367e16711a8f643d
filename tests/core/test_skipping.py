"""What a flood's parsing may leave out must not show afterwards."""

from typing import Any

import pytest
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
# How lines end decides what may be left out: the tail begins where the cursor is in column 0.
ends = st.sampled_from(["\r\n", "\r\n", "\n", "\r", "\t", "\r\r\n", "\u00a0\r\n"])


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


@settings(max_examples=60)
@given(
    before=before,
    texts=st.lists(st.tuples(lines, ends), min_size=5, max_size=40),
    repeats=st.integers(20, 60),
    rest=st.lists(st.tuples(lines, st.sampled_from(["\n", "\r", "\r\n"])), max_size=30),
)
def test_however_lines_end_it_is_the_same(
    before: bytes, texts: list[tuple[str, str]], repeats: int, rest: list[tuple[str, str]]
) -> None:
    flood = "".join(text + end for text, end in texts).encode() * repeats
    flood += "".join(text + end for text, end in rest).encode()
    whole, skimmed = (Screen(SIZE, scrollback_lines=SCROLLBACK) for _ in range(2))
    whole.feed(before + flood)
    skimmed.feed(before)
    skimmed.skim(flood)
    assert picture(skimmed) == picture(whole)


def test_bare_newlines_count_but_the_tail_begins_behind_a_whole_line_end() -> None:
    flood = b"a\r\n" * 10_000 + b"b\n" * 90 + b"c"
    piece = skipping.cut(flood, 100)
    assert piece is not None
    assert flood[piece[1] :].count(b"\n") >= 100
    assert flood[piece[1] :].startswith(b"\r\n")
    assert skipping.cut(b"a\r\n" * 5_000 + b"b\n" * 90_000, 100) is not None
    assert skipping.cut(b"b\n" * 90_000, 100) is None


class Looked(bytes):
    """Counts how many of its bytes are looked through."""

    looked = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
        found = super().find(sub, start, end)
        Looked.looked += (found if found >= 0 else len(self) if end is None else min(end, len(self))) - start
        return found


@pytest.mark.parametrize("lines", [24, 2000])
def test_looking_for_a_whole_line_end_far_back_takes_no_longer_the_farther_it_is(
    monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    monkeypatch.setattr(Looked, "looked", 0)
    data = Looked(b"x\n" * 2_060 + b"\r\n" + b"b\n" * 30_000)
    assert skipping.cut(data, lines) is None
    assert Looked.looked < 2 * len(data)


def test_lines_much_longer_at_the_end_are_found_all_the_same() -> None:
    flood = b"y\r\n" * 50_000 + (b"x" * 5_000 + b"\r\n") * 150
    piece = skipping.cut(flood, 100)
    assert piece is not None
    assert 100 <= flood[piece[1] :].count(b"\r\n") < 150


def test_most_of_a_plain_flood_is_left_out() -> None:
    flood = b"y\r\n" * 100_000
    piece = skipping.cut(flood, 100)
    assert piece is not None
    begin, end = piece
    assert end - begin > 0.98 * len(flood)


def test_nothing_is_left_out_where_something_could_last() -> None:
    flood = b"y\r\n" * 10_000
    for byte in (b"\x1b[31m", b"\x07", b"\x0e", "\x9b31m".encode(), b"\x05", b"\0"):
        middle = len(flood) // 2
        assert skipping.cut(flood[:middle] + byte + flood[middle:], 100) is None
