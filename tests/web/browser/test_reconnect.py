"""Pages whose daemon is killed, and floods: what they say, that nothing is missed, that memory stays flat."""

import re

from playwright.sync_api import WebSocketRoute
from tests.survival.harness import Node, eventually
from tests.web.browser.conftest import Site, Tab

from ptybridge.wire import attach as frames


def test_a_killed_daemon_is_waited_for_and_nothing_is_missed(tab: Tab, shell: str, node: Node, web_port: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type("for i in 1 2 3 4 5 6; do echo line-$i; sleep 0.5; done; echo all\n")
    tab.wait_screen("^line-1$")
    node.kill()
    tab.page.get_by_text("Connection lost").wait_for()
    node.start(env={"PTYBRIDGE_WEB_PORT": web_port})
    screen = tab.wait_screen("^all$")
    assert re.findall(r"^line-(\d)$", screen, re.MULTILINE) == list("123456")
    tab.page.locator("#banner").wait_for(state="hidden")
    tab.type("echo again\n")
    tab.wait_screen("^again$")


def layout(tab: Tab) -> dict[str, float]:
    """How large the terminal is, and how much of it lies below its place."""
    found: dict[str, float] = tab.page.evaluate(
        """() => {
            const { rows, cols } = document.getElementById("terminal").terminal;
            const stage = document.getElementById("stage").getBoundingClientRect();
            const { bottom } = document.querySelector(".xterm-screen").getBoundingClientRect();
            return { rows, cols, height: stage.height, hidden: Math.max(0, bottom - stage.bottom) };
        }"""
    )
    return found


def test_what_is_said_above_the_terminal_takes_nothing_from_it(tab: Tab, shell: str, node: Node) -> None:
    routes: list[WebSocketRoute] = []

    def pass_on(page: WebSocketRoute) -> None:
        routes.append(page)
        page.connect_to_server()

    tab.page.route_web_socket("**/attach?*", pass_on)
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    # Not before the session has this size.
    tab.wait(lambda: node.call("session.get", session_id=shell)["rows"] == tab.size()[0], "the size of the window")
    before = layout(tab)
    assert before["hidden"] == 0
    routes[-1].send(frames.encode(frames.Gap(0, 5_836_692)))
    # It is not said for ever, but what was said last can be read.
    said = "5.8 MB of output skipped; this is how it stands now."
    tab.wait(lambda: tab.page.locator("#banner span").text_content() == said, "what is said")
    assert layout(tab) == before
    node.kill()
    tab.page.get_by_text("Connection lost").wait_for()
    assert layout(tab) == before


def test_who_presses_now_can_type_at_once(tab: Tab, shell: str, node: Node, web_port: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    node.kill()
    tab.page.get_by_role("button", name="Now").click()
    node.start(env={"PTYBRIDGE_WEB_PORT": web_port})
    tab.page.locator("#banner").wait_for(state="hidden")
    tab.type("echo back $((6 * 7))\n")
    tab.wait_screen("^back 42$")


def test_the_dashboard_comes_back_too(site: Site, node: Node, web_port: str) -> None:
    tab = site.person()
    node.create("sleep 1000", name="before")
    tab.page.get_by_role("link", name="before").wait_for()
    node.kill()
    tab.page.get_by_text("The server does not answer").wait_for()
    node.start(env={"PTYBRIDGE_WEB_PORT": web_port})
    node.create("sleep 1000", name="after")
    tab.page.get_by_role("link", name="after").wait_for()
    tab.page.get_by_text("The server does not answer").wait_for(state="hidden")


def test_a_session_that_is_gone_is_said_to_be(tab: Tab) -> None:
    tab.goto("/s/nowhere0")
    tab.page.get_by_role("heading", name="This session cannot be shown").wait_for()
    tab.page.get_by_role("link", name="All sessions").last.click()
    tab.page.wait_for_selector(".dashboard")


def heap_megabytes(tab: Tab) -> float:
    """What the page's scripts hold after the garbage is gone."""
    session = tab.page.context.new_cdp_session(tab.page)
    try:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"]) / (1 << 20)
    finally:
        session.detach()


def test_a_flood_leaves_memory_flat_and_the_keyboard_alive(tab: Tab, node: Node) -> None:
    session = node.create(["bash", "--norc", "-i"], env={"PS1": "$ "}, output_bytes_per_second=10_000_000)
    tab.attach(session)
    tab.wait_screen(r"^\$ ")
    tab.type("seq -f '%080.0f' 500000; echo over\n")
    tab.wait_screen("^over$")
    first = heap_megabytes(tab)
    # Twice what fills the scrollback: from then on nothing may grow.
    tab.type("clear; seq -f '%080.0f' 1000000; echo over again\n")
    tab.wait_screen("^over again$")
    assert heap_megabytes(tab) < first + 20
    tab.type("clear; yes\n")
    tab.wait_screen("^y\ny\ny$")
    tab.page.keyboard.press("Control+c")
    tab.wait_screen(r"\^C\n\$ $|\$ $")


def test_r24_a_frozen_tab_holds_nobody_up_and_catches_up(tab: Tab, node: Node) -> None:
    session = node.create(["bash", "--norc", "-i"], env={"PS1": "$ "})
    tab.attach(session)
    tab.wait_screen(r"^\$ ")
    browser = tab.page.context.new_cdp_session(tab.page)
    # What browsers do to tabs in the background for long: no script runs any more. That takes the browser a moment,
    # in which the page could read on, so its next statement is the last.
    browser.send("Debugger.enable")
    browser.send("Debugger.pause")
    browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    node.call("session.write", session_id=session, data="seq -f '%080.0f' 300000; echo ov''er\n")
    # 300,000 lines of 80 digits and a line end.
    eventually(
        lambda: node.call("session.get", session_id=session)["end_offset"] > 300_000 * 82, "the end of the flood"
    )
    (client,) = node.call("session.get", session_id=session)["clients"]
    # It waits in the session, not in the connection or the page.
    assert client["lag_bytes"] > 1 << 20
    browser.send("Page.setWebLifecycleState", {"state": "active"})
    browser.send("Debugger.disable")
    tab.wait_screen("^over$")
    tab.type("echo alive\n")
    tab.wait_screen("^alive$")
