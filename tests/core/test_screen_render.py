"""Cropped pictures for viewers of another size, and HTML."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.screen_compare import cells, new_screen, streams

from ptybridge.core.screen import Screen
from ptybridge.core.screen_html import to_html
from ptybridge.model import WindowSize


def painted(screen: Screen, size: WindowSize) -> Screen:
    """Return a viewer's terminal onto which the screen was painted, over something else."""
    viewer = new_screen(b"#" * (size.rows * size.cols), size)
    for row, text in enumerate(screen.render(size)):
        viewer.feed(b"\x1b[%d;1H%s" % (row + 1, text))
    return viewer


def test_a_larger_viewer_gets_the_rest_blank() -> None:
    viewer = painted(new_screen(b"one\r\ntwo"), WindowSize(9, 30))
    assert viewer.lines() == ["one", "two", *[""] * 7]


def test_the_window_follows_the_cursor() -> None:
    screen = new_screen(b"".join(b"\x1b[%d;1H%s" % (row, bytes(range(97, 117))) for row in range(1, 7)))
    size = WindowSize(2, 8)
    screen.feed(b"\x1b[1;1H")
    assert painted(screen, size).lines() == ["abcdefgh", "abcdefgh"]
    assert screen.render_cursor(size) == (0, 0, True)
    screen.feed(b"\x1b[6;20H")
    assert painted(screen, size).lines() == ["mnopqrst", "mnopqrst"]
    assert screen.render_cursor(size) == (1, 7, True)


def test_wide_characters_cut_in_half_are_left_out() -> None:
    screen = new_screen("a宽字宽b".encode() + b"\x1b[1;1H")
    assert painted(screen, WindowSize(1, 4)).lines() == ["a宽"]
    assert painted(screen, WindowSize(1, 5)).lines() == ["a宽字"]
    screen.feed(b"\x1b[1;7H")
    assert painted(screen, WindowSize(1, 5)).lines() == [" 字宽"]


def test_each_row_stands_for_itself() -> None:
    screen = new_screen(b"\x1b[41mred\x1b[K\r\nalso\x1b[0m\r\n\x1b[44m\x1b[K")
    rows = painted(screen, WindowSize(4, 10)).lines("ansi")
    assert [len(cells(row)) for row in rows] == [10, 4, 10, 0]


@settings(max_examples=200)
@given(stream=streams, rows=st.integers(1, 10), cols=st.integers(1, 30))
def test_the_cursor_is_always_in_view(stream: list[bytes], rows: int, cols: int) -> None:
    screen = new_screen(b"".join(stream))
    size = WindowSize(rows, cols)
    viewer = painted(screen, size)
    row, col, visible = screen.render_cursor(size)
    assert 0 <= row < rows
    assert 0 <= col < cols
    assert visible == screen.cursor[2]
    assert len(viewer.lines()) == rows
    assert viewer.scrollback() == []


@settings(max_examples=200)
@given(stream=streams)
def test_at_the_same_size_the_picture_is_the_screen(stream: list[bytes]) -> None:
    screen = new_screen(b"".join(stream))
    viewer = painted(screen, screen.size)
    assert [cells(row) for row in viewer.lines("ansi")] == [cells(row) for row in screen.lines("ansi")]


# -- HTML ---------------------------------------------------------------------------------------------------


class Checker(HTMLParser):
    """Collects the text, and objects to anything but spans with a style."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "span"
        assert [name for name, _ in attrs] == ["style"]
        assert "url" not in (attrs[0][1] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_escaped() -> None:
    text = "<script>&\"'</span>"
    (row, *_) = new_screen(text.encode(), WindowSize(2, 60)).lines("html")
    assert "<" not in row
    checker = Checker()
    checker.feed(row)
    checker.close()
    assert checker.text == text


def test_links_do_not_reach_html() -> None:
    screen = new_screen(b"\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\")
    assert screen.lines("html")[0] == "click"


@pytest.mark.parametrize(
    ("sgr", "style"),
    [
        ("1", "font-weight:bold"),
        ("31", "color:var(--term-1,#cd3131)"),
        ("102", "background-color:var(--term-10,#23d18b)"),
        ("38;5;196", "color:#ff0000"),
        ("38;5;244", "color:#808080"),
        ("48;2;1;2;3", "background-color:#010203"),
        ("7;31", "color:var(--term-bg,#000000);background-color:var(--term-1,#cd3131)"),
        ("4:3", "text-decoration-style:wavy;text-decoration-line:underline"),
        ("9", "text-decoration-line:line-through"),
    ],
)
def test_html_styles(sgr: str, style: str) -> None:
    row = new_screen(f"\x1b[{sgr}mx".encode()).lines("html")[0]
    assert row == f'<span style="{style}">x</span>'


@given(stream=streams)
def test_html_says_the_same_as_the_text(stream: list[bytes]) -> None:
    screen = new_screen(b"".join(stream))
    for row, text in zip(screen.lines("html"), screen.lines(), strict=True):
        checker = Checker()
        checker.feed(row)
        checker.close()
        assert checker.text.rstrip(" ") == text


@given(st.binary())
def test_html_of_anything_is_safe(row: bytes) -> None:
    checker = Checker()
    checker.feed(to_html(row))
    checker.close()
