"""Text from bytes: no cut changes it, nothing unprintable passes, labels say what is wrong with them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core.text import MAX_LABEL_BYTES, EscapeStripper, Utf8Cutter, strip_escapes, validate_label
from ptybridge.errors import InvalidParams
from ptybridge.text import printable

NEAR_UTF8 = st.lists(
    st.text(max_size=3).map(str.encode)
    | st.binary(max_size=3)
    | st.sampled_from([b"\xf0\x9f", b"\xe2\x82", b"\xed\xa0"])
).map(b"".join)


@given(NEAR_UTF8, st.lists(st.integers(0, 9)))
def test_no_cut_changes_the_text(data: bytes, sizes: list[int]) -> None:
    texts, lossy, start, stop = [], False, 0, 0
    for size in sizes:
        stop = min(stop + size, len(data))
        text, held, bad = Utf8Cutter.split(data[start:stop], final=False)
        assert 0 <= held <= 3
        start = stop - held
        texts.append(text)
        lossy |= bad
    text, held, bad = Utf8Cutter.split(data[start:], final=True)
    assert held == 0
    assert "".join(texts) + text == data.decode(errors="replace")
    assert (lossy or bad) == (data.decode(errors="ignore").encode() != data)


def test_unfinished_character_is_held_back_until_the_end() -> None:
    assert Utf8Cutter.split("a€".encode()[:3], final=False) == ("a", 2, False)
    assert Utf8Cutter.split("a€".encode()[:3], final=True) == ("a�", 0, True)
    assert Utf8Cutter.split(b"", final=False) == ("", 0, False)


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"a\x1b[1;31mb\x1b[0mc", b"abc"),
        (b"a\x1b[?2004hb\x1b[4:3mc\x1b[2 qd\x1b[>4;1me", b"abcde"),
        (b"a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", b"abc"),
        (b"a\x1bP1$r0m\x07more\x1b\\b\x1bXsos\x1b\\c\x1b^pm\x1b\\d\x1b_Gapc\x1b\\e", b"abcde"),
        (b"a\x1b(Bb\x1b#8c\x1b7d\x1b=e\x1bcf\x1b%Gg", b"abcdefg"),
        (b"a\x1bktitle\x1b\\b", b"ab"),
        (b"a\x1b]0;x\x1b[1mb", b"ab"),
        (b"a\x1b]0;x\x18b\x1b[3\x18c\x1b\x18d", b"abcd"),
        (b"a\x1b\x1b[mb", b"ab"),
        (b"a\x1b[3\x1b[mb", b"ab"),
        (b"a\x1b[3\nb", b"a\nb"),
        ("a\x1b[3éb\x1bé\x1b(é".encode(), "aéb\xe9\xe9".encode()),
        (b"a\r\nb\rc\td\be\x07f\x0e\x0fg\x00\x7fh", b"a\nb\rc\td\befgh"),
        ("a\x85\x9b1mb°é\x80".encode(), "a1mb°é".encode()),
        (b"a\x9b\x80b\xc2", b"a\x9b\x80b\xc2"),
        (b"a\r", b"a\r"),
        (b"a\x1b[12", b"a"),
        (b"a\x1b]0;never ending\n\x07", b"a"),
        (b"a\x1bPnever ending\n\x07", b"a"),
    ],
)
def test_escapes_go_and_text_stays(data: bytes, plain: bytes) -> None:
    assert strip_escapes(data) == plain


PIECES = [
    b"\x1b",
    b"[",
    b"]",
    b"P",
    b"k",
    b"(",
    b"\\",
    b"\x07",
    b"\x18",
    b"m",
    b"0",
    b"\r",
    b"\n",
    b"\xc2",
    b"\x9c",
    b" ",
]
TERMINAL_BYTES = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)


@given(TERMINAL_BYTES, st.lists(st.integers(1, 5)))
def test_no_cut_changes_what_is_stripped(data: bytes, sizes: list[int]) -> None:
    stripper = EscapeStripper()
    runs: list[tuple[int, bytes]] = []
    start = 0
    for size in [*sizes, len(data)]:
        runs += stripper.feed(1000 + start, data[start : start + size])
        start = min(start + size, len(data))
    assert b"".join(run for _, run in runs) + stripper.flush() == strip_escapes(data)
    assert all(data[offset - 1000 :].startswith(run) for offset, run in runs)


def test_unfinished_sequences_cost_linear_time_and_no_memory() -> None:
    for head in (b"\x1b]0;", b"\x1bP", b"\x1b[", b"\x1b(", b""):
        for filler in (b"1", b"\x1b", b"\x1b]", b"\x1b[", b"\r", b" "):
            stripper = EscapeStripper()
            stripper.feed(0, head)
            for at in range(10):
                stripper.feed(len(head) + at * 10_000 * len(filler), filler * 10_000)


@given(st.text(st.characters() | st.sampled_from("\x1b\x9b\n\u202e\u2028"), max_size=30), st.integers(1, 20))
def test_printable_text_steers_nothing(text: str, limit: int) -> None:
    found = printable(text, limit)
    assert len(found) <= limit
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in found)
    assert not any(
        unicodedata.bidirectional(char) in {"RLO", "LRO", "RLI", "LRI", "FSI", "PDI", "PDF"} for char in found
    )


def test_printable_keeps_words_apart_and_says_what_it_cut() -> None:
    assert printable("a\r\n\tb\x1b[31mc", 80) == "a b[31mc"
    assert printable("abcdef", 4) == "abc…"
    assert printable("a👩‍🚀é漢", 80) == "a👩‍🚀é漢"


@pytest.mark.parametrize("value", ["a", "build 3", "größe", "漢字", "a.b_c-d:e@f", "...", "x" * MAX_LABEL_BYTES])
def test_good_labels_are_kept(value: str) -> None:
    assert validate_label(value, "name") == value


@pytest.mark.parametrize(
    "value",
    ["", " a", "a ", "-oProxyCommand=x", "a/b", ".", "..", "a\0", "a\x1b", "a\x9b", "a\nb", "a\u2028b", "a\u202eb",
     "a\ud800", "a\U000e0041", "é" * 101, "x" * 4096],
)  # fmt: skip
def test_bad_labels_are_refused_with_advice(value: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        validate_label(value, "tag")
    assert caught.value.message.startswith("tag ")
    assert caught.value.hint
    assert caught.value.message.isprintable()
