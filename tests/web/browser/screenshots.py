"""Makes the pictures of docs/images: `python -m tests.web.browser.screenshots DIRECTORY`, or `make screenshots`."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.survival.harness import Node
from tests.web.browser.conftest import ARGUMENTS, Site, Tab

WINDOW = {"width": 1120, "height": 660}
PHONE = {"width": 390, "height": 780}
SESSIONS = (
    ("build", "echo compiling; sleep 5000", ["ci"]),
    ("migrate", "read -p 'Apply 3 migrations to production? [y/N] ' answer", ["db"]),
    ("logs", "while :; do date; sleep 1; done", ["ops"]),
    ("backup", "echo 'no space left on device'; exit 3", ["ops", "night"]),
    ("deploy", "true", ["ci"]),
)
WORK = (
    "git init -q demo && cd demo && printf 'print(\"hello\")\\n' > hello.py",
    "python3 hello.py",
    "ls --no-such-option",
    "printf '\\e[1;32mgreen\\e[0m \\e[38;2;242;193;78mgold\\e[0m 你好 😀 https://example.org\\n'",
)


def take(directory: Path, chromium: str, home: Path) -> None:
    """Start a daemon with something to see, and take the pictures."""
    node = Node(home)
    node.start(env={"PTYBRIDGE_WEB_PORT": "0", "PTYBRIDGE_FILES_ROOTS": str(home)})
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            site = Site(node, browser)
            for name, command, tags in SESSIONS:
                node.create(command, name=name, tags=tags, cwd="/tmp")
            work = node.create(["bash", "-i"], name="work", cwd=str(home), env={"HOME": str(home), "HISTFILE": None})
            _pictures(site, work, directory)
            site.close()
            browser.close()
    finally:
        node.close()


def _pictures(site: Site, work: str, directory: Path) -> None:
    dark = site.person(viewport=WINDOW, color_scheme="dark")
    dark.attach(work)
    dark.wait_screen(r"[$#] $")
    dark.type("PS1='$ '; clear\n")
    dark.wait_screen(r"\A\$ \Z")
    for count, line in enumerate(WORK, 2):
        dark.type(line + "\n")
        _wait_prompts(dark, count)  # what is typed ahead is echoed in the middle of the output
    dark.wait_screen("^green gold")
    other = site.person(viewport=WINDOW, color_scheme="light")
    other.attach(work, "?view")
    dark.page.get_by_text("1 other").wait_for()
    dark.page.screenshot(path=directory / "terminal.png")
    other.page.get_by_role("button", name="Files").click()
    other.page.locator("#files .entry").first.wait_for()
    other.page.screenshot(path=directory / "files.png")
    other.goto("/")
    other.page.get_by_text("waits for input").wait_for()
    other.page.screenshot(path=directory / "dashboard-light.png")
    dark.goto("/")
    dark.page.get_by_text("waits for input").wait_for()
    dark.page.keyboard.press("j")
    dark.page.screenshot(path=directory / "dashboard-dark.png")
    phone = site.person(viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True)
    phone.attach(work)
    phone.wait_screen("^green gold")
    phone.page.screenshot(path=directory / "phone.png")


def _wait_prompts(tab: Tab, count: int) -> None:
    tab.wait(lambda: len(re.findall(r"^\$ ", tab.screen(), re.MULTILINE)) == count, "the prompt")


def main() -> None:
    """Write the pictures into the directory of the first argument."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit(
            "error: this needs chromium. Debian, Ubuntu: apt install chromium fonts-noto-cjk fonts-noto-color-emoji"
        )
    with tempfile.TemporaryDirectory(prefix="ptyb-", dir="/tmp") as home:
        take(directory, chromium, Path(home))


if __name__ == "__main__":
    main()
