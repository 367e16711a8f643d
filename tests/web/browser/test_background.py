"""A tab in the background: however long a flood goes on, it holds no more than at its beginning.

Playwright keeps every page visible, so what browsers do to a hidden tab is done to this one by a script: nothing is
painted, timers run once a second at most, and the page is told. (Frozen tabs: `test_reconnect`.)
"""

import time

import pytest
from tests.survival.harness import Node, eventually
from tests.web.browser.conftest import Site, Tab

HIDING = """
    const later = [];
    let hidden = false;
    const { requestAnimationFrame: paint, setTimeout: once, setInterval: each } = window;
    window.requestAnimationFrame = (act) => (hidden ? -later.push(act) : paint.call(window, act));
    window.setTimeout = (act, ms, ...rest) => once.call(window, act, hidden ? Math.max(1000, ms ?? 0) : ms, ...rest);
    window.setInterval = (act, ms, ...rest) => each.call(window, act, hidden ? Math.max(1000, ms ?? 0) : ms, ...rest);
    Object.defineProperty(document, "hidden", { get: () => hidden });
    Object.defineProperty(document, "visibilityState", { get: () => (hidden ? "hidden" : "visible") });
    window.hideTab = (on) => {
        hidden = on;
        document.dispatchEvent(new Event("visibilitychange"));
        if (!on) later.splice(0).forEach((act) => paint.call(window, act));
    };
"""
PATIENCE_SECONDS = 240.0
# What the page has at its beginning is a few megabytes for itself, and a full scrollback of 10,000 lines.
MOST_GROWTH = 1.5


@pytest.fixture
def hideable(site: Site) -> Tab:
    tab = site.person(viewport={"width": 1100, "height": 700})
    tab.page.add_init_script(HIDING)
    return tab


def open_shell(tab: Tab, node: Node, **params: object) -> str:
    """A session whose scrollback is full already, in a tab."""
    session = node.create(["bash", "--norc", "-i"], env={"PS1": "$ "}, **params)
    tab.attach(session)
    tab.wait_screen(r"^\$ ")
    tab.type("seq -f '%080.0f' 20000; echo full\n")
    tab.wait_screen("^full$")
    return session


def end_of(node: Node, session: str) -> int:
    return int(node.call("session.get", session_id=session, detailed=False)["end_offset"])


def begin_flood(tab: Tab, node: Node, session: str) -> float:
    """Hide the tab and let it pour; return what the page holds then, in megabytes."""
    tab.page.evaluate("hideTab(true)")
    node.call("session.write", session_id=session, data="yes \"$(printf '%0200d' 0)\"\n")
    begin = end_of(node, session)
    eventually(lambda: end_of(node, session) > begin + (20 << 20), "the flood", PATIENCE_SECONDS)
    return held_megabytes(tab)


def held_megabytes(tab: Tab) -> float:
    """What the page's scripts hold after the garbage is gone, buffers (the lines of the terminal) included."""
    session = tab.page.context.new_cdp_session(tab.page)
    try:
        session.send("HeapProfiler.collectGarbage")
        usage = session.send("Runtime.getHeapUsage")
        return float(usage["usedSize"] + usage["backingStorageSize"]) / (1 << 20)
    finally:
        session.detach()


def end_flood(tab: Tab, node: Node, session: str) -> None:
    """Look at the tab again: it is there, and how things stand is shown."""
    tab.page.evaluate("hideTab(false)")
    node.call("session.write", session_id=session, data="\x03")
    node.call("session.write", session_id=session, data="echo al''ive\n")
    tab.wait_screen("^alive$")


def test_minutes_of_a_flood_leave_a_hidden_tab_as_it_was(hideable: Tab, node: Node) -> None:
    session = open_shell(hideable, node)
    first = begin_flood(hideable, node, session)
    # Half a minute's worth of the 10 MB/s that somebody may leave running.
    begin = end_of(node, session)
    eventually(lambda: end_of(node, session) > begin + 300_000_000, "the flood", PATIENCE_SECONDS)
    # What is under way at one moment is not at the next; what is kept stays.
    eventually(lambda: held_megabytes(hideable) < first * MOST_GROWTH, "what was held at first", PATIENCE_SECONDS)
    # The page does not take what it could not show; that stays where it is kept anyway.
    eventually(lambda: node.call("session.get", session_id=session)["clients"][0]["lag_bytes"] > 0, "a lag")
    end_flood(hideable, node, session)


@pytest.mark.soak
def test_an_hour_of_a_flood_leaves_a_hidden_tab_as_it_was(hideable: Tab, node: Node) -> None:
    session = open_shell(hideable, node, output_bytes_per_second=10_000_000)
    first = begin_flood(hideable, node, session)
    until = time.monotonic() + 3600
    seen = [first]
    while time.monotonic() < until:
        hideable.page.wait_for_timeout(60_000)
        seen.append(min(held_megabytes(hideable) for _ in range(3)))
    assert max(seen) < first * MOST_GROWTH, seen
    end_flood(hideable, node, session)
