"""Marked lines are found again wherever scrolling and new sizes take them, and forgotten when they are cleared."""

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

PROMPT = b"\x1b]133;A;ptyb=x:1\x07"


def make(rows: int = 5, cols: int = 20) -> Screen:
    return Screen(WindowSize(rows, cols), scrollback_lines=100)


def prompt(screen: Screen, key: int, text: bytes = b"$ ") -> None:
    screen.feed(PROMPT)
    screen.mark(key)
    screen.feed(text)


def marked(screen: Screen, scrollback_lines: int = 100) -> list[tuple[int, str]]:
    """The keys with the texts of their lines, as somebody sees them who gets the snapshot."""
    _, snapshot, marks = screen.capture_marked(scrollback_lines)
    copy = Screen.restore(snapshot, 0, screen.size, scrollback_lines=100)
    lines = [*copy.scrollback(), *copy.lines()]
    return [(key, lines[line]) for key, line in marks]


def test_lines_are_found_again_when_they_have_scrolled() -> None:
    screen = make()
    screen.feed(b"before\r\n")
    prompt(screen, 1, b"$ one")
    assert marked(screen) == [(1, "$ one")]
    screen.feed(b"\r\n" + b"out\r\n" * 20)
    prompt(screen, 2, b"$ two")
    assert marked(screen) == [(1, "$ one"), (2, "$ two")]
    # What does not go along has no mark.
    assert marked(screen, 3) == [(2, "$ two")]
    screen.feed(b"\r\n" + b"out\r\n" * 200)
    assert marked(screen) == []


def test_lines_are_found_again_at_another_size() -> None:
    screen = make()
    screen.feed(b"0123456789abcdef\r\n" * 3)
    prompt(screen, 1, b"$ one")
    screen.feed(b"\r\n" + b"0123456789abcdef\r\n" * 6)
    for cols in (10, 7, 40, 20):
        screen.resize(WindowSize(5, cols))
        assert marked(screen) == [(1, "$ one")]


def test_a_line_that_was_cleared_is_no_prompt_any_more() -> None:
    screen = make()
    prompt(screen, 1, b"$ one\r\n")
    prompt(screen, 2, b"$ two\r\n")
    screen.feed(b"\x1b[H\x1b[2J\x1b[3J")
    assert marked(screen) == []
    prompt(screen, 3, b"$ three")
    assert marked(screen) == [(3, "$ three")]


def test_the_alternate_screen_has_none_and_leaves_those_behind_it() -> None:
    screen = make()
    prompt(screen, 1, b"$ one\r\n")
    screen.feed(b"\x1b[?1049h\x1b[Hdrawn")
    screen.mark(9)
    assert marked(screen) == []
    screen.feed(b"\x1b[?1049l")
    assert marked(screen) == [(1, "$ one")]


def test_there_is_an_end_to_them() -> None:
    screen = Screen(WindowSize(5, 20), scrollback_lines=2000)
    for key in range(1000):
        prompt(screen, key, b"$ %d\r\n" % key)
    found = marked_keys(screen)
    assert found == list(range(500, 1000))
    screen.close()


def marked_keys(screen: Screen) -> list[int]:
    return [key for key, _ in screen.capture_marked(2000)[2]]
