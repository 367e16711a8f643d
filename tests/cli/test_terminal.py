"""The reset undoes what programs switch on, wherever they were, and leaves the cursor where it should be."""

import os
import pty
import termios
from collections.abc import Iterator

import pytest

from ptybridge.cli.terminal import BOTTOM_LINE, RESET_DRAWING, RESET_SEQUENCE, RawTerminal, reset, window_size
from ptybridge.core.ghostty import GhosttyEmulator
from ptybridge.model import WindowSize

MODES = (1, 5, 9, 45, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026, 2031, 2048)
EVERYTHING_ON = (
    b"".join(b"\x1b[?%dh" % mode for mode in MODES)
    + b"\x1b[>31u\x1b[>4;2m\x1b=\x1b[4h\x1b[20h\x1b[?7l\x1b[?25l\x1b(0\x1b[1;31m"
)


@pytest.fixture
def emulator() -> Iterator[GhosttyEmulator]:
    it = GhosttyEmulator(WindowSize(10, 40), 100)
    yield it
    it.close()


@pytest.fixture
def terminal_fd() -> Iterator[int]:
    fd, child_fd = pty.openpty()
    yield child_fd
    os.close(child_fd)
    os.close(fd)


def assert_plain(emulator: GhosttyEmulator) -> None:
    assert [mode for mode in (*MODES, 6, 69, 47, 1047, 1049) if emulator.mode(mode)] == []
    assert emulator.mode(7)
    assert emulator.mode(25)
    assert not emulator.mode(4, ansi=True)
    assert not emulator.mode(20, ansi=True)
    assert not emulator.mode(66)
    assert not emulator.alternate
    assert emulator.kitty_flags == 0
    assert emulator.extra("pen") == b"\x1b[0m"
    assert emulator.extra("charsets") in (b"", b"\x1b(B\x1b)B")
    assert not emulator.extra("margins")


def test_r08_everything_a_program_switches_on_goes_off(emulator: GhosttyEmulator) -> None:
    emulator.write(b"one\r\ntwo" + EVERYTHING_ON)
    emulator.write(RESET_SEQUENCE)
    assert_plain(emulator)
    assert (emulator.cursor.row, emulator.cursor.col) == (1, 3)


@pytest.mark.parametrize("enter", [b"\x1b[?1049h", b"\x1b7\x1b[?1047h"])
def test_r08_the_primary_screen_comes_back_with_its_cursor(emulator: GhosttyEmulator, enter: bytes) -> None:
    emulator.write(b"one\r\ntwo" + enter + b"\x1b[8;8H" + EVERYTHING_ON + b"\x1b[>1u\x1b[3;5r\x1b[8;8H")
    emulator.write(RESET_SEQUENCE)
    assert_plain(emulator)
    assert (emulator.cursor.row, emulator.cursor.col) == (1, 3)


def test_r08_a_stale_saved_cursor_does_not_move_the_cursor(emulator: GhosttyEmulator) -> None:
    emulator.write(b"\x1b[2;2H\x1b[?1049h\x1b[?1049l\x1b[5;7H\x1b[2;8r\x1b[5;7H")
    emulator.write(RESET_SEQUENCE)
    assert (emulator.cursor.row, emulator.cursor.col) == (4, 6)
    assert_plain(emulator)


@pytest.mark.parametrize("cut", [b"\x1b", b"\x1b[12;", b"\x1b]2;half a title", b"\x1bPq#0", b"\xe2\x82"])
def test_r08_output_cut_in_a_sequence_does_not_swallow_the_reset(emulator: GhosttyEmulator, cut: bytes) -> None:
    emulator.write(b"\x1b[?1003h" + cut)
    emulator.write(RESET_SEQUENCE + BOTTOM_LINE + b"\r\nprompt")
    assert_plain(emulator)
    assert emulator.cursor.row == 9
    assert emulator.cursor.col == 6


def test_drawing_is_reset_without_touching_what_shapes_input(emulator: GhosttyEmulator) -> None:
    emulator.write(b"\x1b[?2004h\x1b[?1h\x1b[2;5r\x1b[?6h\x1b(0\x1b[31m\x1b[4h\x1b[3;3H")
    emulator.write(RESET_DRAWING)
    assert emulator.mode(2004)
    assert emulator.mode(1)
    assert not emulator.mode(4, ansi=True)
    assert not emulator.extra("margins")
    assert emulator.extra("pen") == b"\x1b[0m"


def test_a_terminal_without_a_size_counts_as_24_by_80(terminal_fd: int) -> None:
    termios.tcsetwinsize(terminal_fd, (0, 0))
    assert window_size(terminal_fd) == WindowSize(24, 80)
    termios.tcsetwinsize(terminal_fd, (65535, 3))
    assert window_size(terminal_fd) == WindowSize(10_000, 3)


def test_reset_gives_an_unusable_terminal_its_line_discipline_back(terminal_fd: int) -> None:
    before = termios.tcgetattr(terminal_fd)
    with RawTerminal(terminal_fd, terminal_fd):
        left_behind = termios.tcgetattr(terminal_fd)
    assert termios.tcgetattr(terminal_fd) == before
    termios.tcsetattr(terminal_fd, termios.TCSANOW, left_behind)
    assert reset(terminal_fd) == 0
    _, oflag, _, lflag, *_ = termios.tcgetattr(terminal_fd)
    assert lflag & termios.ICANON
    assert lflag & termios.ECHO
    assert lflag & termios.ISIG
    assert oflag & termios.OPOST


def test_raw_mode_never_makes_the_shared_descriptor_non_blocking(terminal_fd: int) -> None:
    """The user's shell shares it, and would fail to read if we were killed."""
    with RawTerminal(terminal_fd, terminal_fd):
        assert os.get_blocking(terminal_fd)


def test_reset_without_a_terminal_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    assert reset(writing) == 2
    assert "not a terminal" in capsys.readouterr().err
    os.close(reading)
    os.close(writing)
