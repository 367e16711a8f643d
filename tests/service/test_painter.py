"""Pictures for viewers of another size."""

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize
from ptybridge.service.painter import Painter

VIEWER = WindowSize(3, 10)


def make() -> tuple[Screen, Screen, Painter]:
    screen = Screen(WindowSize(6, 20))
    return screen, Screen(VIEWER), Painter(screen)


def test_a_picture_shows_the_cropped_screen() -> None:
    screen, viewer, painter = make()
    screen.feed(b"first line\r\nsecond line is long\r\n$ ")
    offset, picture = painter.paint(VIEWER)
    viewer.feed(picture)
    assert offset == screen.offset
    assert viewer.lines() == ["first line", "second lin", "$"]
    assert viewer.cursor == (2, 2, True)


def test_only_changed_rows_are_painted_again() -> None:
    screen, viewer, painter = make()
    screen.feed(b"one\r\ntwo")
    viewer.feed(painter.paint(VIEWER)[1])
    screen.feed(b"!")
    picture = painter.paint(VIEWER)[1]
    assert b"one" not in picture
    viewer.feed(picture)
    assert viewer.lines()[:2] == ["one", "two!"]
    assert painter.paint(VIEWER)[1] == b""


def test_a_viewers_keys_are_encoded_as_the_program_expects() -> None:
    screen, viewer, painter = make()
    screen.feed(b"\x1b[?1h\x1b[?2004h\x1b[?1000h")
    viewer.feed(painter.paint(VIEWER)[1])
    modes = viewer.modes
    assert (modes.application_cursor, modes.bracketed_paste, modes.mouse) == (True, True, False)
    screen.feed(b"\x1b[?1l\x1b[?2004l")
    viewer.feed(painter.paint(VIEWER)[1])
    modes = viewer.modes
    assert (modes.application_cursor, modes.bracketed_paste) == (False, False)
