"""What the policy asks about: reasons and tokens for who may confirm it, and questions for a person to answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.survival.harness import PATIENCE_SECONDS, Node
from tests.web.browser.conftest import Site, Tab

expect.set_options(timeout=PATIENCE_SECONDS * 1000)

RULES = """
[policy]
confirm = "{confirm}"

[[policy.rule]]
verdict = "ask"
name = "sendings"
command = "sent-"
"""
COMMAND = "echo sent-$((40 + 2)); exec cat"


@pytest.fixture
def confirm() -> str:
    return "human"


@pytest.fixture
def node(runtime_dir: Path, confirm: str) -> Iterator[Node]:
    settings = runtime_dir / "config.toml"
    settings.write_text(RULES.format(confirm=confirm))
    node = Node(runtime_dir)
    node.start(env={"PTYBRIDGE_WEB_PORT": "0", "PTYBRIDGE_CONFIG": str(settings)})
    yield node
    node.close()


def start(tab: Tab) -> None:
    """Ask for a session of the command, from the dashboard."""
    tab.page.keyboard.press("n")
    tab.type(COMMAND)
    tab.page.get_by_role("button", name="Start").click()


@pytest.mark.parametrize("confirm", ["caller"])
def test_who_may_confirm_says_why(tab: Tab, node: Node) -> None:
    start(tab)
    dialog = tab.page.get_by_role("dialog", name="This needs a confirmation")
    dialog.get_by_text(COMMAND).wait_for()
    dialog.get_by_text("The rule “sendings” asks.").wait_for()
    dialog.get_by_role("button", name="Cancel").click()
    tab.page.get_by_role("alert").get_by_text("nothing was started").wait_for()
    assert node.call("session.list")["sessions"] == []
    tab.page.get_by_role("button", name="Start").click()
    dialog.get_by_label("Why must it run?").fill("to see it")
    dialog.get_by_role("button", name="Run it").click()
    tab.page.wait_for_url("**/s/*")
    tab.wait_terminal()
    tab.wait_screen("^sent-42$")


def test_another_person_allows_it_and_it_goes_on(site: Site, node: Node) -> None:
    asker, other = site.person(), site.person()
    start(asker)
    asker.page.get_by_role("dialog", name="Waiting for somebody’s answer").wait_for()
    card = other.page.locator("#approvals .approval")
    card.get_by_text("wants to start a session").wait_for()
    expect(card.locator("pre")).to_have_text(COMMAND)
    assert other.page.title() == "(1) ptybridge"
    # Whoever asked is not offered to answer.
    own = asker.page.locator("#approvals .approval")
    own.get_by_text("Somebody else has to answer this").wait_for()
    assert own.get_by_role("button").count() == 0
    card.get_by_role("button", name="Allow once").click()
    asker.page.wait_for_url("**/s/*")
    asker.wait_terminal()
    asker.wait_screen("^sent-42$")
    card.wait_for(state="detached")
    expect(other.page.locator("#approvals")).to_be_hidden()


def test_a_denial_is_told_with_its_reason(site: Site, node: Node) -> None:
    asker, other = site.person(), site.person()
    other.attach(node.create("exec cat", name="somewhere"))
    start(asker)
    other.page.get_by_role("button", name="1 question").click()
    card = other.page.get_by_role("dialog").locator(".approval")
    card.get_by_label("Reason").fill("not today")
    card.get_by_role("button", name="Deny").click()
    asker.page.get_by_role("alert").get_by_text("It was denied: not today").wait_for()
    other.page.get_by_role("dialog").wait_for(state="hidden")
    expect(other.page.locator("#questions")).to_be_hidden()
    assert len(node.call("session.list")["sessions"]) == 1


def test_on_a_telephone_nothing_sticks_out(site: Site, node: Node) -> None:
    start(site.person())
    tab = site.person(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    tab.page.locator("#approvals .approval").wait_for()
    assert tab.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    tab.page.locator("#approvals").get_by_role("button", name="Deny").tap()
    tab.page.locator("#approvals").wait_for(state="hidden")


def test_who_does_not_wait_any_more_starts_nothing(site: Site, node: Node) -> None:
    asker = site.person()
    start(asker)
    asker.page.get_by_role("dialog", name="Waiting for somebody’s answer").get_by_role("button", name="Close").click()
    asker.page.get_by_role("alert").get_by_text("nothing was started").wait_for()
    (asked,) = node.call("approval.list")["approvals"]
    node.call("approval.decide", approval_id=asked["approval_id"], allow=True)
    assert node.call("session.list")["sessions"] == []
