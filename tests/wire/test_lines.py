"""Newline framing: any cut gives the same lines, and an oversized line costs neither memory nor its neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.errors import RequestTooLarge
from ptybridge.wire.lines import LineBuffer


def feed_all(buffer: LineBuffer, data: bytes) -> tuple[list[bytes], int]:
    """Feed, and go on after errors; return the lines and how many errors there were."""
    errors = 0
    while True:
        try:
            return buffer.feed(data), errors
        except RequestTooLarge:
            errors += 1
            data = b""


@given(st.lists(st.text("ab \r\n", max_size=12).map(str.encode)))
def test_any_cut_gives_the_same_lines(parts: list[bytes]) -> None:
    buffer = LineBuffer(limit=5)
    lines: list[bytes] = []
    errors = 0
    for part in parts:
        some, failed = feed_all(buffer, part)
        lines += some
        errors += failed
    *whole, rest = b"".join(parts).split(b"\n")
    assert lines == [line for line in whole if line.strip() and len(line) <= 5]
    assert errors == sum(len(line) > 5 for line in [*whole, rest])
    assert buffer.finish() == (rest.strip() if len(rest) <= 5 else b"")


def test_oversized_line_is_reported_at_once_and_once() -> None:
    buffer = LineBuffer(limit=10)
    assert buffer.feed(b"123456") == []
    with pytest.raises(RequestTooLarge):
        buffer.feed(b"78901")
    assert buffer.feed(b"x" * 1000) == []
    assert buffer.feed(b"x\nnext\n") == [b"next"]


def test_neighbours_of_an_oversized_line_survive() -> None:
    buffer = LineBuffer(limit=3)
    with pytest.raises(RequestTooLarge):
        buffer.feed(b"a\nbbbb\nc\nd")
    assert buffer.feed(b"") == [b"a", b"c"]
    assert buffer.feed(b"\n") == [b"d"]


def test_long_line_in_many_small_reads_is_not_quadratic() -> None:
    buffer = LineBuffer()
    for _ in range(20_000):
        assert buffer.feed(b"x" * 1000) == []
    (line,) = buffer.feed(b"\n")
    assert len(line) == 20_000_000
