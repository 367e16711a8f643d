"""Clean text is what is left to read, wherever the output was cut; long text keeps its ends, exactly counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core.cleantext import Cleaner, HeadTail, clean


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain\r\nlines\r\n", "plain\nlines\n"),
        (b"\x1b[1;31mred\x1b[0m\x1b]0;title\x07 word", "red word"),
        (b" 10%\r 50%\r100%\r\n", "100%\n"),
        (b"long text\rshort\x1b[K\r\n", "short\n"),
        (b"long text\x1b[2K\rnew\r\n", "new\n"),
        (b"abc\b\bX\r\n", "aXc\n"),
        (b"trailing   \t\r\n", "trailing\n"),
        ("a\u202eb\u200bc\u2066d\U000e0041".encode(), "abcd"),
        (b"bad \xff byte", "bad \ufffd byte"),
        (b"\x1b[2J\x1b[Hscreen", "screen"),
        (b"tail \x1b[", "tail"),
    ],
)
def test_clean(raw: bytes, text: str) -> None:
    assert clean(raw) == text


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\x1b[K", b"\x1b[2K", b"\b", b" ", b"\x1b[1m", "é".encode()])))
def test_clean_does_not_depend_on_where_it_is_cut(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    cleaner = Cleaner()
    cut = "".join(cleaner.feed(data[at : at + 1]) for at in range(len(data))) + cleaner.finish()
    assert cut == clean(data)


@given(st.text(alphabet="aé€😀", max_size=200), st.integers(0, 100), st.integers(1, 40))
def test_head_and_tail_are_exact_and_split_no_character(text: str, limit: int, piece: int) -> None:
    data = text.encode()
    kept = HeadTail(limit)
    for at in range(0, len(data), piece):
        kept.add(data[at : at + piece])
    head, tail, cut = kept.result()
    head.decode()
    tail.decode()
    if cut is None:
        assert head == data
        return
    assert len(head) + len(tail) <= limit
    assert (cut.head_bytes, cut.tail_bytes) == (len(head), len(tail))
    assert cut.omitted_bytes == len(data) - len(head) - len(tail)
    assert data.startswith(head)
    assert data.endswith(tail)
