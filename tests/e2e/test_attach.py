"""Being on a session, seen on real terminals: each client runs in a pane of a private tmux server."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

PATIENCE = 60.0
PROMPT = "user$"

NeedTool = Callable[[str], str]


class Tmux:
    """A tmux server of our own; one window a terminal."""

    def __init__(self, program: str, directory: Path) -> None:
        self._base = [program, "-S", str(directory / "tmux"), "-f", "/dev/null"]
        self._rc = directory / "bashrc"
        here = shlex.join([sys.executable, "-m", "ptybridge"])
        self._rc.write_text(f"PS1='{PROMPT} '\nunset PROMPT_COMMAND\nptybridge() {{ {here} \"$@\"; }}\n")

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._base, *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout

    def terminal(self, name: str, rows: int = 24, cols: int = 80) -> "Pane":
        shell = shlex.join(["bash", "--noprofile", "--rcfile", str(self._rc), "-i"])
        self("new-session", "-d", "-s", name, "-x", str(cols), "-y", str(rows), shell)
        pane = Pane(self, f"={name}:")
        pane.until(PROMPT)
        return pane

    def close(self) -> None:
        subprocess.run([*self._base, "kill-server"], check=False, capture_output=True, timeout=PATIENCE)


class Pane:
    """One terminal with a shell."""

    def __init__(self, tmux: Tmux, target: str) -> None:
        self._tmux = tmux
        self._target = target

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", self._target, *keys)

    def run(self, line: str) -> None:
        self._tmux("send-keys", "-t", self._target, "-l", line)
        self.keys("Enter")

    def detach(self) -> None:
        self.keys("C-\\", "d")
        self.until("[detached from")

    def screen(self, *, styled: bool = False, history: bool = False) -> str:
        options = [*(["-e"] if styled else []), *(["-S", "-"] if history else [])]
        shown = self._tmux("capture-pane", "-p", "-t", self._target, *options).rstrip("\n")
        # A snapshot names the first sixteen colours by their numbers in the palette.
        return re.sub("38;5;([0-9]+)m", _short_color, shown)

    def fact(self, name: str) -> str:
        return self._tmux("display", "-p", "-t", self._target, f"#{{{name}}}").strip()

    def until(self, text: str | Callable[[str], bool], *, styled: bool = False) -> str:
        """Wait until the screen shows `text`, or satisfies it, and return the screen."""
        deadline = time.monotonic() + PATIENCE
        while True:
            screen = self.screen(styled=styled)
            if text in screen if isinstance(text, str) else text(screen):
                return screen
            if time.monotonic() > deadline:
                raise AssertionError(f"never seen: {text}\n{screen}")
            time.sleep(0.02)

    def until_fact(self, name: str, value: str) -> None:
        """Wait until a fact has this value: a picture comes in pieces, and its modes and cursor last."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.fact(name)) != value:
            assert time.monotonic() < deadline, (name, found)
            time.sleep(0.02)


def _short_color(found: re.Match[str]) -> str:
    number = int(found[1])
    return found[0] if number > 15 else f"{30 + number if number < 8 else 82 + number}m"


def ptybridge(*arguments: str) -> str:
    command = [sys.executable, "-m", "ptybridge", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def answer(*arguments: str) -> Any:
    return msgspec.json.decode(ptybridge(*arguments, "--json"))


@pytest.fixture
def tmux(need_tool: NeedTool, runtime_dir: Path) -> Iterator[Tmux]:
    it = Tmux(need_tool("tmux"), runtime_dir)
    yield it
    it.close()


@pytest.fixture(autouse=True)
def daemon(tmux: Tmux) -> Iterator[None]:
    """Started by the first command, stopped after the test, whatever it left behind."""
    # The default would be this machine's shell with its own prompt and start files. A prompt that were typed would be
    # on the screen before the shell has read it.
    bash = ["bash", "--norc", "--noprofile"]
    ptybridge("new", "-d", "--name", "work", "--size", "80x24", "-e", "PS1=work> ", "--", *bash)
    yield
    ptybridge("stop")


def wait_attached(count: int) -> None:
    """Wait until so many clients are on the session; starts no daemon."""
    deadline = time.monotonic() + PATIENCE
    command = [sys.executable, "-m", "ptybridge", "clients", "work", "--json", "--no-autostart"]
    while (found := subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)).returncode or (
        len(msgspec.json.decode(found.stdout)) < count
    ):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def attached(tmux: Tmux, name: str = "a", rows: int = 24, cols: int = 80, *options: str) -> Pane:
    pane = tmux.terminal(name, rows, cols)
    before = len(answer("clients", "work"))
    pane.run(shlex.join(["ptybridge", "attach", *options, "work"]))
    deadline = time.monotonic() + PATIENCE
    while len(answer("clients", "work")) <= before and time.monotonic() < deadline:
        time.sleep(0.02)
    pane.until("work>")
    return pane


