"""Chromium on the pages of a real daemon, logged in by the link that `ptybridge open` gives.

How it works: everything here is synchronous. Playwright's own loop runs in this thread only while a module's tests
do, and the daemon is a process of its own, which can be killed.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.cli.test_serving import Served
from tests.survival.harness import PATIENCE_SECONDS, Node, eventually, reserved_port

NeedTool = Callable[[str], str]

# Chromium looks for much that is not here: accounts, updates, QUIC. As root it does without its sandbox.
ARGUMENTS = (
    "--no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --enable-unsafe-swiftshader"
).split()


LAUNCH_MS = PATIENCE_SECONDS * 1000


@pytest.fixture(scope="module")
def chromium(need_tool: NeedTool) -> Iterator[Browser]:
    path = need_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=LAUNCH_MS)
        yield browser
        browser.close()


@pytest.fixture
def web_port() -> Iterator[str]:
    """A port that stays the daemon's while it is killed and started again."""
    with reserved_port() as port:
        yield port


@pytest.fixture
def node(runtime_dir: Path, web_port: str) -> Iterator[Node]:
    node = Node(runtime_dir)
    node.start(env={"PTYBRIDGE_WEB_PORT": web_port})
    yield node
    node.close()


class Tab:
    """A page, and what a person sees in it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        # Also what the content security policy has blocked is told as an error.
        if message.type == "error" and not re.search(
            r"Failed to load resource|WebSocket connection|ERR_", message.text
        ):
            self.problems.append(message.text)

    def goto(self, path: str) -> None:
        self.page.goto(self.base + path)

    # -- the terminal ---------------------------------------------------------------------------------------

    def attach(self, session_id: str, query: str = "") -> None:
        """Open a session's page."""
        self.goto(f"/s/{session_id}{query}")
        self.wait_terminal()

    def wait_terminal(self) -> None:
        """Wait until the page has its terminal. (Playwright's own way of waiting needs what the policy forbids.)"""
        there = "Boolean(document.getElementById('terminal')?.terminal)"
        self.wait(lambda: self.page.evaluate(there), "the terminal")

    def screen(self) -> str:
        """The visible lines, without the blanks behind them."""
        return str(
            self.page.evaluate(
                """() => {
                    const { terminal } = document.getElementById("terminal");
                    const buffer = terminal.buffer.active;
                    const lines = [];
                    for (let row = 0; row < terminal.rows; row++)
                        lines.push(buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? "");
                    return lines.join("\\n").replace(/\\n+$/, "");
                }"""
            )
        )

    def wait_screen(self, pattern: str) -> str:
        """Wait until the visible text matches; return it."""

        def matches() -> str | None:
            self.page.wait_for_timeout(20)  # Playwright hears the browser only while it waits
            text = self.screen()
            return text if re.search(pattern, text, re.MULTILINE) else None

        try:
            return eventually(matches, f"{pattern!r} on the screen")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; it shows\n{self.screen()}\n{self.problems}") from exc

    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.page.evaluate(
            "() => { const { rows, cols } = document.getElementById('terminal').terminal; return [rows, cols]; }"
        )
        return rows, cols

    def type(self, text: str) -> None:
        """Type on the keyboard, with Enter for a line's end."""
        self.page.keyboard.type(text)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition outside the page while the page goes on."""

        def checked() -> bool:
            self.page.wait_for_timeout(20)
            return bool(condition())

        eventually(checked, what)


class Site:
    """One daemon's pages, for people with a browser each."""

    def __init__(self, node: Node, chromium: Browser) -> None:
        self.node = node
        self._chromium = chromium
        self._contexts: list[BrowserContext] = []
        self.tabs: list[Tab] = []

    def person(self, *, log_in: bool = True, **options: Any) -> Tab:
        """A new browser with a tab; `options` are Playwright's (viewport, color_scheme, has_touch …)."""
        context = self._chromium.new_context(**options)
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        self._contexts.append(context)
        link = str(self.node.call("web.open")["url"])
        tab = Tab(context.new_page(), re.match(r"https?://[^/]+", link)[0])  # type: ignore[index]
        self.tabs.append(tab)
        if log_in:
            tab.page.goto(link)
            # The script has begun, so it hears keys.
            tab.page.wait_for_selector("[data-theme] .dashboard")
        return tab

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def site(node: Node, chromium: Browser) -> Iterator[Site]:
    site = Site(node, chromium)
    yield site
    site.close()
    assert [problem for tab in site.tabs for problem in tab.problems] == []


@pytest.fixture
def tab(site: Site) -> Tab:
    return site.person(viewport={"width": 1100, "height": 700})


@pytest.fixture
def shell(node: Node) -> str:
    """A session with a bash whose prompt is known."""
    return node.create(["bash", "--norc", "-i"], env={"PS1": "$ ", "HISTFILE": None}, name="shell")


@pytest.fixture
def serve(runtime_dir: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(runtime_dir, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()
