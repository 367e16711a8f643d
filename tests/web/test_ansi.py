"""What simple clients get of a program's output: text and colours, never a piece of a sequence."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.web.ansi import MAX_PARAMETERS, Ansi, Filter

# What is left over of no sequence at all: text, tabs, line breaks and whole colours.
CLEAN = re.compile("(?:[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\x1b\\[[0-9;:]*m)*")
PIECES = [
    "text", "é", "漢字", "\U0001f469\u200d\U0001f467", "\t", "\r\n", "\x1b[31m", "\x1b[0m", "\x1b[38:2::1:2:3m",
    "\x1b[m", "\x1b[>4m", "\x1b[>4;2m", "\x1b[?2004h", "\x1b[2J", "\x1b[!p", "\x1b[>0c", "\x1b[6 q", "\x1b(B", "\x1b=",
    "\x1b>",
    "\x1b7", "\x1b]0;T\x07", "\x1b]8;;http://x\x1b\\", "\x1bPq#0\x1b\\", "\x1b_Gf=24;AAAA\x1b\\", "\x9b31m",
    "\x9d0;T\x9c",
    "\x07", "\x08", "\x00", "\x7f", "\x1b", "\x1b[", "\x1b]", "\x1b[3", "\x18", "\x1a", "\x85",
]  # fmt: skip


def kept(text: str, ansi: Ansi = "colour") -> str:
    return Filter(ansi).feed(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\ttext\r\n", "plain\ttext\r\n"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x9b31mred", "\x1b[31mred"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x1b[!pb\x1b[>0cc\x1b(Bd\x1b=e", "abcde"),
        ("vim\x1b[>4;2m\x1b[?25l", "vim"),
        ("\x1bPq#0;2;0\x1b\\after", "after"),
        ("never ended \x1b]0;title\r\nnext line", "never ended \r\nnext line"),
        ("broken off \x1b[3\x18text", "broken off text"),
        ("begun again \x1b[3\x1b[32mgreen", "begun again \x1b[32mgreen"),
        ("bell\x07 back\x08 null\x00 delete\x7f", "bell back null delete"),
        ("\x1b[" + "1;" * MAX_PARAMETERS + "mlong", "long"),
        ("\x1b[3漢", "漢"),
        ("\x1b漢", "漢"),
    ],
)
def test_only_text_and_colours_are_left(text: str, left: str) -> None:
    assert kept(text) == left
    assert "".join(map(Filter("colour").feed, text)) == left


def test_none_leaves_no_colour_and_raw_leaves_everything() -> None:
    text = "\x1b[31mred\x1b[0m\x1b]0;T\x07"
    assert kept(text, "none") == "red"
    assert kept(text, "raw") == text


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=30), st.data())
def test_however_it_is_cut_the_same_is_left_and_nothing_broken(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    whole = kept(text)
    assert CLEAN.fullmatch(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    one = Filter("colour")
    parts = [one.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(parts) == whole
    assert all(CLEAN.fullmatch(part) for part in parts)


def test_a_sequence_without_end_holds_back_little() -> None:
    one = Filter("colour")
    for _ in range(1000):
        assert one.feed("\x1b[" + "1" * 1000) == ""
    assert len(one._parameters) <= 2 * MAX_PARAMETERS + 2
    assert one.feed("mtext") == "text"
