"""The terminal page as people use it: typing, editors, sizes, pasting, searching, the end."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, WebSocketRoute
from tests.survival.harness import Node
from tests.web.browser.conftest import NeedTool, Site, Tab


def test_typing_in_a_shell(tab: Tab, shell: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type("echo $((6 * 7))\n")
    tab.wait_screen(r"^42$")
    assert tab.page.title() == "shell"


def test_a_click_beside_the_terminal_leaves_the_keyboard_to_it(tab: Tab, shell: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.page.locator("#name").click()
    tab.type("echo still $((6 * 7))\n")
    tab.wait_screen("^still 42$")


def test_wide_characters_and_clusters_take_the_cells_they_should(tab: Tab, shell: str) -> None:
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    # The keyboard and an input method deliver them; the program's echo draws them.
    tab.page.keyboard.insert_text("echo 你好,世界 😀 👩‍👩‍👧 e\u0301")
    tab.page.keyboard.press("Enter")
    screen = tab.wait_screen(r"^你好,世界 😀 👩‍👩‍👧 e\u0301$")
    assert "�" not in screen
    width = tab.page.evaluate(
        """() => {
            const { terminal } = document.getElementById("terminal");
            const buffer = terminal.buffer.active;
            for (let row = 0; row < buffer.length; row++) {
                const line = buffer.getLine(row);
                if (line.translateToString(true).startsWith("你好")) return line.getCell(0).getWidth();
            }
        }"""
    )
    assert width == 2


def test_editing_with_vim(tab: Tab, shell: str, tmp_path: Path, need_tool: NeedTool) -> None:
    need_tool("vim")
    target = tmp_path / "note.txt"
    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    tab.type(f"vim -N -u NONE {target}\n")
    tab.wait_screen("^~")
    tab.type("ihllo")
    for _ in range(3):
        tab.page.keyboard.press("ArrowLeft")
    tab.type("e")
    tab.wait_screen("^hello")
    tab.page.keyboard.press("Escape")
    tab.type("obye")
    tab.page.keyboard.press("Escape")
    tab.type(":wq\n")
    tab.wait(lambda: target.exists() and target.read_text(), "the file")
    assert target.read_text() == "hello\nbye\n"
    # The primary screen is back, with what was there before.
    tab.wait_screen(r"^\$ vim -N")


@pytest.mark.parametrize(("width", "height"), [(340, 260), (2500, 1700)])
def test_the_session_takes_the_windows_size(site: Site, node: Node, width: int, height: int) -> None:
    tab = site.person(viewport={"width": width, "height": height})

    def agree() -> bool:
        # It may need several steps until the page and the session agree.
        told = re.findall(r"^(\d+) (\d+)$", tab.screen(), re.MULTILINE)
        return bool(told) and tuple(map(int, told[-1])) == tab.size()

    tab.attach(node.create("while stty size; do sleep 0.1; done"))
    tab.wait(agree, "the window's size in the session")
    before = tab.size()
    tab.page.set_viewport_size({"width": 900, "height": 500})
    tab.wait(lambda: tab.size() != before and agree(), "the new size in the session")


def test_letters_grow_and_stay_so(tab: Tab, shell: str) -> None:
    def letters() -> int:
        return int(tab.page.evaluate("document.getElementById('terminal').terminal.options.fontSize"))

    tab.attach(shell)
    tab.wait_screen(r"^\$ ")
    (_, columns), size = tab.size(), letters()
    tab.page.keyboard.press("Control+=")
    tab.page.keyboard.press("Control+=")
    # The session has to be told, and tells the terminal; one step may be too small for a column.
    tab.wait(lambda: letters() == size + 2 and tab.size()[1] < columns, "larger letters and fewer columns")
    tab.attach(shell)
    tab.wait(lambda: letters() == size + 2 and tab.size()[1] < columns, "the same after a reload")
    tab.page.keyboard.press("Control+0")
    tab.wait(lambda: letters() == size and tab.size()[1] == columns, "what it was at first")


def paste(tab: Tab, text: str) -> None:
    """What the browser does when somebody pastes."""
    tab.page.evaluate(
        """(text) => {
            const data = new DataTransfer();
            data.setData("text/plain", text);
            const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
            document.querySelector(".xterm-helper-textarea").dispatchEvent(event);
        }""",
        text,
    )


def test_copying_by_keyboard(site: Site, node: Node) -> None:
    tab = site.person(viewport={"width": 1100, "height": 700}, permissions=["clipboard-read", "clipboard-write"])
    tab.attach(node.create("stty raw -echo; printf 'ready\r\n'; exec cat -v"))
    tab.wait_screen("^ready$")
    tab.page.evaluate("() => addEventListener('keydown', (event) => { window.taken = event.defaultPrevented; })")
    for keys in ("Control+Shift+C", "Control+Insert"):
        tab.page.evaluate("navigator.clipboard.writeText('before')")
        tab.page.evaluate("document.getElementById('terminal').terminal.select(0, 0, 5)")
        tab.page.keyboard.press(keys)
        tab.wait(lambda: tab.page.evaluate("navigator.clipboard.readText()") == "ready", "what is selected")
    tab.page.evaluate("document.getElementById('terminal').terminal.clearSelection()")
    # With nothing selected it is still the page's, not the browser's, nor is it typed.
    tab.page.keyboard.press("Control+Shift+C")
    assert tab.page.evaluate("taken")
    tab.type("x")
    tab.wait_screen("^x$")


def test_a_paste_of_lines_asks_where_each_would_run(tab: Tab, node: Node) -> None:
    session = node.create("stty -echo; echo ready; exec cat")
    tab.attach(session)
    tab.wait_screen("^ready$")
    paste(tab, "one\ntwo\n")
    tab.page.get_by_role("dialog").get_by_text("Paste 2 lines?").wait_for()
    tab.page.get_by_role("button", name="Cancel").click()
    paste(tab, "three\nfour\n")
    tab.page.get_by_role("button", name="Paste").click()
    tab.wait_screen("^three\nfour$")
    assert "one" not in tab.screen()


def test_a_bracketed_paste_is_one_and_nothing_in_it_can_end_it(tab: Tab, node: Node) -> None:
    program = r"stty raw -echo; printf '\033[?2004hready\r\n'; head -c 27 | cat -v; sleep 100"
    tab.attach(node.create(program))
    tab.wait_screen("^ready$")
    paste(tab, "a\x1b[201~b\x07\nc")
    # Without the escape characters: 6 bytes of brackets at either side, and one line end.
    tab.type("....................")
    tab.wait_screen(re.escape("^[[200~a[201~b^Mc^[[201~"))


def test_a_long_paste_comes_whole(tab: Tab, node: Node) -> None:
    """Longer than a message may be: in one, it would end the connection."""
    tab.attach(node.create("stty raw -echo; echo ready; head -c 3000000 | wc -c; exec cat"))
    tab.wait_screen("ready")
    paste(tab, "äbc" * 750_000)
    tab.wait_screen("3000000")
    assert tab.page.get_by_text("Connection lost").count() == 0


def test_searching_the_output(tab: Tab, node: Node) -> None:
    tab.attach(node.create("seq 1000 1099; exec sleep 1000"))
    tab.wait_screen("^1099$")
    tab.page.keyboard.press("Control+Shift+F")
    tab.type("105")
    # 1050 to 1059, and 1105 is not there.
    tab.page.get_by_text("10 of 10").wait_for()
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("9 of 10").wait_for()
    tab.page.keyboard.press("Escape")
    assert tab.page.locator("#search").is_hidden()


def test_the_end_is_told_and_can_be_begun_again(tab: Tab, node: Node) -> None:
    session = node.create("read line; echo got $line; exit 7", name="job")
    tab.attach(session)
    tab.type("x\n")
    tab.page.get_by_role("heading", name="Exited with status 7").wait_for()
    assert "got x" in tab.screen()
    tab.page.get_by_role("button", name="Run again").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    tab.wait(lambda: session not in tab.page.url and "/s/" in tab.page.url, "the new session's page")
    tab.wait_terminal()
    tab.type("y\n")
    tab.wait_screen("^got y$")


def test_after_the_end_the_last_lines_can_be_read(tab: Tab, node: Node) -> None:
    tab.attach(node.create("seq 200; read line; printf 'this went wrong'; exit 1", name="job"))
    tab.wait_screen("^200$")
    tab.type("x\n")
    tab.page.get_by_role("heading", name="Exited with status 1").wait_for()

    def below() -> float:
        """How much of the lines lies under what is said about the end, in pixels."""
        lines, said = (tab.page.locator(one).bounding_box() for one in (".xterm-screen", "#ending"))
        assert lines is not None
        assert said is not None
        return lines["y"] + lines["height"] - said["y"]

    tab.wait(lambda: below() <= 0 and tab.screen().endswith("this went wrong"), "the last line above it")
    # Keys still scroll, and one of them leads on.
    tab.page.keyboard.press("Shift+PageUp")
    above = "() => { const { baseY, viewportY } = document.getElementById('terminal').terminal.buffer.active;"
    tab.wait(lambda: tab.page.evaluate(f"{above} return baseY > viewportY; }}"), "the lines above")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "All sessions"


def test_a_shell_that_has_ended_runs_nothing(tab: Tab, node: Node) -> None:
    tab.attach(node.create(["bash"]))
    tab.wait_screen(r"\$ $|# $")
    tab.type("exit\n")
    tab.page.get_by_role("heading", name="Exited with status 0").wait_for()
    tab.wait(lambda: tab.page.locator(".command-mark").count(), "the mark of the command")
    assert tab.page.locator(".command-mark.running").count() == 0


def test_a_program_without_a_terminal_gets_lines(tab: Tab, node: Node) -> None:
    tab.attach(node.create("while read line; do echo got $line; done", backend="pipes"))
    tab.type("one\ntwo\n")
    tab.wait_screen("^got one\ngot two$")


def test_commands_are_marked_beside_their_lines(tab: Tab, node: Node) -> None:
    tab.attach(node.create(["bash"]))
    tab.wait_screen(r"\$ $|# $")
    tab.type("true\n")
    tab.type("false\n")
    tab.page.locator(".command-mark.bad").wait_for(state="attached")


def marks(tab: Tab) -> list[tuple[str, str]]:
    """The marks that can be seen, from the top: what they say, and the text of the line they stand at."""
    found = tab.page.evaluate(
        """() => {
            const { terminal } = document.getElementById("terminal");
            const buffer = terminal.buffer.active;
            const screen = document.querySelector(".xterm-screen").getBoundingClientRect();
            return [...document.querySelectorAll(".command-mark")]
                .map((element) => [element, element.getBoundingClientRect()])
                .filter(([element, box]) => box.height > 0 && element.style.display !== "none")
                .map(([element, box]) => [element, box.top - screen.top])
                .map(([element, top]) => [element, Math.round((top * terminal.rows) / screen.height)])
                .sort(([, a], [, b]) => a - b)
                .map(([element, row]) => [
                    element.title, buffer.getLine(buffer.viewportY + row)?.translateToString(true) ?? ""]);
        }"""
    )
    return [(told, text) for told, text in found]


def test_commands_are_marked_also_for_who_comes_later(site: Site, tab: Tab, node: Node, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("PS1='$ '\n")
    session = node.create(["bash"], env={"HOME": str(tmp_path), "HISTFILE": None}, name="marked")
    tab.attach(session)
    tab.wait_screen(r"^\$ $|^\$$")
    for count, line in enumerate(("seq 3", "false", "sh -c 'exit 3'"), 2):
        tab.type(line + "\n")
        tab.wait_screen(rf"\A(?:[^$]*^\$){{{count}}}[^$]*\Z")
    expected = [("status 0", "$ seq 3"), ("status 1", "$ false"), ("status 3", "$ sh -c 'exit 3'")]
    tab.wait(lambda: marks(tab)[:3] == expected, "the marks")
    later = site.person(viewport={"width": 1100, "height": 700})
    later.attach(session)
    later.wait(lambda: marks(later)[:3] == expected, "the same marks")
    # What runs from the prompt that was there is marked, too.
    later.type("sh -c 'exit 4'\n")
    later.wait(lambda: marks(later)[3:4] == [("status 4", "$ sh -c 'exit 4'")], "the mark of the new command")


def test_a_title_is_not_replaced_by_what_the_daemon_knew_before(tab: Tab, node: Node) -> None:
    session = node.create(r"""read a; printf '\033]2;newer\007shown\n'; cat""", name="job")
    tab.attach(session)
    held: list[Callable[[], None]] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            answer = route.fetch()
            held.append(lambda: route.fulfill(response=answer))

    tab.page.route(f"**/v1/sessions/{session}?*", hold_the_first)
    node.call("session.update", session_id=session, name="renamed")
    tab.wait(lambda: held, "the page to look at the session")
    tab.type("\n")
    tab.wait(lambda: tab.page.title() == "newer · job", "the title")
    held[0]()
    tab.wait(lambda: tab.page.title() == "newer · renamed", "the name")


def test_a_picture_for_the_size_before_is_not_drawn_on_a_smaller_terminal(tab: Tab, node: Node) -> None:
    """Else its cursor would be on the line before, and what comes next would overwrite that."""
    session = node.create(["sh", "-c", "read a; seq 100; read a; echo over; cat"], name="job")
    tab.attach(session)
    tab.wait(lambda: node.call("session.get", session_id=session)["rows"] == tab.size()[0], "the size of the window")
    tab.type("\n")
    tab.wait_screen("^100$")
    held: list[Callable[[], None]] = []
    holding = True

    def hold_what_comes(page: WebSocketRoute) -> None:
        def come(message: str | bytes) -> None:
            if holding:
                held.append(lambda: page.send(message))
            else:
                page.send(message)

        page.connect_to_server().on_message(come)

    tab.page.route_web_socket("**/attach?*", hold_what_comes)
    tab.page.reload()
    # What was attached, the size, the picture.
    tab.wait(lambda: len(held) >= 3, "the picture")
    tab.page.set_viewport_size({"width": 1280, "height": 500})
    tab.wait(lambda: node.call("session.get", session_id=session)["rows"] < 30, "the session to become smaller")
    holding = False
    for show in held:
        show()
    node.call("session.write", session_id=session, data="\n")
    tab.wait_screen("^99\n100\n\nover$")
