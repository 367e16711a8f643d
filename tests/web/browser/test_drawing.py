"""What is drawn, with and without WebGL, under the strict policy: colours, images, input methods, a base path."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.survival.harness import Node
from tests.web.browser.conftest import ARGUMENTS, LAUNCH_MS, NeedTool, Site, Tab

WITHOUT_WEBGL = ["--disable-gpu", "--disable-3d-apis"]
# Red, green, red: three bands of sixels.
SIXELS = r"\ePq#0;2;100;0;0#1;2;0;100;0#0!60~-#1!60~-#0!60~\e\\"


@pytest.fixture(params=["webgl", "dom"], scope="module")
def chromium(request: pytest.FixtureRequest, need_tool: NeedTool) -> Iterator[Browser]:
    path = need_tool("chromium")
    arguments = ARGUMENTS if request.param == "webgl" else [*ARGUMENTS[:-1], *WITHOUT_WEBGL]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments, timeout=LAUNCH_MS)
        yield browser
        browser.close()


@pytest.fixture
def node(runtime_dir: Path) -> Iterator[Node]:
    node = Node(runtime_dir)
    node.start(env={"PTYBRIDGE_WEB_PORT": "0", "PTYBRIDGE_WEB_BASE_PATH": "/below"})
    yield node
    node.close()


@pytest.fixture
def tab(site: Site) -> Tab:
    tab = site.person(viewport={"width": 900, "height": 500}, color_scheme="dark")
    tab.base += "/below"
    return tab


def colours(tab: Tab) -> set[tuple[int, ...]]:
    """All colours of a picture of the terminal, as the browser itself reads it."""
    picture = tab.page.locator("#terminal").screenshot().hex()
    found = tab.page.evaluate(
        """async (hex) => {
            const bytes = Uint8Array.from(hex.match(/../g), (two) => parseInt(two, 16));
            const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
            const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
            canvas.drawImage(bitmap, 0, 0);
            const { data } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
            const colours = new Set();
            for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 3).join());
            return [...colours];
        }""",
        picture,
    )
    return {tuple(int(part) for part in colour.split(",")) for colour in found}


def test_colours_and_images_are_drawn(tab: Tab, shell: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type(rf"clear; printf '\e[48;2;12;34;56m  \e[0m{SIXELS}\n'" + "\n")
    tab.wait(lambda: {(12, 34, 56), (255, 0, 0), (0, 255, 0)} <= colours(tab), "the colours")


def test_an_input_method_composes_in_place(tab: Tab, shell: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type("echo ")
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Input.imeSetComposition", {"text": "にほ", "selectionStart": 2, "selectionEnd": 2})
    tab.page.locator(".composition-view.active").get_by_text("にほ").wait_for()
    session.send("Input.insertText", {"text": "日本"})
    tab.type("\n")
    tab.wait_screen("^日本$")


def test_what_is_found_stands_out_in_the_light_theme_too(site: Site, shell: str) -> None:
    tab = site.person(viewport={"width": 900, "height": 500}, color_scheme="light")
    tab.base += "/below"
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type("printf '%s\\n' needle needle\n")
    tab.wait_screen("^needle\nneedle$")
    tab.page.keyboard.press("Control+Shift+F")
    tab.type("needle")
    light, dark = (255, 233, 168), (77, 69, 38)
    tab.wait(lambda: {light, dark} & colours(tab) == {light}, "a light ground behind it")
    # And in the dark one, when it becomes that meanwhile.
    tab.page.emulate_media(color_scheme="dark")
    tab.wait(lambda: {light, dark} & colours(tab) == {dark}, "a dark ground behind it")
