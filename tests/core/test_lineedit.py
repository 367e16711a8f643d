"""The length of the line a terminal holds, against what a real terminal then gives its reader."""

import os
import termios
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.backends.terminal import line_keys
from ptybridge.core.input import CANONICAL_LINE_BYTES
from ptybridge.core.lineedit import CookedLine, LineKeys


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def set_up(fd: int, *, without: dict[int, int] | None = None, characters: dict[int, bytes] | None = None) -> None:
    """Set the usual line mode without echo (flags by index taken away), and these control characters."""
    attributes = termios.tcgetattr(fd)
    attributes[0] = termios.ICRNL | termios.IXON | 0x4000
    attributes[3] = termios.ISIG | termios.ICANON | termios.IEXTEN
    usual = {
        termios.VERASE: b"\x7f", termios.VKILL: b"\x15", termios.VEOF: b"\x04", termios.VWERASE: b"\x17",
        termios.VEOL: b"\0", termios.VEOL2: b"\0",
    }  # fmt: skip
    for number, character in (usual | (characters or {})).items():
        attributes[6][number] = character
    for index, flags in (without or {}).items():
        attributes[index] ^= flags
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    termios.tcflush(fd, termios.TCIOFLUSH)


END = b"END"


def left_on(pair: tuple[int, int], typed: bytes) -> int:
    """Type this on the terminal and return how many bytes the unfinished line has.

    Ending the line by VEOF gives its reader just what is on it; a last line tells that nothing more comes. The kernel
    hands over what is typed a moment later, and an interrupt takes back what nobody has read.
    """
    ours, theirs = pair
    os.write(ours, typed + b"\x04" + END + b"\x04")
    unfinished = b""
    while (line := os.read(theirs, 65536)) != END:
        unfinished = line
    return len(unfinished)


def modelled(typed: bytes, keys: LineKeys | None) -> int:
    line = CookedLine()
    line.take(typed, keys)
    return len(line)


CASES = {
    "text": b"some text",
    "a finished line": b"one\ntwo",
    "a return": b"one\rtwo",
    "erased characters": b"abc\x7f\x7fd",
    "more erased than there was": b"a\x7f\x7f\x7fb",
    "no erasing beyond the line": b"one\n\x7f\x7f",
    "an erased character of several bytes": "aé宽".encode() + b"\x7f",
    "erased words": b"one two_three  \x17four -- \x17",
    "erased words of several bytes": "ein schönes Wörtchen".encode() + b"\x17x",
    "a killed line": b"one two\x15three",
    "an interrupt": b"one\ntwo\x03three",
    "a quit": b"one two\x1cthree",
    "a suspension": b"one two\x1athree",
    "an end of file": b"one\x04two",
    "literal characters": b"a\x16\x15b\x16\x7f\x16\nc",
    "literal, then erased": b"a\x16\x03\x7f\x7fb",
    "flow control": b"a\x13b\x11c",
}


@pytest.mark.parametrize("name", CASES)
def test_r04_what_was_erased_is_no_part_of_the_line(name: str, pair: tuple[int, int]) -> None:
    set_up(pair[1])
    assert modelled(CASES[name], line_keys(pair[0])) == left_on(pair, CASES[name])


def test_the_terminals_own_characters_count(pair: tuple[int, int]) -> None:
    set_up(pair[1], characters={termios.VERASE: b"#", termios.VKILL: b"@", termios.VEOL: b";", termios.VEOL2: b"|"})
    for typed in (b"ab##c", b"abc@d", b"one;two", b"one|two", b"abc\x15\x7f"):
        assert modelled(typed, line_keys(pair[0])) == left_on(pair, typed), typed


FLAGS = {
    "signals are text": {3: termios.ISIG},
    "signals do not flush": {3: termios.NOFLSH},
    "no extensions": {3: termios.IEXTEN},
    "returns are text": {0: termios.ICRNL},
    "returns are ignored": {0: termios.IGNCR},
    "newlines are returns": {0: termios.INLCR},
    "bytes are characters": {0: 0x4000},
    "no flow control": {0: termios.IXON},
}


@pytest.mark.parametrize("name", FLAGS)
def test_the_terminals_flags_count(name: str, pair: tuple[int, int]) -> None:
    set_up(pair[1], without=FLAGS[name])
    for case, typed in CASES.items():
        assert modelled(typed, line_keys(pair[0])) == left_on(pair, typed), case


@settings(max_examples=300)
@given(
    pieces=st.lists(
        st.one_of(
            st.text("ab _-é宽", max_size=8).map(str.encode),
            st.sampled_from([b"\x7f", b"\x17", b"\x15", b"\x04", b"\x03", b"\x16", b"\n", b"\r", b"\xc3", b"\xa9"]),
        ),
        max_size=20,
    )
)
def test_any_typing_leaves_what_the_terminal_has(pieces: list[bytes], pair: tuple[int, int]) -> None:
    set_up(pair[1])
    typed = b"".join(pieces)
    # What follows is taken literally: the end of file that asks for the line would be, too.
    typed += b"" if not typed.endswith(b"\x16") else b"x"
    keys = line_keys(pair[0])
    expected = left_on(pair, typed)
    assert modelled(typed, keys) == expected
    line = CookedLine()
    for piece in pieces:
        line.take(piece, keys)
    if not b"".join(pieces).endswith(b"\x16"):
        assert len(line) == expected


def test_a_terminal_outside_of_line_mode_has_no_line(pair: tuple[int, int]) -> None:
    set_up(pair[1], without={3: termios.ICANON})
    line = CookedLine()
    line.take(b"x" * 100, LineKeys())
    line.take(b"y", line_keys(pair[0]))
    assert len(line) == 0
    assert line.longest(b"x" * 9000, line_keys(pair[0]), CANONICAL_LINE_BYTES) == 0


@pytest.mark.parametrize(
    ("typed", "longest"),
    [
        (b"x" * 3000 + b"\x15" + b"y" * 3000, 0),
        (b"x" * 5000 + b"\x15", 5000),
        (b"x" * 3000 + b"\x16\n" + b"y" * 3000, 6001),
        (b"x" * 3000 + b"\n" + b"y" * 3000, 0),
        (b"x" * 4000 + b"\x7f" * 100 + b"y" * 195, 0),
        (b"x" * 4000 + b"\x7f" * 100 + b"y" * 196, 4096),
    ],
)
def test_the_longest_line_is_what_the_terminal_would_have_to_hold(typed: bytes, longest: int) -> None:
    assert CookedLine().longest(typed, LineKeys(), CANONICAL_LINE_BYTES) == longest
