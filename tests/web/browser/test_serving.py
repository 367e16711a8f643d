"""Visitors of a shared session, the line page and pages that programs draw, in Chromium."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.cli.test_serving import Served
from tests.survival.harness import PATIENCE_SECONDS, Node
from tests.web.browser.conftest import Site, Tab

DRAWER = [sys.executable, "-S", str(Path(__file__).parents[1] / "drawer.py")]
COLOURED = r'while read line; do printf "got \033[31m%s\033[0m\n" "$line"; echo oops >&2; done'


def wait_text(tab: Tab, selector: str, pattern: str) -> str:
    """Wait until an element's text matches."""
    found = tab.page.locator(selector)
    try:
        tab.wait(lambda: re.search(pattern, found.inner_text()), f"{pattern!r} in {selector}")
    except AssertionError as exc:
        raise AssertionError(f"{exc}; it shows {found.inner_text()!r}") from exc
    return str(found.inner_text())


def test_lines_go_in_and_come_back_with_colours(site: Site, tab: Tab, node: Node) -> None:
    session_id = node.create(["bash", "-c", COLOURED], backend="pipes", name="lines")
    tab.goto(f"/s/{session_id}?view=line")
    wait_text(tab, "#state", "Connected")
    tab.type("hello\n")
    # In which order two pipes are read that are ready at once is nobody's promise.
    wait_text(tab, "#output", r"› hello\n(oops\n)?got hello")
    wait_text(tab, "#output", "oops")
    red = tab.page.locator("#output span", has_text="hello").first
    assert red.evaluate("(span) => getComputedStyle(span).color") == "rgb(217, 83, 79)"
    assert tab.page.locator("#output .stderr").first.inner_text().strip() == "oops"
    tab.type("second\n")
    wait_text(tab, "#output", "got second")
    for _ in range(2):
        tab.page.keyboard.press("ArrowUp")
    assert tab.page.locator("#line").input_value() == "hello"
    tab.page.click("#interrupt")
    wait_text(tab, "#state", "killed by SIGINT")


def test_the_line_page_of_a_terminal_interrupts_by_the_key(tab: Tab, node: Node, shell: str) -> None:
    tab.goto(f"/s/{shell}?view=line")
    wait_text(tab, "#output", r"\$")
    tab.type("sleep 1000\n")
    tab.wait(lambda: (node.call("session.get", session_id=shell)["foreground"] or {}).get("name") == "sleep", "sleep")
    tab.page.click("#interrupt")
    tab.type("echo $((40+2))\n")
    wait_text(tab, "#output", "\n42")


def test_what_a_program_draws_is_shut_in(tab: Tab, node: Node) -> None:
    session_id = node.create(DRAWER, backend="pipes", name="drawn")
    # How long a page may take is asked of programs that have started.
    node.call("session.write", session_id=session_id, data="there?\n")
    node.call("session.read_until", session_id=session_id, pattern="got there?", timeout_ms=60_000)
    tab.goto(f"/s/{session_id}/app/start?x=1")
    frame = tab.page.frame_locator("#program")
    tab.wait(lambda: frame.locator("h1").count() == 1, "the page")
    assert frame.locator("h1").inner_text() == "Page /start"
    assert frame.locator("#n").inner_text() == "1 x=1"
    assert frame.locator("h1").evaluate("(h1) => getComputedStyle(h1).color") == "rgb(0, 128, 128)"
    # It neither reads the page around it nor talks to the server.
    tab.wait(lambda: "no way" in frame.locator("body").inner_text(), "the refused request")
    assert frame.locator("body").evaluate("() => [document.title, origin]") == ["shut in", "null"]
    tab.problems = [one for one in tab.problems if "Content Security Policy" not in one and "null" not in one]
    frame.locator("a").click()
    tab.wait(lambda: frame.locator("h1").inner_text() == "Page /deep/er", "the link")
    assert tab.page.url.endswith(f"/s/{session_id}/app/deep/er")
    tab.page.go_back()
    tab.wait(lambda: frame.locator("h1").inner_text() == "Page /start", "the way back")
    frame.locator("button").click()
    tab.wait(lambda: "q=cat" in frame.locator("#n").inner_text(), "the form")
    assert tab.page.url.endswith("/app/found?q=cat")
    # The last page's refused request, of which the console tells, too.
    tab.wait(lambda: "no way" in frame.locator("body").inner_text(), "the refused request of the form's page")
    tab.problems.clear()


@pytest.mark.parametrize("pipes", [False, True])
def test_two_visitors_share_a_session_by_its_link(chromium: Browser, serve: Callable[..., Served], pipes: bool) -> None:
    options = ["--pipes"] if pipes else []
    link = serve("-c", "while read line; do echo got $line; done", "--public", *options).link()
    tabs = []
    for _ in range(2):
        page = chromium.new_context().new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        tabs.append(Tab(page, link.partition("/login")[0]))
        page.goto(link)
        page.wait_for_selector("#output" if pipes else "#terminal")
    assert tabs[0].page.url == tabs[1].page.url
    assert "ptb_" not in tabs[0].page.url
    if pipes:
        wait_text(tabs[0], "#state", "Connected")
    else:
        tabs[0].wait_terminal()
        tabs[1].wait_terminal()
    tabs[0].page.bring_to_front()
    tabs[0].type("hello\n")
    for tab in tabs:
        if pipes:
            wait_text(tab, "#output", "got hello")
        else:
            tab.wait_screen("got hello")
    # The start leads a visitor here again.
    session = tabs[1].page.url
    tabs[1].goto("/")
    tabs[1].wait(lambda: tabs[1].page.url == session, "the shared session")
    for tab in tabs:
        tab.page.context.close()
