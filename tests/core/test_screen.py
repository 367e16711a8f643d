"""The questions a screen answers, and what it reports."""

import subprocess
import sys
from threading import Thread

import pytest

from ptybridge.core.emulator import BellRang, Notified, ScreenModes, TitleChanged
from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize


def make(data: bytes | str = b"", rows: int = 5, cols: int = 20, scrollback_lines: int = 100) -> Screen:
    screen = Screen(WindowSize(rows, cols), scrollback_lines=scrollback_lines)
    screen.feed(data.encode() if isinstance(data, str) else data)
    return screen


def test_the_library_is_not_loaded_on_import() -> None:
    code = "import sys, ptybridge.core.screen; sys.exit('pyghostty' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_have_one_string_per_row_without_trailing_blanks() -> None:
    assert make("one  \r\n\r\n宽字 x").lines() == ["one", "", "宽字 x", "", ""]


def test_ansi_lines_stand_for_themselves() -> None:
    lines = make(b"\x1b[31mred\r\nstill").lines("ansi")
    assert lines[0] == "\x1b[0m\x1b[38;5;1mred\x1b[0m"
    assert lines[1] == "\x1b[0m\x1b[38;5;1mstill\x1b[0m"


def test_rows_that_only_have_a_background_keep_it() -> None:
    lines = make(b"\x1b[44m\x1b[K\x1b[0m\r\n  x", cols=4).lines("ansi")
    assert lines[:2] == ["\x1b[0m\x1b[48;5;4m    \x1b[0m", "  x"]


def test_scrollback_is_oldest_first_and_counts_from_the_newest() -> None:
    screen = make(b"\r\n".join(b"%d" % number for number in range(10)), rows=3)
    assert screen.scrollback(2) == ["5", "6"]
    assert screen.scrollback() == [str(number) for number in range(7)]
    assert screen.scrollback(0) == []


def test_scrollback_never_has_more_lines_than_asked_for() -> None:
    screen = make(b"".join(b"%d\r\n" % number for number in range(20_000)), scrollback_lines=50)
    assert screen.scrollback() == [str(number) for number in range(19_946, 19_996)]


def test_without_scrollback_nothing_is_kept() -> None:
    screen = make(b"x\r\n" * 1000, scrollback_lines=0)
    assert screen.scrollback() == []
    assert screen.lines() == ["x", "x", "x", "x", ""]


def test_cursor_modes_and_title() -> None:
    screen = make(b"\x1b[3;7H\x1b[?25l\x1b[?1h\x1b=\x1b[?2004h\x1b[?1003h\x1b[?1004h\x1b[20h\x1b]2;hi\x07\x1b[?1049h")
    assert screen.cursor == (2, 6, False)
    assert screen.title == "hi"
    assert screen.alternate
    screen.feed(b"\x1b[>5u")
    assert screen.modes == ScreenModes(
        application_cursor=True,
        application_keypad=True,
        bracketed_paste=True,
        mouse=True,
        focus=True,
        kitty_flags=5,
        newline_mode=True,
    )


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\u202eb\u2066c", "abc"),
        ("a\u009b31mb", "a31mb"),
        ("a\u2028b\u2029c", "a b c"),
        ("x" * 2000, "x" * 511 + "…"),
    ],
)
def test_titles_are_sanitised(raw: str, shown: str) -> None:
    screen = make(f"\x1b]2;{raw}\x1b\\")
    assert screen.title == shown
    assert screen.take_events() == [TitleChanged(title=shown)]


def test_events_are_reported_once() -> None:
    screen = make(b"\x07\x07\x1b]0;t\x07\x1b]9;done\x07\x1b]777;notify;Title;Body\x1b\\")
    screen.feed(b"\x1b]99;i=1:d=0;Kit")
    screen.feed(b"ty\x1b\\\x1b]99;i=1:p=body;purrs\x1b\\")
    assert screen.take_events() == [
        TitleChanged(title="t"),
        BellRang(count=2),
        Notified(title="", body="done"),
        Notified(title="Title", body="Body"),
        Notified(title="Kitty", body="purrs"),
    ]
    assert screen.take_events() == []


def test_floods_of_events_are_cut_short_and_then_reported_again() -> None:
    screen = make(b"\x07" * 10_000 + b"\x1b]9;n\x07" * 1000 + b"\x1b[c" * 10_000)
    bell, *notes = screen.take_events()
    assert isinstance(bell, BellRang)
    assert 1 < bell.count < 100
    assert len(notes) < 100
    assert 0 < len(screen.take_replies()) < 10_000
    screen.feed(b"\x07\x1b[5n")
    assert screen.take_events() == [BellRang(count=1)]
    assert screen.take_replies() == b"\x1b[0n"


def test_feeding_in_a_thread_while_others_ask() -> None:
    screen = make(rows=24, cols=80)
    blocks = [b"line %d\r\n" % number * 1000 for number in range(200)]

    def feed() -> None:
        for block in blocks:
            screen.feed(block)

    thread = Thread(target=feed)
    thread.start()
    while thread.is_alive():
        offset, snapshot = screen.capture(10)
        assert snapshot or not offset
        assert len(screen.lines()) == 24
    thread.join()
    assert screen.offset == sum(map(len, blocks))
    assert screen.lines()[-2] == "line 199"
