"""Scrolling: with a finger, with the wheel, and where what scrolls is up to the program."""

import re
import time

import pytest
from tests.survival.harness import Node
from tests.web.browser.conftest import Site, Tab

# A program in the alternate screen that shows what it is sent.
FULL_SCREEN = r"stty raw -echo; printf '\033[?1049h{modes}ready\r\n'; exec cat -v"
ROW = 16


@pytest.fixture
def phone(site: Site) -> Tab:
    return site.person(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)


def drag(tab: Tab, pixels: int, held_ms: int = 500) -> None:
    """A finger that moves down by so many pixels, and rests before it is lifted: by the times of the events."""
    browser = tab.page.context.new_cdp_session(tab.page)
    began = time.time()

    def touch(kind: str, ms: int, y: int | None) -> None:
        points = [] if y is None else [{"x": 150, "y": y}]
        about = {"type": kind, "touchPoints": points, "timestamp": began + ms / 1000}
        browser.send("Input.dispatchTouchEvent", about)

    touch("touchStart", 0, 350)
    for part in range(1, 5):
        touch("touchMove", 10 * part, 350 + round(pixels * part / 4))
    touch("touchEnd", 40 + held_ms, None)


def frames(tab: Tab, count: int) -> None:
    """Wait until so many pictures have been drawn."""
    for _ in range(count):
        tab.page.evaluate("() => new Promise((drawn) => requestAnimationFrame(drawn))")


def lines_above(tab: Tab) -> int:
    """How many lines there are between what is shown and the end."""
    return int(
        tab.page.evaluate(
            """() => {
                const { baseY, viewportY } = document.getElementById("terminal").terminal.buffer.active;
                return baseY - viewportY;
            }"""
        )
    )


def test_a_finger_scrolls_what_was_printed(phone: Tab, node: Node) -> None:
    phone.attach(node.create("seq 500; exec cat"))
    phone.wait_screen("^500$")
    drag(phone, 10 * ROW)
    phone.wait(lambda: lines_above(phone) >= 9, "what stands above")
    drag(phone, -300)
    phone.wait(lambda: lines_above(phone) == 0, "the end")
    # The text was moved; nothing was typed or opened.
    assert phone.page.evaluate("document.getElementById('terminal').terminal.getSelection()") == ""


def test_text_goes_on_when_it_is_thrown_and_only_then(phone: Tab, node: Node) -> None:
    phone.attach(node.create("seq 500; read line; " + FULL_SCREEN.format(modes="")))
    phone.wait_screen("^500$")
    drag(phone, 10 * ROW)
    frames(phone, 2)
    held = lines_above(phone)
    frames(phone, 10)
    assert lines_above(phone) == held
    drag(phone, 10 * ROW, held_ms=10)
    phone.wait(lambda: lines_above(phone) >= held + 20, "what the finger has not reached")


def test_a_full_screen_program_that_begins_while_text_goes_on_is_sent_nothing(phone: Tab, node: Node) -> None:
    session = node.create("seq 500; read line; " + FULL_SCREEN.format(modes=""))
    phone.attach(session)
    phone.wait_screen("^500$")
    phone.page.evaluate(
        "() => { window.later = []; window.requestAnimationFrame = (act) => later.push(act) && later.length; }"
    )
    drag(phone, 10 * ROW, held_ms=10)
    phone.wait(lambda: phone.page.evaluate("later.length"), "text that goes on")
    node.call("session.write", session_id=session, data="\n")
    alternate = "document.getElementById('terminal').terminal.buffer.active.type === 'alternate'"
    phone.wait(lambda: phone.page.evaluate(alternate), "the program")
    phone.page.evaluate("later.forEach((act) => act(performance.now()))")
    node.call("session.write", session_id=session, data="x")
    phone.wait_screen("x$")
    assert "^[" not in phone.screen()


def test_a_finger_moves_a_full_screen_program_that_knows_keys_alone(phone: Tab, node: Node) -> None:
    phone.attach(node.create(FULL_SCREEN.format(modes="")))
    phone.wait_screen("^ready$")
    drag(phone, 3 * ROW + 4)
    phone.wait_screen(re.escape("^[[A^[[A^[[A"))
    drag(phone, -3 * ROW - 4)
    assert re.fullmatch(r"(\^\[\[A){3}(\^\[\[B){3}", phone.wait_screen(r"\[B\^\[\[B\^\[\[B").splitlines()[-1])


def test_a_program_that_watches_the_mouse_hears_a_finger_as_the_wheel(phone: Tab, node: Node) -> None:
    phone.attach(node.create(FULL_SCREEN.format(modes=r"\033[?1000h\033[?1006h")))
    phone.wait_screen("^ready$")
    drag(phone, 3 * ROW + 4)
    phone.wait_screen(r"(\^\[\[<64;\d+;\d+M){3}")


def test_a_notch_of_the_wheel_is_three_lines_of_a_full_screen_program(tab: Tab, node: Node) -> None:
    tab.attach(node.create(FULL_SCREEN.format(modes=r"\033[?1h")))
    tab.wait_screen("^ready$")
    tab.page.mouse.move(300, 300)
    tab.page.mouse.wheel(0, 120)
    tab.wait_screen(r"^\^\[OB\^\[OB\^\[OB$")


def test_the_wheel_with_ctrl_is_left_to_the_browser(tab: Tab, node: Node) -> None:
    session = node.create(FULL_SCREEN.format(modes=""))
    tab.attach(session)
    tab.wait_screen("^ready$")
    tab.page.evaluate("() => { window.taken = []; addEventListener('wheel', (e) => taken.push(e.defaultPrevented)); }")
    tab.page.mouse.move(300, 300)
    tab.page.keyboard.down("Control")
    tab.page.mouse.wheel(0, 120)
    tab.page.keyboard.up("Control")
    tab.wait(lambda: tab.page.evaluate("taken.length"), "the wheel")
    assert not any(tab.page.evaluate("taken"))
    node.call("session.write", session_id=session, data="x")
    tab.wait_screen("x$")
    assert "^[" not in tab.screen()


def test_who_only_watches_scrolls_and_sends_nothing(site: Site, node: Node) -> None:
    session = node.create(FULL_SCREEN.format(modes=""))
    watcher = site.person(viewport={"width": 800, "height": 600})
    watcher.attach(session, "?view")
    watcher.wait_screen("^ready$")
    watcher.page.evaluate("() => { window.heard = 0; addEventListener('wheel', () => heard++, { capture: true }); }")
    watcher.page.mouse.move(300, 300)
    watcher.page.mouse.wheel(0, 120)
    watcher.page.mouse.wheel(0, 120)
    watcher.wait(lambda: watcher.page.evaluate("heard") == 2, "the wheel, and so the end of what its first notch did")
    assert watcher.page.get_by_text("You are only watching.").count() == 0


def test_letters_of_another_size_leave_the_place(site: Site, node: Node) -> None:
    session = node.create("seq 500; exec cat", rows=24, cols=80, window_size_policy="manual")
    tab = site.person(viewport={"width": 500, "height": 300})
    tab.attach(session)
    tab.wait_screen("^500$")

    def height() -> float:
        return float(tab.page.evaluate("document.querySelector('.xterm-screen').clientHeight"))

    before = height()
    tab.page.set_viewport_size({"width": 1100, "height": 700})
    tab.wait(lambda: height() > before, "larger letters")
    frames(tab, 2)
    tab.page.mouse.move(300, 200)
    tab.page.mouse.wheel(0, -120)
    tab.wait(lambda: lines_above(tab), "what stands above")
    assert lines_above(tab) < 10
