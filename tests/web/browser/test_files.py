"""The drawer of files: looking, fetching, sending, and what is refused."""

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator
from tests.survival.harness import Node, eventually
from tests.web.browser.conftest import Site, Tab

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The only folder that is open to browsers, with something in it."""
    home = tmp_path / "home"
    (home / "docs").mkdir(parents=True)
    (home / "notes.txt").write_text("first\n<b>second</b>\n")
    (home / "page.html").write_text("<script>document.title = 'run'</script><h1>no heading</h1>")
    (home / "dot.png").write_bytes(PIXEL)
    (home / "data.bin").write_bytes(b"\0\xff" * 1000)
    (home / ".hidden").write_text("x")
    return home


@pytest.fixture
def node(runtime_dir: Path, home: Path, web_port: str) -> Iterator[Node]:
    node = Node(runtime_dir)
    node.start(env=environment(home, web_port))
    yield node
    node.close()


def environment(home: Path, web_port: str) -> dict[str, str]:
    return {"PTYBRIDGE_WEB_PORT": web_port, "PTYBRIDGE_FILES_ROOTS": str(home)}


@pytest.fixture
def drawer(tab: Tab, node: Node, home: Path) -> Tab:
    """A session in the folder, with the drawer open."""
    tab.attach(node.create(["bash", "--norc", "-i"], env={"PS1": "$ "}, cwd=str(home), name="shell"))
    tab.wait_screen(r"^\$ ")
    tab.page.keyboard.press("Control+Shift+E")
    entry(tab, "notes.txt").wait_for()
    return tab


def entry(tab: Tab, name: str) -> Locator:
    return tab.page.locator("#files .entry", has=tab.page.get_by_text(name, exact=True))


def names(tab: Tab) -> list[str]:
    return [str(one) for one in tab.page.locator("#files .entry .name").all_inner_texts()]


def drop(tab: Tab, files: dict[str, str]) -> None:
    """What the browser does when somebody drops files on the terminal."""
    tab.page.evaluate(
        """(files) => {
            const data = new DataTransfer();
            for (const [name, text] of Object.entries(files)) data.items.add(new File([text], name));
            for (const type of ["dragover", "drop"])
                document.getElementById("stage").dispatchEvent(
                    new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        files,
    )


def test_the_sessions_folder_is_walked_by_keyboard_alone(drawer: Tab, home: Path) -> None:
    (home / "docs" / "deep.txt").write_text("deep")
    assert names(drawer) == ["docs", "data.bin", "dot.png", "notes.txt", "page.html"]
    keyboard = drawer.page.keyboard
    drawer.wait(lambda: focused(drawer) == "docs", "the focus on the first entry")
    keyboard.press("Enter")
    entry(drawer, "deep.txt").wait_for()
    keyboard.press("Backspace")
    drawer.wait(lambda: focused(drawer) == "docs", "the focus on the folder that was left")
    keyboard.press("End")
    assert focused(drawer) == "page.html"
    keyboard.press("ArrowUp")
    keyboard.press("Enter")
    drawer.page.get_by_role("dialog").get_by_text("<b>second</b>").wait_for()
    keyboard.press("Escape")
    drawer.wait(lambda: focused(drawer) == "notes.txt", "the focus where it was")
    keyboard.press("Escape")
    drawer.page.locator("#files").wait_for(state="hidden")
    drawer.type("echo typed\n")
    drawer.wait_screen("^typed$")


def focused(tab: Tab) -> str:
    return str(tab.page.evaluate("document.activeElement.querySelector('.name')?.textContent ?? ''"))


def test_pictures_are_shown_and_documents_are_only_text(drawer: Tab) -> None:
    dialog = drawer.page.get_by_role("dialog")
    entry(drawer, "dot.png").click()
    dialog.get_by_text("1×1, 70 B").wait_for()
    assert dialog.locator("img").evaluate("(image) => image.src").startswith("blob:")
    drawer.page.keyboard.press("Escape")
    entry(drawer, "page.html").click()
    dialog.get_by_text("<h1>no heading</h1>").wait_for()
    assert drawer.page.get_by_role("heading", name="no heading").count() == 0
    assert drawer.page.title() == "shell"
    drawer.page.keyboard.press("Escape")
    entry(drawer, "data.bin").click()
    dialog.get_by_text("neither text nor a picture").wait_for()


def test_a_file_is_downloaded(drawer: Tab, home: Path, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (home / "größe.bin").write_bytes(content)
    drawer.page.get_by_role("button", name="Look again").click()
    entry(drawer, "größe.bin").focus()
    with drawer.page.expect_download() as download:
        drawer.page.keyboard.press("d")
    assert download.value.suggested_filename == "größe.bin"
    download.value.save_as(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content


def test_dropped_files_arrive_and_ask_before_they_replace(drawer: Tab, home: Path) -> None:
    drop(drawer, {"new.txt": "new", "notes.txt": "replaced"})
    drawer.page.get_by_role("dialog").get_by_text("Replace “notes.txt”?").wait_for()
    entry(drawer, "new.txt").wait_for()
    drawer.page.get_by_role("button", name="Cancel").click()
    assert (home / "new.txt").read_text() == "new"
    assert (home / "notes.txt").read_text().startswith("first")
    drop(drawer, {"notes.txt": "replaced"})
    drawer.page.get_by_role("button", name="Replace it").click()
    drawer.wait(lambda: (home / "notes.txt").read_text() == "replaced", "the new content")


def test_an_upload_goes_on_where_a_killed_daemon_left_it(
    drawer: Tab, node: Node, home: Path, tmp_path: Path, web_port: str
) -> None:
    ranges: list[str] = []
    drawer.page.on(
        "request",
        lambda one: ranges.append(one.headers.get("content-range", "whole")) if one.method == "PUT" else None,
    )
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(1 << 20) * 64)
    # Slowly, so that there is a middle.
    slow = drawer.page.context.new_cdp_session(drawer.page)
    slow.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2 << 20}
    slow.send("Network.emulateNetworkConditions", limits)
    drawer.page.get_by_label("Files to upload").set_input_files(large)

    def parts() -> list[Path]:
        return [one for one in home.iterdir() if one.name.startswith(".large")]

    eventually(lambda: any(one.stat().st_size > 4 << 20 for one in parts()), "some of the file")
    node.kill()
    drawer.page.get_by_text("goes on by itself").wait_for()
    there = max(one.stat().st_size for one in parts())
    slow.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": -1})
    node.start(env=environment(home, web_port))
    drawer.wait(lambda: (home / "large.bin").exists(), "the file")
    assert hashlib.sha256((home / "large.bin").read_bytes()).digest() == hashlib.sha256(large.read_bytes()).digest()
    # The last request has begun behind what was there.
    begin = int(ranges[-1].removeprefix("bytes ").partition("-")[0])
    assert 0 < there <= begin < large.stat().st_size
    assert parts() == []


def test_making_renaming_and_deleting(drawer: Tab, home: Path) -> None:
    drawer.page.get_by_role("button", name="New folder").click()
    drawer.type("made\n")
    drawer.wait(lambda: focused(drawer) == "made", "the new folder")
    drawer.page.keyboard.press("F2")
    drawer.page.get_by_role("dialog").get_by_role("textbox").fill("renamed")
    drawer.page.keyboard.press("Enter")
    drawer.wait(lambda: focused(drawer) == "renamed", "the new name")
    drawer.page.keyboard.press("Delete")
    drawer.page.get_by_role("button", name="Delete it").click()
    entry(drawer, "renamed").wait_for(state="detached")
    assert not (home / "renamed").exists()
    drawer.page.locator("#files").get_by_label("Hidden").check()
    entry(drawer, ".hidden").wait_for()


def test_what_lies_elsewhere_is_refused_and_where_one_may_go_is_told(tab: Tab, node: Node, home: Path) -> None:
    tab.attach(node.create(["bash", "--norc", "-i"], env={"PS1": "$ "}, cwd="/usr"))
    tab.wait_screen(r"^\$ ")
    tab.page.get_by_role("button", name="Files").click()
    tab.page.locator("#files").get_by_text("lies outside of").wait_for()
    tab.page.locator("#files").get_by_role("button", name=str(home)).click()
    entry(tab, "notes.txt").wait_for()


def test_on_a_telephone_it_covers_the_terminal(site: Site, node: Node, home: Path) -> None:
    tab = site.person(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab.attach(node.create(["bash", "--norc", "-i"], env={"PS1": "$ "}, cwd=str(home)))
    tab.wait_screen(r"^\$ ")
    size = tab.size()
    tab.page.get_by_role("button", name="Menu").tap()
    tab.page.get_by_role("button", name="Files").tap()
    entry(tab, "notes.txt").wait_for()
    assert tab.page.locator("#files").bounding_box()["width"] == 390  # type: ignore[index]
    assert tab.size() == size
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.locator("#files").get_by_role("button", name="Close").tap()
    tab.page.locator("#files").wait_for(state="hidden")


def test_what_programs_do_to_the_folder_shows_by_itself(drawer: Tab, home: Path) -> None:
    drawer.page.keyboard.press("End")
    drawer.wait(lambda: focused(drawer) == "page.html", "the focus")
    (home / "made by a program").touch()
    (home / "notes.txt").unlink()
    changed = ["docs", "data.bin", "dot.png", "made by a program", "page.html"]
    drawer.wait(lambda: names(drawer) == changed, "the change")
    assert focused(drawer) == "page.html"
    # Keys go on acting on the row that has the focus, also when it was not the keyboard that brought it there.
    entry(drawer, "dot.png").focus()
    (home / "data.bin").unlink()
    changed.remove("data.bin")
    drawer.wait(lambda: names(drawer) == changed, "the other change")
    assert focused(drawer) == "dot.png"


def test_a_click_is_not_lost_to_what_changes_meanwhile(drawer: Tab, home: Path) -> None:
    looked: list[str] = []
    drawer.page.on("response", lambda response: looked.append(response.url) if "/files/list?" in response.url else None)
    entry(drawer, "notes.txt").hover()
    drawer.page.mouse.down()
    (home / "new.txt").write_text("new")
    count = len(looked)
    # The second look after this comes only when the first has been shown, or has not.
    drawer.wait(lambda: len(looked) >= count + 3, "the drawer to look again")
    drawer.page.mouse.up()
    drawer.page.get_by_role("dialog").get_by_text("<b>second</b>").wait_for()
    drawer.page.keyboard.press("Escape")
    entry(drawer, "new.txt").wait_for()


def test_what_can_be_done_with_a_row_covers_nothing_that_is_said(drawer: Tab) -> None:
    row = drawer.page.locator("#files .entries li", has_text="notes.txt")
    assert row.locator(".when").is_visible()
    row.hover()
    row.get_by_role("button", name="Download").wait_for()
    assert not row.locator(".when").is_visible()
    said, act = (row.locator(one).bounding_box() for one in (".size", ".acts button >> nth=0"))
    assert said is not None
    assert act is not None
    assert said["x"] + said["width"] <= act["x"]
