"""Queries are answered in fixed form; nothing the program sent comes back to it as input (S23)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.screen_compare import new_screen

SECRET = b"; rm -rf ~\r"
QUERY_PARTS = [
    b"\x1b[", b"\x1b]", b"\x1bP", b"$q", b"m", b"\x1b\\", b"\x07", b"21t", b"2;", b"?", b"ls\r", b"c", b"6n", b"$p",
    b"u", b"52;c;", b"+q",
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (b"\x1b[c", b"\x1b[?62;22c"),
        (b"\x1b[>c", b"\x1b[>1;0;0c"),
        (b"\x1b[5n", b"\x1b[0n"),
        (b"\x1b[2;3H\x1b[6n", b"\x1b[2;3R"),
        (b"\x1b[?2004$p", b"\x1b[?2004;2$y"),
        (b"\x1b[?2004h\x1b[?2004$p", b"\x1b[?2004;1$y"),
        (b"\x1b[4$p", b"\x1b[4;2$y"),
        (b"\x1b[>5u\x1b[?u", b"\x1b[?5u"),
        (b"\x1b[>q", b"\x1bP>|libghostty\x1b\\"),
    ],
)
def test_answers(query: bytes, answer: bytes) -> None:
    screen = new_screen(query)
    assert screen.take_replies() == answer
    assert screen.take_replies() == b""


@pytest.mark.parametrize(
    "query",
    [
        b"\x1b]2;%s\x07\x1b[21t" % SECRET,  # title
        b"\x1b]1;%s\x07\x1b[20t" % SECRET,  # icon
        b"\x1bP$q%s\x1b\\" % SECRET,  # DECRQSS
        b"\x1bP$qm\x1b\\",
        b"\x1b]50;?\x07",  # font
        b"\x1b]52;c;?\x07",  # clipboard
        b"\x1b]52;c;QUJD\x07\x1b]52;c;?\x07",
        b"\x05",  # ENQ
        b"\x1b]10;?\x07\x1b]11;?\x07\x1b]4;1;?\x07",
        b"\x1bP+q544e\x1b\\",  # XTGETTCAP
        b"\x1b[14t\x1b[16t\x1b[18t",
        b"\x1b]99;i=%s:p=?;\x1b\\" % SECRET,
        b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\",
        b"\x1b_Gi=31,a=q,t=f,f=24;L2V0Yy9wYXNzd2Q=\x1b\\",  # an image from a file
        b"\x1b[?996n",
        b"\x1bP!|%s\x1b\\" % SECRET,
    ],
)
def test_no_answer(query: bytes) -> None:
    assert new_screen(query).take_replies() == b""


@settings(max_examples=200)
@given(st.lists(st.sampled_from(QUERY_PARTS), max_size=40))
def test_no_reply_contains_a_line_end_or_what_was_sent(parts: list[bytes]) -> None:
    replies = new_screen(b"".join(parts)).take_replies()
    assert b"\r" not in replies
    assert b"\n" not in replies
    assert b"ls" not in replies
