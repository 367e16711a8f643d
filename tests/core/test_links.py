"""S25: what a program may put behind text, and that its past never writes a viewer's clipboard."""

import pytest
from tests.core.screen_compare import copy_of, new_screen, picture

GOOD = [b"http://a/b?c=d", b"https://a/", b"HTTPS://a/", b"ftp://a/b", b"mailto:a@b"]
BAD = [
    b"javascript:alert(1)", b"file:///etc/passwd", b"data:text/html,x", b"ssh://-oProxyCommand=x", b"vscode://x",
    b"//a/b", b"a", b" http://a/", b"http://a/\xe2\x80\xae", b"http://a/ b", b"http://a/" + b"x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("address", GOOD + BAD)
def test_s25_links_lead_to_known_kinds_of_places_only(address: bytes, ended: bool) -> None:
    screen = new_screen(b"\x1b]8;;%s\x1b\\text" % address + (b"\x1b]8;;\x1b\\" if ended else b""))
    snapshot = screen.snapshot()
    assert (address in snapshot) == (address in GOOD)
    assert (b"\x1b]8;" in snapshot) == (address in GOOD)
    assert picture(copy_of(screen)) == picture(screen)
    assert not any(b"\x1b]8" in row for row in screen.render(screen.size))


def test_s25_pictures_never_write_the_clipboard() -> None:
    screen = new_screen(b"a\x1b]52;c;c2VjcmV0\x07b\x1b]52;p;c2VjcmV0\x1b\\c\x1b]52;c;?\x07")
    for shown in (screen.snapshot(), *screen.render(screen.size)):
        assert b"]52" not in shown
        assert b"c2VjcmV0" not in shown
