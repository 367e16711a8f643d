"""How an MCP client's bytes become messages, in both framings, cut anywhere."""

import pytest

from ptybridge.cli.mcp_framing import MAX_MESSAGE_BYTES, BadHeader, Framing, Oversized
from ptybridge.wire.lines import MAX_LINE_BYTES

LINES = b'\n {"a":1}\r\n\n[]\n"x"\n'
HEADERS = (
    b'Content-Length: 7\r\n\r\n{"a":1}content-type: x\r\ncontent-length:6\r\n\r\n{"a":\n' + b"Content-Length: 2\n\n[]"
)


def messages(framing: Framing, data: bytes, size: int) -> list[bytes]:
    found = []
    for start in range(0, len(data), size):
        framing.feed(data[start : start + size])
        while (message := framing.next()) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines(size: int) -> None:
    framing = Framing()
    assert messages(framing, LINES, size) == [b'{"a":1}', b"[]", b'"x"']
    assert framing.encode(b"{}") == b"{}\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_headers_and_bodies_with_line_breaks(size: int) -> None:
    framing = Framing()
    assert messages(framing, HEADERS, size) == [b'{"a":1}', b'{"a":', b"[]"]
    assert framing.encode(b"{}") == b"Content-Length: 2\r\n\r\n{}"


def test_what_is_too_large_is_skipped_and_the_next_is_read() -> None:
    framing = Framing(limit=10)
    framing.feed(b"x" * 11)
    with pytest.raises(Oversized):
        framing.next()
    assert messages(framing, b"x" * 50 + b"\n{}\n", 4) == [b"{}"]
    framing = Framing(limit=10)
    framing.feed(b"Content-Length: 20\r\n\r\n")
    with pytest.raises(Oversized):
        framing.next()
    assert messages(framing, b"y" * 20 + b"Content-Length: 2\r\n\r\n{}", 3) == [b"{}"]


def test_headers_without_a_length_are_skipped() -> None:
    framing = Framing()
    framing.feed(b"Content-Type: a\r\n\r\nContent-Length: 2\r\n\r\n{}")
    with pytest.raises(BadHeader):
        framing.next()
    assert framing.next() == b"{}"


def test_the_limit_is_the_daemons() -> None:
    assert MAX_MESSAGE_BYTES == MAX_LINE_BYTES
