"""Text from bytes: no cut changes it, nothing unprintable passes, labels say what is wrong with them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core.text import MAX_LABEL_BYTES, Utf8Cutter, printable, validate_label
from ptybridge.errors import InvalidParams

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
