"""No output makes a screen raise, hang, or grow without bound (S27)."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.screen_compare import copy_of, new_screen, pieces

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

MEGABYTE = 1_000_000
INTRODUCERS = [b"\x1b[", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b^", b"\x1bX"]
EXTREMES = [(1, 1), (1, 10_000), (10_000, 1), (10_000, 10_000), (65_535, 65_535), (2, 2)]


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=60), pieces, st.sampled_from(INTRODUCERS))))
def test_any_bytes(parts: list[bytes]) -> None:
    screen = new_screen(b"".join(parts))
    assert len(screen.lines("html")) == 6
    screen.scrollback(None, "ansi")
    screen.render(WindowSize(3, 7))
    copy_of(screen).lines()
    screen.take_events()
    screen.take_replies()


@pytest.mark.parametrize(
    "introducer",
    [*INTRODUCERS[1:], b"\x1b]0;", b"\x1bPq", b"\x1b_G", b"\x1b_Gm=1;", b"\x1b]52;c;", b"\x1b]8;;", b"\x1b]99;;"],
)
def test_a_string_that_never_ends_is_not_kept(introducer: bytes) -> None:
    screen = new_screen(introducer)
    before = resident_bytes()
    block = b"A" * MEGABYTE
    for _ in range(100):
        screen.feed(block)
    assert resident_bytes() - before < 32 * MEGABYTE
    assert len(screen.snapshot()) < MEGABYTE
    screen.feed(b"\x1b\\\x18visible")
    assert "visible" in "".join(screen.lines())


@pytest.mark.parametrize(
    "flood",
    [
        b"a\x1b[999999999b",
        b"a\x1b[99999999999999999999999999b",
        b"\x1b[" + b"9;" * 100_000 + b"m",
        b"\x1b[999999999S\x1b[999999999T\x1b[999999999L\x1b[999999999M",
        b"\x1b[999999999@\x1b[999999999P\x1b[999999999X\x1b[999999999I\x1b[999999999Z",
        b"\x1b[999999999;999999999H\x1b[999999999;999999999r",
        b"a" + "\u0301".encode() * MEGABYTE,
        "👨\u200d".encode() * 100_000,
        b"\x1bH\x1b[C" * 100_000,
        b"\x1b[>1u" * 100_000,
        b"\x1b7" * 100_000,
        b"\x1b[?1049h\x1b[?1049l" * 20_000,
        b"".join(b"\x1b]8;id=%d;http://h/%d\x1b\\x" % (number, number) for number in range(20_000)),
        b"".join(b"\x1b[38;2;%d;%d;%dmx" % (n % 256, n // 256 % 256, n % 7) for n in range(50_000)),
        b"\x1b]4;1;?\x07" * 50_000,
        b"\x07" * MEGABYTE,
        b"\x1b[c" * 300_000,
        b"\x1bPq#0;2;0;0;0#0!100000~-" * 1000,
    ],
    ids=range(18),
)
def test_floods_take_bounded_time_and_memory(flood: bytes) -> None:
    screen = new_screen(b"before\r\n", WindowSize(24, 80))
    before = resident_bytes()
    begin = time.process_time()
    screen.feed(flood)
    screen.snapshot()
    screen.lines("html")
    assert time.process_time() - begin < 5
    assert resident_bytes() - before < 64 * MEGABYTE
    screen.feed(b"\x18\x1bcafter")
    assert screen.lines()[0] == "after"


@pytest.mark.parametrize(("rows", "cols"), EXTREMES)
def test_extreme_sizes(rows: int, cols: int) -> None:
    screen = Screen(WindowSize(rows, cols))
    screen.feed("wide 宽 text\r\n".encode() * 20 + b"\x1b[?1049h\x1b[7;9H\x1b[31mx" + b"\x1b#8")
    assert 1 <= screen.size.rows <= rows
    assert 1 <= screen.size.cols <= cols
    assert screen.size.rows * screen.size.cols <= 1_000_000
    assert len(screen.lines()) == screen.size.rows
    screen.feed(b"\x1b[?1049l")
    copy = Screen.restore(screen.snapshot(), screen.offset, screen.size)
    assert copy.lines() == screen.lines()
    assert len(screen.render(WindowSize(5, 5))) == 5


def test_a_resize_storm() -> None:
    screen = new_screen("text 宽 that wraps and wraps and wraps\r\n".encode() * 50)
    begin = time.process_time()
    for step in range(2000):
        screen.resize(WindowSize(1 + step * 7 % 50, 1 + step * 13 % 200))
        screen.feed(b"x\x1b[5;5H")
    assert time.process_time() - begin < 10
    assert copy_of(screen).lines() == screen.lines()


def test_an_idle_screen_is_small() -> None:
    Screen(WindowSize(24, 80)).snapshot()
    before = resident_bytes()
    screens = [Screen(WindowSize(24, 80)) for _ in range(300)]
    for screen in screens:
        screen.feed(b"\x1b[1muser@host\x1b[0m:~$ ls\r\nsome files\r\n" * 5)
    assert (resident_bytes() - before) / len(screens) < 60_000
