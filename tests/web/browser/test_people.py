"""Several people on one session, who may type, watching, telephones."""

from tests.survival.harness import Node
from tests.web.browser.conftest import Site, Tab


def test_two_people_see_the_same_and_each_other(site: Site, shell: str) -> None:
    first, second = (site.person(viewport={"width": 900, "height": 600}) for _ in range(2))
    for tab in (first, second):
        tab.attach(shell)
        tab.wait_screen(r"^\$ ")
    first.type("echo from-first\n")
    second.wait_screen("^from-first$")
    second.type("echo from-second\n")
    first.wait_screen("^from-second$")
    first.page.get_by_text("1 other").wait_for()


def test_the_pen_is_taken_and_given_back(site: Site, shell: str, node: Node) -> None:
    first, second = (site.person(viewport={"width": 1200, "height": 600}) for _ in range(2))
    for tab in (first, second):
        tab.attach(shell)
        tab.wait_screen(r"^\$ ")
    first.page.get_by_role("button", name="Take the pen").click()
    first.page.get_by_role("button", name="You have the pen").wait_for()
    second.page.locator("#pen.taken").wait_for()
    second.page.locator("#viewing").wait_for()
    second.type("echo not-sent\n")
    second.page.get_by_text("Somebody else has the pen.").first.wait_for()
    # In the words of the page, not in those of the shell.
    assert second.page.locator(".toast", has_text="lease").count() == 0
    # Over it goes, with a question, and then it is the other who only watches.
    second.page.locator("#pen").click()
    second.page.get_by_role("dialog").get_by_role("button", name="Take it").click()
    second.page.get_by_role("button", name="You have the pen").wait_for()
    second.page.locator("#viewing").wait_for(state="hidden")
    # The terminal has the focus again.
    second.type("echo sent\n")
    first.wait_screen("^sent$")
    assert "not-sent" not in first.screen()
    second.page.get_by_role("button", name="You have the pen").click()
    second.page.get_by_role("button", name="Take the pen").wait_for()
    second.type("echo free\n")
    first.wait_screen("^free$")
    assert node.call("lease.get", session_id=shell)["client_id"] is None


def test_who_is_sent_away_is_told_so_and_may_come_back(tab: Tab, shell: str, node: Node) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    (client,) = node.call("session.get", session_id=shell)["clients"]
    node.call("session.kick", session_id=shell, attachment_id=client["attachment_id"])
    tab.page.get_by_role("heading", name="You were detached").wait_for()
    tab.page.get_by_role("button", name="Attach again").click()
    tab.page.get_by_role("heading", name="You were detached").wait_for(state="detached")
    tab.wait_terminal()
    tab.type("echo back $((6 * 7))\n")
    tab.wait_screen("^back 42$")


def test_watching_types_nothing_and_resizes_nothing(site: Site, shell: str, node: Node) -> None:
    writer = site.person(viewport={"width": 1100, "height": 700})
    writer.attach(shell)
    writer.wait_screen(r"^\$ ")
    size = writer.size()
    watcher = site.person(viewport={"width": 500, "height": 400})
    watcher.attach(shell, "?view")
    watcher.wait_screen(r"^\$ ")
    watcher.type("echo never\n")
    watcher.page.get_by_text("You are only watching.").first.wait_for()
    writer.type("echo seen\n")
    watcher.wait_screen("^seen$")
    # The whole session, in smaller letters, instead of a part of it.
    watcher.wait(lambda: watcher.size() == size, "the session's size")
    assert writer.size() == size
    assert "never" not in writer.screen()
    modes = {client["mode"] for client in node.call("session.get", session_id=shell)["clients"]}
    assert modes == {"writer", "viewer"}


