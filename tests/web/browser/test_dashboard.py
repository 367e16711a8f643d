"""The dashboard: what it shows, live; what can be done by keyboard alone."""

import re

from playwright.sync_api import Locator
from tests.survival.harness import Node
from tests.web.browser.conftest import Site, Tab


def row(tab: Tab, name: str) -> Locator:
    return tab.page.locator("#sessions > li", has=tab.page.get_by_role("link", name=name, exact=True))


def test_sessions_appear_change_and_go_by_themselves(tab: Tab, node: Node) -> None:
    tab.page.get_by_role("heading", name="No sessions yet").wait_for()
    session = node.create("read -p 'Sure? ' answer; exit $answer", name="asks", tags=["night"])
    row(tab, "asks").get_by_text("waits for input").wait_for()
    assert tab.page.title() == "(1) ptybridge"
    node.call("session.write", session_id=session, data="3\n")
    row(tab, "asks").get_by_text("exited with status 3").wait_for()
    node.call("session.close", session_id=session)
    tab.page.get_by_role("heading", name="No sessions yet").wait_for()


def test_on_a_telephone_nothing_is_cut_off(site: Site, node: Node) -> None:
    name, client = "a-rather-long-name-of-a-session", "a-client-with-a-long-name"
    session = node.create("exec cat", name=name, tags=["one", "two", "three", "a-tag-that-is-longer"])
    node.call("lease.acquire", session_id=session, client_id=client)
    tab = site.person(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    row(tab, name).get_by_text(f"pen: {client}").wait_for()
    within = row(tab, name).bounding_box()
    assert within is not None
    parts = row(tab, name).locator(".name, .tag, .how > *, .row-actions button").all()
    boxes = [box for box in (part.bounding_box() for part in parts) if box is not None]
    assert len(boxes) == 1 + 4 + 2 + 3
    assert all(box["x"] + box["width"] <= within["x"] + within["width"] for box in boxes)


def test_starting_a_session_by_keyboard_alone(tab: Tab, node: Node) -> None:
    tab.page.get_by_role("heading", name="No sessions yet").wait_for()
    tab.page.keyboard.press("n")
    tab.type('echo "$GREETING from $PWD"; exec cat')
    tab.page.get_by_label("Folder").fill("/usr")
    tab.page.get_by_role("textbox", name="Name").fill("made")
    tab.page.get_by_role("textbox", name="Tags").fill("a, b")
    tab.page.get_by_text("Environment and size").click()
    tab.page.get_by_role("textbox", name="Environment").fill("GREETING=hello=you\n")
    tab.page.get_by_label("Size at first").select_option("200×60")
    tab.page.get_by_role("textbox", name="Name").press("Enter")
    tab.page.wait_for_url("**/s/*")
    tab.wait_terminal()
    tab.wait_screen("^hello=you from /usr$")
    (made,) = node.call("session.list")["sessions"]
    assert (made["name"], made["tags"]) == ("made", ["a", "b"])


def test_what_cannot_start_says_why_and_the_dialog_stays(tab: Tab) -> None:
    tab.page.keyboard.press("n")
    tab.page.get_by_label("Folder").fill("/no/such/folder")
    tab.page.get_by_role("button", name="Start").click()
    tab.page.get_by_role("alert").get_by_text("/no/such/folder").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("dialog").wait_for(state="detached")


def test_searching_and_moving_by_keys(tab: Tab, node: Node) -> None:
    for name, tags in (("alpha", ["red"]), ("beta", ["blue"]), ("gamma", ["blue"])):
        node.create("sleep 1000", name=name, tags=tags)
    row(tab, "gamma").wait_for()
    tab.page.keyboard.press("/")
    tab.type("blue")
    row(tab, "alpha").wait_for(state="detached")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("j")
    focused = tab.page.evaluate("document.activeElement.textContent")
    assert focused in ("beta", "gamma")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/s/*")


def test_renaming_tagging_and_ending(tab: Tab, node: Node) -> None:
    session = node.create("sleep 1000", name="old")
    row(tab, "old").wait_for()
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("r")
    tab.page.get_by_role("textbox", name="Name").fill("new")
    tab.page.get_by_role("textbox", name="Tags").fill("kept")
    tab.page.get_by_role("button", name="Save").click()
    row(tab, "new").get_by_role("button", name="kept").wait_for()
    tab.page.keyboard.press("x")
    tab.page.get_by_role("dialog").get_by_text("End “new”?").wait_for()
    tab.page.keyboard.press("Escape")
    assert node.call("session.get", session_id=session)["state"] == "running"
    tab.page.keyboard.press("x")
    tab.page.get_by_role("button", name="End it").click()
    row(tab, "new").wait_for(state="detached")


def test_a_watched_session_says_when_it_waits(site: Site, node: Node) -> None:
    tab = site.person()
    tab.page.context.grant_permissions(["notifications"])
    tab.page.evaluate(
        """() => {
            window.told = [];
            window.Notification = class extends EventTarget {
                static permission = "granted";
                constructor(text) { super(); window.told.push(text); }
            };
        }"""
    )
    session = node.create("sleep 1000 & wait; read line", name="job")
    row(tab, "job").hover()
    row(tab, "job").get_by_role("button", name="Watch").click()
    row(tab, "job").get_by_role("button", name="Watching").wait_for()
    node.call("session.signal", session_id=session, signal="SIGKILL", target="session")
    tab.wait(lambda: tab.page.evaluate("window.told"), "a notification")
    (text,) = tab.page.evaluate("window.told")
    assert re.fullmatch(r"job killed by SIGKILL", text)


def test_dark_and_light_follow_the_system_until_told_otherwise(site: Site) -> None:
    tab = site.person(color_scheme="light")
    theme = "document.documentElement.dataset.theme"
    assert tab.page.evaluate(theme) == "light"
    tab.page.emulate_media(color_scheme="dark")
    tab.wait(lambda: tab.page.evaluate(theme) == "dark", "the dark theme")
    tab.page.get_by_role("button", name="Dark or light").click()
    assert tab.page.evaluate(theme) == "light"
    tab.page.reload()
    tab.page.wait_for_selector("[data-theme]")
    tab.wait(lambda: tab.page.evaluate(theme) == "light", "the chosen theme")


def test_on_a_telephone_nothing_sticks_out(site: Site, node: Node) -> None:
    node.create(
        "read x # " + "a long command line " * 10, name="a-session-with-quite-a-long-name-" * 3, tags=["one", "two"]
    )
    tab = site.person(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    tab.page.locator("#sessions > li").wait_for()
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_logging_out_ends_the_login(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Log out").click()
    tab.page.wait_for_url("**/login*")
    tab.goto("/")
    tab.page.wait_for_url("**/login*")