def test_detach_and_attach_again_shows_the_same_screen(tmux: Tmux) -> None:
    pane = attached(tmux)
    pane.run("printf '\\033[1;31mred\\033[0m \\033[4munderlined\\033[0m\\n'; seq 3")
    pane.until("3\nwork>")
    before = pane.screen(styled=True)
    position = pane.fact("cursor_x"), pane.fact("cursor_y")
    pane.detach()
    again = attached(tmux, "again")
    again.until(lambda screen: screen == before, styled=True)
    again.until_fact("cursor_x", position[0])
    again.until_fact("cursor_y", position[1])


def test_a_killed_daemon_is_followed_by_another_and_nobody_notices_much(tmux: Tmux) -> None:
    """Those who are attached start it themselves; nobody has to think of running a command."""
    first, second = attached(tmux, "a"), attached(tmux, "b", 30, 100)
    first.run("echo before")
    second.until("\nbefore\nwork>")
    for line in ("once", "twice"):
        os.kill(answer("status")["pid"], signal.SIGKILL)
        # Keys that had been sent when the daemon died are lost.
        wait_attached(2)
        first.run(f"echo {line}")
        for pane in (first, second):
            # The picture is whole again: what was there, what was typed meanwhile, and no message over it.
            pane.until(
                lambda screen: (
                    screen.endswith(f"\n{line}\nwork>") and "\nbefore\n" in screen and "lost" not in screen  # noqa: B023
                )
            )
    second.detach()
    first.detach()


def test_where_no_daemon_may_be_started_attach_says_that_it_is_lost(tmux: Tmux) -> None:
    pane = tmux.terminal("a")
    pane.run("ptybridge attach --no-autostart work; echo status $?")
    pane.until("work>")
    os.kill(answer("status")["pid"], signal.SIGKILL)
    pane.until("connection to the daemon lost, trying again")
    pane.until("ptybridge: connection to the daemon lost\nstatus 4")
    ptybridge("ls")


def test_r08_vim_has_the_shell_behind_it(tmux: Tmux, need_tool: NeedTool) -> None:
    vim = need_tool("vim")
    pane = attached(tmux)
    pane.run("echo in the shell")
    pane.until("in the shell\nwork>")
    pane.run(f"{vim} -u NONE -i NONE -n -c 'set mouse=a' note.txt")
    pane.until(lambda screen: screen.startswith("\n~"))
    pane.keys("i", "some text", "Escape")
    pane.until(lambda screen: screen.startswith("some text\n~"))
    # Back on the last letter: it has taken all the keys.
    pane.until_fact("cursor_x", "8")
    before = pane.screen(styled=True)
    pane.keys("C-\\", "d")
    shell = pane.until("[detached from work]")
    assert "in the shell" in shell
    assert "~" not in shell
    assert pane.fact("mouse_any_flag") == "0"
    assert pane.fact("alternate_on") == "0"

    again = tmux.terminal("again")
    again.run("ptybridge attach work")
    again.until(lambda screen: screen == before, styled=True)
    again.until_fact("mouse_any_flag", "1")
    again.until_fact("alternate_on", "1")
    again.keys(":q!", "Enter")
    again.until(lambda screen: "in the shell" in screen and "~" not in screen)


def test_less_and_top_draw_and_leave(tmux: Tmux, need_tool: NeedTool, tmp_path: Path) -> None:
    need_tool("less")
    need_tool("top")
    file = tmp_path / "lines"
    file.write_text("".join(f"line {number}\n" for number in range(1, 1001)))
    pane = attached(tmux)
    pane.run(f"LESS= less {file}")
    pane.until("line 23\n")
    pane.keys("G")
    pane.until("line 1000\n")
    pane.keys("q")
    pane.until(lambda screen: screen.endswith("work>"))
    pane.run("top -d 0.2")
    pane.until("PID")
    pane.keys("q")
    pane.until(lambda screen: screen.endswith("work>"))
    assert pane.fact("cursor_flag") == "1"


def test_the_users_own_screen_and_the_sessions_past_are_in_the_scrollback(tmux: Tmux) -> None:
    ptybridge("send", "work", "seq 100 199", "--enter")
    # Not 199, which is in the line that was typed.
    ptybridge("wait", "work", "--screen", "198")
    pane = tmux.terminal("a")
    pane.run("seq 5 7; ptybridge attach work")
    pane.until("199\nwork>")
    assert re.search(r"\n5\n6\n7\n.*attached to work.*\n(.*\n)*100\n101\n", pane.screen(history=True))


