"""What of old output may go to a terminal: text and colours, and nothing that acts on it."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.cli.replay import TerminalFilter


def filtered(data: bytes) -> bytes:
    return TerminalFilter().feed(data)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain \xc3\xa9\r\n\tx\by", b"plain \xc3\xa9\r\n\tx\by"),
        (b"\x1b[1;31mred\x1b[0m", b"\x1b[1;31mred\x1b[0m"),
        (b"\x1b[38:5:1mx", b"\x1b[38:5:1mx"),
        (b"a\x1b[2Jb\x1b[?1049hc\x1b[1 qd", b"abcd"),
        (b"a\x1b[cb\x1b[6nc\x1b[21td\x1bP$qm\x1b\\e\x05f", b"abcdef"),
        (b"a\x1b]0;title\x07b\x1b]52;c;eA==\x1b\\c", b"abc"),
        (b"a\x1b(0b\x1b7c\x1bcd", b"abcd"),
        (b"a\xc2\x9b31mb", b"a31mb"),
        (b"a\x1b\x00[2Jb", b"a[2Jb"),
        (b"a\x1b\x1b[6nb", b"ab"),
        (b"a\x1b\xc3\xa9b\x1b\xc2\x9bc", b"a\xc3\xa9bc"),
        (b"\x1b[1\x07m", b"[1m"),
        (b"\x1b]x\x1b[6n", b"]x"),
    ],
)
def test_r09_old_output_does_not_act_on_the_terminal(data: bytes, shown: bytes) -> None:
    assert filtered(data) == shown


PIECES = st.sampled_from(
    [
        b"\x1b", b"[", b"]", b"P", b"m", b"31", b";", b"6n", b"\x07", b"\\", b"\x18", b"\xc2", b"\x9b", b"\xc3\xa9",
        b"x", b"\n", b"?", b" ", b"(",
    ]
)  # fmt: skip


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_character_of_several_bytes_behind_an_escape_may_be_cut_anywhere(cut: int) -> None:
    data = b"\x1b\xc2\x18\x1b\xc3\xa9"
    stream = TerminalFilter()
    assert stream.feed(data[:cut]) + stream.feed(data[cut:]) == filtered(data)


@given(st.lists(PIECES, max_size=30), st.data())
def test_cutting_makes_no_difference_and_no_escape_but_colours_gets_through(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(parts) + b"\x18\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    stream = TerminalFilter()
    out = b"".join(stream.feed(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    assert out == filtered(whole)
    for piece in out.split(b"\x1b")[1:]:
        assert piece.startswith(b"[")
        assert piece.lstrip(b"[0123456789;:").startswith(b"m")


def test_a_string_without_end_is_not_kept_for_ever() -> None:
    stream = TerminalFilter()
    out = stream.feed(b"\x1b]0;")
    for _ in range(100):
        out += stream.feed(b"x" * 4096)
    assert b"\x1b" not in out
    assert len(out) > 100_000


@given(
    st.lists(
        st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\x1b[31m", b"\x1b]133;A;x=1\x07", b"\x1b[?2004h", b"\xc3\xa4"])
    ),
    st.lists(st.integers(0, 60)),
)
def test_plain_text_has_no_sequence_and_no_cr_before_lf_however_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts) + b"$"
    plain = TerminalFilter(plain=True)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    shown = b"".join(plain.feed(data[start:end]) for start, end in itertools.pairwise(places))
    wanted = re.sub(rb"\x1b\[[0-9?]*[a-z]|\x1b\][^\x07]*\x07", b"", data)
    assert shown == re.sub(rb"\r+", b"\r", re.sub(rb"\r+\n", b"\n", wanted))
