"""Forks are what an emulator is asked by where asking would disturb it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core import screen_snapshot
from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

# What leaves a state that only a fork can be asked for, and what it depends on.
SEQUENCES = [
    *(b"\x1b7", b"\x1b8", b"\x1b[s", b"\x1b[u", b"\x1b[>1u", b"\x1b[>5u", b"\x1b[<u", b"\x1b[3 q", b"\x1b[5 q"),
    *(b"\x1b[?6h", b"\x1b[?6l", b"\x1b[4h", b"\x1b[?7l", b"\x1b[?7h", b"\x1b[2;10r", b"\x1b[r", b"\x1b[?69h"),
    *(b"\x1b(0", b"\x1b(B", b"\x0e", b"\x0f", b"\x1b[31m", b"\x1b[0m", b"\x1bH", b"\x1b[?25l", b"\x1b[?2004h"),
    *(b"\x1b[5;9H", b"\x1b[10;80H", b"x" * 79, b"x" * 80, "中".encode() * 40, b"\x1b]2;title\x07", b"\x1b[3"),
]
pieces = st.sampled_from(SEQUENCES)
lines = st.integers(1, 1500).map(lambda count: b"a line of text\r\n" * count)


@settings(max_examples=100)
@given(st.lists(pieces | pieces | pieces | lines, min_size=1, max_size=30))
def test_one_without_scrollback_says_what_a_whole_one_does(written: list[bytes]) -> None:
    screen = Screen(WindowSize(24, 80))
    screen.feed(b"".join(written))
    emulator = screen._emulator
    forks = [emulator.fork(whole=whole) for whole in (True, False)]
    whole, quick = (screen_snapshot._gather(emulator, fork, 0) for fork in forks)
    assert quick == whole
    for fork in forks:
        assert fork is not None
        fork.close()
    screen.close()
