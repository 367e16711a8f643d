"""What a login may not do is not offered, or says why, on every page."""

from playwright.sync_api import expect
from tests.survival.harness import PATIENCE_SECONDS, Node
from tests.web.browser.conftest import Site, Tab

expect.set_options(timeout=PATIENCE_SECONDS * 1000)


def guest(site: Site, node: Node, level: str) -> Tab:
    """Somebody who has logged in with a key."""
    value = node.call("key.create", name="guest", level=level)["value"]
    tab = site.person(log_in=False, viewport={"width": 1100, "height": 700})
    tab.goto("/login")
    tab.page.get_by_label("One-time code or key").fill(value)
    tab.page.get_by_role("button", name="Log in").click()
    tab.page.wait_for_selector("[data-theme] .dashboard")
    return tab


def test_a_reader_is_offered_nothing_that_changes(site: Site, node: Node) -> None:
    session = node.create("echo shown; read line", name="job")
    tab = guest(site, node, "read")
    row = tab.page.locator("#sessions > li")
    row.get_by_role("link", name="job", exact=True).wait_for()
    expect(tab.page.locator("#new")).to_be_hidden()
    row.hover()
    for name in ("Rename", "End"):
        button = row.get_by_role("button", name=name)
        expect(button).to_be_disabled()
        assert button.get_attribute("title") == "Your login does not allow this."
    # Keys reach what is disabled; they say it, too.
    for key, told in (("n", "Your login does not allow starting sessions."), ("x", "Your login does not allow this.")):
        tab.page.keyboard.press(key)
        tab.page.get_by_text(told).wait_for()
    assert tab.page.get_by_role("dialog").count() == 0
    tab.attach(session)
    tab.wait_screen("^shown$")
    tab.page.locator("#viewing").wait_for()
    for selector in ("#pen", "#files-button", "#keybar"):
        expect(tab.page.locator(selector)).to_be_hidden()
    tab.page.get_by_role("button", name="Menu").click()
    for name in ("End this session …", "Type here again"):
        expect(tab.page.get_by_role("button", name=name)).to_be_disabled()
    expect(tab.page.get_by_role("button", name="Files")).to_be_hidden()
    tab.page.keyboard.press("Escape")
    node.call("session.write", session_id=session, data="\n")
    tab.page.get_by_role("heading", name="Exited with status 0").wait_for()
    assert tab.page.get_by_role("button", name="Run again").count() == 0


def test_a_sessions_access_holds_for_all_but_its_creator(site: Site, node: Node) -> None:
    session = node.create("echo shown; exec cat", name="job", access="read-only")
    tab, owner = guest(site, node, "full"), site.person()
    for one, refused in ((tab, True), (owner, False)):
        one.goto("/")
        row = one.page.locator("#sessions > li")
        row.get_by_role("link", name="job", exact=True).wait_for()
        row.hover()
        button = row.get_by_role("button", name="End")
        if refused:
            expect(button).to_be_disabled()
            assert button.get_attribute("title") == "The session’s access (read-only) does not allow this."
        else:
            expect(button).to_be_enabled()
    tab.attach(session)
    tab.wait_screen("^shown$")
    tab.page.locator("#viewing").wait_for()
    tab.goto(f"/s/{session}?view=line")
    expect(tab.page.locator("#line")).to_be_disabled()
    expect(tab.page.locator("#end")).to_be_disabled()
