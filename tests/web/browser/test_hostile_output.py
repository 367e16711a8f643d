"""S25 in the browser: what a program prints gets at no clipboard, opens no program, and reads as what it is."""

from collections.abc import Callable

from playwright.sync_api import Browser
from tests.cli.test_serving import Served
from tests.survival.harness import PATIENCE_SECONDS, Node
from tests.web.browser.conftest import Site, Tab

HELLO = r"printf '\033]52;c;aGVsbG8=\007'"


def test_s25_links_lead_only_where_a_page_can(tab: Tab, node: Node) -> None:
    program = (
        r"read x; clear; printf '\033]8;;javascript:alert(1)\007click\033]8;;\007 https://example.org/a\n'; sleep 1000"
    )
    tab.attach(node.create(program))
    tab.type("\n")
    tab.wait_screen("click https")
    tab.page.evaluate("() => { window.opened = []; window.open = (url) => void window.opened.push(url); }")
    box = tab.page.locator(".xterm-screen").bounding_box()
    assert box is not None
    target = tab.page.locator("#link-target")
    for column, told in ((2, "(not opened from here)"), (12, "https://example.org/a")):
        cell = box["width"] / tab.size()[1]
        tab.page.mouse.move(box["x"] + (column + 0.5) * cell, box["y"] + 8)
        target.get_by_text(told).wait_for()
        tab.page.mouse.click(box["x"] + (column + 0.5) * cell, box["y"] + 8)
    assert tab.page.evaluate("window.opened") == ["https://example.org/a"]


def test_s25_a_program_gets_the_clipboard_only_when_allowed(tab: Tab, node: Node) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.attach(node.create(r"read a; printf '\033]52;c;aGVsbG8=\007'; printf '\033]52;c;?\007'; cat -v"))
    tab.type("x\n")
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_text("hello").wait_for()
    # It asks to read, too, and gets nothing.
    dialog.get_by_role("button", name="Allow").click()
    tab.wait(lambda: tab.page.evaluate("navigator.clipboard.readText()") == "hello", "the text on the clipboard")


def test_s25_more_than_anybody_judges_is_refused(tab: Tab, node: Node) -> None:
    tab.attach(node.create(r"read a; printf '\033]52;c;%s\007' $(head -c 300000 /dev/zero | base64 -w0); cat"))
    tab.type("x\n")
    tab.page.get_by_text("more on your clipboard than it may").wait_for()
    assert tab.page.get_by_role("dialog").count() == 0


def test_s25_who_only_watches_is_not_asked_about_the_clipboard(site: Site, node: Node) -> None:
    session = node.create(f"echo ready; read a; {HELLO}; cat")
    tab = site.person()
    tab.attach(session, "?view")
    tab.wait_screen("^ready$")
    node.call("session.write", session_id=session, data="\n")
    tab.page.get_by_text("shared sessions may not").wait_for()
    assert tab.page.get_by_role("dialog").count() == 0


def test_s25_visitors_of_a_shared_session_are_not_asked_about_the_clipboard(
    chromium: Browser, serve: Callable[..., Served]
) -> None:
    link = serve("-c", f"while read a; do {HELLO}; done", "--public").link()
    page = chromium.new_context().new_page()
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    tab = Tab(page, link.partition("/login")[0])
    page.goto(link)
    page.wait_for_selector("#terminal")
    tab.wait_terminal()
    tab.wait(lambda: page.evaluate("document.activeElement.tagName") == "TEXTAREA", "the keyboard")
    tab.type("x\n")
    page.get_by_text("shared sessions may not").wait_for()
    assert page.get_by_role("dialog").count() == 0
    page.context.close()


def test_s25_titles_and_addresses_turn_no_direction(tab: Tab, node: Node) -> None:
    title = "user\u202egnp.exe\u2066"
    address = "x-app:\u202egro.elpmaxe"
    program = f"read a; clear; printf '\\033]2;%s\\007\\033]8;;%s\\007click\\033]8;;\\007' '{title}' '{address}'; cat"
    tab.attach(node.create(program, name="job"))
    tab.type("\n")
    tab.wait_screen("click")
    tab.wait(lambda: tab.page.title() == "usergnp.exe · job", "the title")
    box = tab.page.locator(".xterm-screen").bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + 12, box["y"] + 8)
    tab.page.locator("#link-target").get_by_text("x-app:gro.elpmaxe (not opened from here)").wait_for()