def test_on_a_telephone_there_are_the_keys_it_lacks(site: Site, node: Node) -> None:
    tab = site.person(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab.attach(node.create("stty raw -echo; echo ready; exec cat -v"))
    tab.wait_screen("^ready")
    for name in ("Escape", "Tab", "Up"):
        tab.page.get_by_role("button", name=name, exact=True).tap()
    tab.page.get_by_role("button", name="Control, for the next key").tap()
    tab.type("k")
    tab.type("k")
    tab.wait_screen(r"\^\[\s+\^\[\[A\^Kk")
    # Nothing sticks out to the side.
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_telephone_the_menu_copies_and_pastes(site: Site, node: Node) -> None:
    tab = site.person(
        viewport={"width": 390, "height": 420},
        has_touch=True,
        is_mobile=True,
        permissions=["clipboard-read", "clipboard-write"],
    )
    tab.attach(node.create("seq 98 99; printf '%050d\n' 7; while read line; do echo got $line; done"))
    tab.wait_screen("07$")

    def choose(name: str) -> None:
        tab.page.get_by_role("button", name="Menu").tap()
        # All of it can be reached above the on-screen keyboard.
        assert tab.page.evaluate("document.querySelector('dialog.menu').getBoundingClientRect().bottom") <= 420
        tab.page.get_by_role("button", name=name).tap()

    choose("Copy what is shown")
    # The line that was too long for the window is one.
    shown = f"98\n99\n{7:050}\n"
    tab.wait(lambda: tab.page.evaluate("navigator.clipboard.readText()") == shown, "what is shown")
    tab.page.evaluate("navigator.clipboard.writeText('pasted')")
    choose("Paste")
    tab.wait_screen("^pasted$")
    tab.page.keyboard.press("Enter")
    tab.wait_screen("^got pasted$")


def test_on_a_telephone_everything_can_be_reached_whoever_else_is_there(site: Site, shell: str) -> None:
    others = [site.person(viewport={"width": 1100, "height": 700}) for _ in range(2)]
    for other in others:
        other.attach(shell)
        other.wait_screen(r"^\$ ")
    others[0].page.get_by_role("button", name="Take the pen").click()
    tab = site.person(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    tab.attach(shell)
    tab.page.locator("#pen.taken").wait_for()
    tab.page.locator("#cropped").wait_for()
    tab.wait_screen(r"^\$ ")
    for name in ("pen", "menu"):
        box = tab.page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
    assert tab.page.evaluate("innerWidth") == 390
    tab.page.get_by_role("button", name="Menu").tap()
    tab.page.get_by_role("button", name="Search").tap()
    tab.page.get_by_label("Search in the output").fill("$")
    tab.page.get_by_text("1 of 1").wait_for()
    panel, close = (tab.page.locator(one).bounding_box() for one in ("#search", "#search-close"))
    assert panel is not None
    assert close is not None
    assert close["x"] + close["width"] <= panel["x"] + panel["width"] <= 390


def test_who_looks_at_anothers_size_is_told_whether_something_is_missing(site: Site, shell: str) -> None:
    large = site.person(viewport={"width": 1200, "height": 700})
    small = site.person(viewport={"width": 600, "height": 400})
    for tab in (large, small):
        tab.attach(shell)
        tab.wait_screen(r"^\$ ")
    small.type("x")
    rows, cols = small.size()
    large.page.get_by_text(f"{cols}×{rows}, by another window").wait_for()
    large.type("x")
    small.page.get_by_text(", shown in part").wait_for()


def test_somebody_without_a_login_sees_nothing_but_the_login(site: Site, shell: str) -> None:
    tab = site.person(log_in=False)
    tab.goto(f"/s/{shell}")
    tab.page.wait_for_url("**/login*")
    tab.page.get_by_label("One-time code or key").fill("wrong")
    tab.page.get_by_role("button", name="Log in").click()
    tab.page.get_by_text("not valid").wait_for()


def test_after_the_login_comes_what_was_wanted(site: Site, shell: str, node: Node) -> None:
    tab = site.person(log_in=False)
    code = str(node.call("web.open")["url"]).partition("#")[2]
    tab.goto(f"/s/{shell}")
    tab.page.wait_for_url("**/login*")
    tab.page.get_by_label("One-time code or key").fill(code)
    tab.page.get_by_role("button", name="Log in").click()
    tab.page.wait_for_url(f"**/s/{shell}")
    tab.wait_terminal()
    tab.wait_screen(r"^\$ ")


def test_many_tabs_of_one_browser_get_in_each_others_way_nowhere(site: Site, node: Node) -> None:
    """A browser has six connections to a server over HTTP/1.1, whatever the number of its tabs."""
    first = site.person()
    first.page.get_by_role("heading", name="No sessions yet").wait_for()
    tabs = [first]
    for number in range(8):
        tab = Tab(first.page.context.new_page(), first.base)
        site.tabs.append(tab)
        tabs.append(tab)
        tab.attach(node.create("echo shown; exec cat", name=f"one-{number}"))
        tab.wait_screen("^shown$")
    # All hear what happens, also when the one that has listened for all of them is gone.
    first.page.get_by_role("link", name="one-7").wait_for()
    first.page.close()
    session = node.call("session.list", name="one-7")["sessions"][0]["session_id"]
    node.call("session.update", session_id=session, name="renamed")
    tabs[-1].page.locator("#name").get_by_text("renamed").wait_for()
