"""Replies are dropped whole at every cut, and nothing a person does with keyboard and mouse ever is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core.replies import ReplyFilter

REPLIES = [
    b"\x1b[?62;22;52c",  # DA1
    b"\x1b[>1;10;0c",  # DA2
    b"\x1bP!|00000000\x1b\\",  # DA3
    b"\x1b[0n",  # DSR
    b"\x1b[24;80R",  # CPR
    b"\x1b[1;1R",
    b"\x1b[1;17R",
    b"\x1b[2;2R",
    b"\x1b[?24;80R",  # DECXCPR
    b"\x1b[?1;2;1R",
    b"\x1b[?2026;2$y",  # DECRPM
    b"\x1b[4;2$y",
    b"\x1b]10;rgb:ffff/ffff/ffff\x07",
    b"\x1b]11;rgb:0000/0000/0000\x1b\\",
    b"\x1b]4;1;rgb:cc/00/00\x1b\\",
    b"\x1b]12;rgb:cc/00/00\x07",
    b"\x1b]52;c;aGVsbG8=\x1b\\",
    b"\x1bP1+r544e=787465726d\x1b\\",  # XTGETTCAP
    b"\x1bP0+r\x1b\\",
    b"\x1bP1$r0m\x1b\\",  # DECRQSS
    b"\x1bP>|ghostty 1.2\x1b\\",  # XTVERSION
    b"\x1b[?1u",  # kitty keyboard flags
    b"\x1b[8;24;80t",
    b"\x1b[3;0;0t",
    b"\x1b[6;20;10t",
    b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b[48;24;80;480;800t",  # in-band resize
    b"\x1b[?997;1n",  # colour scheme
    b"\x1b[>4;2m",  # XTQMODKEYS
    b"\x1b[?1;0;256S",  # XTSMGRAPHICS
]
KEYS = [
    b"a",
    "é漢".encode(),
    b"\r",
    b"\t",
    b"\x03",
    b"\x7f",
    b"\x00",
    b"\x1b[A",
    b"\x1bOA",
    b"\x1bOR",
    b"\x1b[1;5C",
    b"\x1b[1;2R",  # Shift-F3
    b"\x1b[1;16R",
    b"\x1b[R",
    b"\x1b[13~",
    b"\x1b[3~",
    b"\x1b[Z",
    b"\x1b[97;5u",
    b"\x1b[97;5:3u",
    b"\x1b[97:65;2;65u",
    b"\x1b[57358u",
    b"\x1b[27;5;9~",
    b"\x1b[<0;10;20M",
    b"\x1b[<0;10;20m",
    b"\x1b[M !!",
    b"\x1b[I",
    b"\x1b[O",
    b"\x1ba",
    b"\x1b\r",
    b"\x1b\x7f",
    b"\x1b[c",  # rxvt: Shift-Right
    b"\x1b[3$",  # rxvt: Shift-Delete
    b"\x1b[[A",  # Linux console: F1
    b"\x1b[200~pasted \x1b[0n\x1b]11;x\x07 text\x1b[201~",
]
PIECES = [
    b"\x1b",
    b"[",
    b"]",
    b"P",
    b"_G",
    b"0",
    b"1",
    b";",
    b"?",
    b"R",
    b"n",
    b"c",
    b"$",
    b"\\",
    b"\x07",
    b"a=",
    b"\r",
]


def feed(filter: ReplyFilter, data: bytes, sizes: list[int], allow: bool) -> bytes:
    out = []
    start = 0
    for size in [*sizes, len(data)]:
        out.append(filter.feed(data[start : start + size], allow))
        start = min(start + size, len(data))
    return b"".join(out) + filter.flush()


@pytest.mark.parametrize("reply", REPLIES)
def test_reply_is_dropped_at_every_cut(reply: bytes) -> None:
    for cut in range(len(reply) + 1):
        assert feed(ReplyFilter(), b"x" + reply + b"y", [cut + 1], allow=False) == b"xy"
    assert feed(ReplyFilter(), reply, [1] * len(reply), allow=False) == b""


@pytest.mark.parametrize("key", KEYS)
def test_key_passes_at_every_cut(key: bytes) -> None:
    for cut in range(len(key) + 1):
        assert feed(ReplyFilter(), b"x" + key + b"\x1b[A", [cut + 1], allow=False) == b"x" + key + b"\x1b[A"


@given(st.lists(st.sampled_from(REPLIES + KEYS)), st.lists(st.integers(0, 9)))
def test_only_replies_are_missing_from_a_mixture(parts: list[bytes], sizes: list[int]) -> None:
    # What an unfinished sequence is joined with depends on the deadline; a whole one follows here.
    parts = [part for part in parts if part not in {b"\x1b[3$", b"\x1b[[A", b"\x1b[M !!"}]
    expected = b"".join(part for part in parts if part in KEYS)
    assert feed(ReplyFilter(), b"".join(parts), sizes, allow=False) == expected


@given(st.lists(st.sampled_from(PIECES)).map(b"".join), st.lists(st.integers(0, 9)))
def test_allowed_input_is_never_held_nor_changed(data: bytes, sizes: list[int]) -> None:
    filter = ReplyFilter()
    start = 0
    for size in [*sizes, len(data)]:
        piece = data[start : start + size]
        assert filter.feed(piece, True) == piece
        assert filter.held == b""
        start = min(start + size, len(data))


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.booleans())))
def test_order_is_kept_and_nothing_appears_twice(parts: list[tuple[bytes, bool]]) -> None:
    filter = ReplyFilter()
    out = b"".join(filter.feed(piece, allow) for piece, allow in parts) + filter.flush()
    rest = iter(b"".join(piece for piece, _ in parts))
    assert all(byte in rest for byte in out)


def test_lone_escape_is_released_by_the_deadline() -> None:
    filter = ReplyFilter()
    assert filter.feed(b"\x1b", False) == b""
    assert filter.held == b"\x1b"
    assert filter.flush() == b"\x1b"
    assert filter.held == b""
    assert filter.feed(b"[A", False) == b"[A"


@pytest.mark.parametrize("key", [b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b[", b"\x1b]4", b"\x1bP1"])
def test_alt_with_the_beginning_of_a_string_is_a_key(key: bytes) -> None:
    filter = ReplyFilter()
    assert filter.feed(key, False) + filter.flush() == key
    assert filter.feed(b"x", False) == b"x"
    assert ReplyFilter().feed(key + b"\x1bx", False) == key + b"\x1bx"


def test_reply_that_began_while_allowed_goes_through_to_its_end() -> None:
    filter = ReplyFilter()
    assert filter.feed(b"\x1b[?62;", True) == b"\x1b[?62;"
    assert filter.feed(b"22c\x1b[0n!", False) == b"22c!"
    assert filter.feed(b"\x1b]52;c;aGVs", True) == b"\x1b]52;c;aGVs"
    assert filter.feed(b"bG8=\x1b", False) == b"bG8="
    assert filter.feed(b"\\!", False) == b"\x1b\\!"


def test_reply_that_began_while_forbidden_is_dropped_to_its_end() -> None:
    filter = ReplyFilter()
    assert filter.feed(b"\x1b]52;c;aGVs", False) == b""
    assert filter.feed(b"bG8=\x1b\\!", True) == b"!"


def test_reply_that_broke_off_gives_the_keyboard_back() -> None:
    filter = ReplyFilter()
    assert filter.feed(b"\x1b]52;c;aGVs", False) == b""
    assert filter.feed(b"\x03ls\r", False) == b"\x03ls\r"
    assert filter.feed(b"\x1b]52;c;aGVs\x1b[A", False) == b"\x1b[A"
    assert filter.feed(b"\x1b]52;c;aGVs\x1b", False) == b""
    assert filter.flush() == b"\x1b"
    assert filter.feed(b"x", False) == b"x"


def test_long_reply_is_dropped_without_being_kept() -> None:
    filter = ReplyFilter()
    assert filter.feed(b"\x1b]52;c;", False) == b""
    for _ in range(1000):
        assert filter.feed(b"A" * 10_000, False) == b""
        assert filter.held == b""
    assert filter.feed(b"\x07x", False) == b"x"


def test_overlong_sequence_is_not_held() -> None:
    data = b"\x1b[" + b"1" * 1000
    assert ReplyFilter().feed(data, False) == data