def test_a_smaller_window_gets_a_picture_and_the_session_its_size_when_it_types(tmux: Tmux) -> None:
    large = attached(tmux, "large", 24, 80)
    viewer = attached(tmux, "viewer", 10, 40, "--read-only")
    large.run("echo $(tput cols); seq 30")
    large.until("30\nwork>")
    viewer.until("30\nwork>")
    assert "80" in large.screen(history=True).split("\n")
    small = attached(tmux, "small", 12, 50)
    small.run("clear; tput cols")
    small.until("50\nwork>")
    large.until("50\nwork>")
    small.detach()
    large.run("clear; tput cols")
    large.until("80\nwork>")


def test_r06_a_client_killed_with_sigkill_harms_nobody_and_reset_repairs_its_terminal(tmux: Tmux) -> None:
    first, second = attached(tmux, "first"), attached(tmux, "second")
    first.run("printf '\\033[?1003h\\033[?25l'")
    deadline = time.monotonic() + PATIENCE
    while second.fact("mouse_any_flag") != "1" and time.monotonic() < deadline:
        time.sleep(0.02)
    killed = answer("clients", "work")[1]["pid"]
    pidfd = os.pidfd_open(killed)
    os.kill(killed, 9)
    os.close(pidfd)
    # Its shell has the terminal again: before it has, what is typed is echoed by the driver.
    second.until(lambda screen: "Killed" in screen and screen.endswith(PROMPT))
    first.run("echo still here")
    first.until("still here\nwork>")
    second.run("ptybridge reset; echo repaired")
    second.until(f"repaired\n{PROMPT}")
    assert second.fact("mouse_any_flag") == "0"
    assert second.fact("cursor_flag") == "1"


def test_ctrl_c_stops_a_flood_at_once(tmux: Tmux) -> None:
    pane, other = attached(tmux, "a"), attached(tmux, "b", 30, 100)
    pane.run("yes")
    pane.until("y\ny\ny")
    pane.keys("C-c")
    # Nobody wades through what is left of a flood, which would take longer than our patience.
    pane.until(lambda screen: screen.endswith("work>"))
    other.until(lambda screen: screen.rstrip().endswith("work>"))


def test_s21_read_only_cannot_type(tmux: Tmux) -> None:
    writer, viewer = attached(tmux, "writer"), attached(tmux, "viewer", 24, 80, "--read-only")
    viewer.keys("intruder", "Enter")
    viewer.keys("C-\\", "d")
    viewer.until("[detached from work]")
    writer.run("echo last")
    assert "intruder" not in writer.until("last\nwork>")


def test_suspended_and_back(tmux: Tmux) -> None:
    pane = attached(tmux)
    pane.run("echo before")
    pane.until("before\nwork>")
    pane.keys("C-\\", "z")
    pane.until("Stopped")
    ptybridge("send", "work", "echo mean''while", "--enter")
    ptybridge("wait", "work", "--screen", "meanwhile")
    pane.run("fg")
    pane.until("before\nwork> echo mean''while\nmeanwhile\nwork>")


def test_help_is_an_overlay(tmux: Tmux) -> None:
    pane = attached(tmux)
    pane.run("echo under it")
    pane.until("under it\nwork>")
    before = pane.screen()
    pane.keys("C-\\", "?")
    pane.until("detach; the session goes on")
    pane.keys("x")
    pane.until(lambda screen: screen == before)


def test_a_session_that_exits_gives_its_status(tmux: Tmux) -> None:
    pane = attached(tmux)
    pane.run("exit 7")
    pane.until(f"[work exited with status 7]\n{PROMPT}")
    pane.run("echo status=$?")
    pane.until("status=7")


def test_new_and_run_go_on_below_what_is_there(tmux: Tmux) -> None:
    pane = tmux.terminal("a")
    pane.run("clear; ptybridge run -- sh -c 'printf foo; exit 3'; echo =$?")
    pane.until(f"foo=3\n{PROMPT}")
    pane.run("ptybridge new -- sh -c 'echo fresh; read line; kill -TERM $$'")
    # On a line of its own: in the line that was typed it stands, too.
    assert pane.until(lambda screen: screen.endswith("\nfresh")).startswith("foo=3\n")
    pane.keys("Enter")
    pane.until("killed by SIGTERM]")
    pane.run("echo =$?")
    pane.until("=143")


def test_attaching_a_session_inside_itself_is_refused(tmux: Tmux) -> None:
    pane = attached(tmux)
    here = shlex.join([sys.executable, "-m", "ptybridge", "attach", "work"])
    pane.run(f"{here}; echo =$?")
    pane.until(lambda screen: "for ever" in screen and "=5" in screen)
