"""Real programs on a real terminal: what they drew can be recreated at any moment, and they go on as if nothing was."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.core.screen_compare import picture

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

SIZE = WindowSize(24, 80)
GRACE_SECONDS = 60
# Copies are made at about this many moments of a recording.
MOMENTS = 40

# Wait until the screen shows something, then type something.
Step = tuple[Callable[[Screen], bool], bytes]


def shows(text: str) -> Callable[[Screen], bool]:
    return lambda screen: any(text in line for line in screen.lines())


def record(argv: list[str], steps: list[Step], cwd: Path) -> list[bytes]:
    """Run a program, follow the steps, and return what it printed, read by read. Queries are answered."""
    pty_fd, terminal_fd = pty.openpty()
    with os.fdopen(pty_fd, "r+b", buffering=0) as side:
        termios.tcsetwinsize(terminal_fd, (SIZE.rows, SIZE.cols))
        child = subprocess.Popen(
            argv, stdin=terminal_fd, stdout=terminal_fd, stderr=terminal_fd, cwd=cwd, start_new_session=True
        )
        os.close(terminal_fd)
        try:
            return _follow(side.fileno(), steps)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _follow(pty_fd: int, steps: list[Step]) -> list[bytes]:
    screen = Screen(SIZE)
    chunks: list[bytes] = []
    deadline = time.monotonic() + GRACE_SECONDS
    while select.select([pty_fd], [], [], deadline - time.monotonic())[0]:
        try:
            chunk = os.read(pty_fd, 65536)
        except OSError:
            # Linux reports EIO, not EOF, once the last process on the terminal is gone: tty(4).
            assert not steps, f"ended before all was typed: {screen.lines()}"
            return chunks
        chunks.append(chunk)
        screen.feed(chunk)
        if replies := screen.take_replies():
            os.write(pty_fd, replies)
        if steps and steps[0][0](screen):
            os.write(pty_fd, steps.pop(0)[1])
    raise AssertionError(f"stuck at {screen.lines()}")


def check(chunks: list[bytes]) -> None:
    """Copy the screen between reads and within them; every copy must be the same, and end the same."""
    output = b"".join(chunks)
    whole = Screen(SIZE)
    whole.feed(output)
    step = max(1, len(output) // MOMENTS)
    running = Screen(SIZE)
    for moment in range(0, len(output), step):
        running.feed(output[running.offset : moment])
        copy = Screen.restore(running.snapshot(), running.offset, SIZE)
        assert picture(copy) == picture(running)
        copy.feed(output[moment:])
        assert picture(copy) == picture(whole)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.py"
    path.write_text("".join(f"def function_{number}(): return '宽字 {number}'  # TODO\n" for number in range(200)))
    return path


def test_bash(need_tool: NeedTool, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    steps: list[Step] = [
        (shows("bash-"), b"PS1='\\[\\e[1;32m\\]host\\[\\e[0m\\]:\\w> '; ls --color=always /\r"),
        (shows("host:"), b"for i in $(seq 100); do echo line $i; done; echo end-$((1 + 1))\r"),
        (shows("end-2"), b"echo " + b"long " * 30 + b"\x01\x05\x17\x17 word-$((2 + 2))\r"),
        (shows("word-4"), b"exit\r"),
    ]
    check(record([need_tool("bash"), "--norc", "--noprofile", "-i"], steps, tmp_path))


def test_vim_and_back(need_tool: NeedTool, text_file: Path) -> None:
    vim = f"{need_tool('vim')} -u NONE -N -c 'syntax on' -c 'set number' {text_file}"
    command = f"echo before; {vim}; echo after"
    steps: list[Step] = [
        (shows("function_10"), b"Gzz"),
        (shows("function_199"), b":split\r"),
        (shows(":split"), b"ofoo\x1bV"),
        (shows("VISUAL LINE"), b"\x1b:q!\r"),
        (lambda screen: not shows("VISUAL LINE")(screen), b":q!\r"),
    ]
    chunks = record([need_tool("bash"), "-c", command], steps, text_file.parent)
    assert b"\x1b[?1049l" in b"".join(chunks)
    check(chunks)
    end = Screen(SIZE)
    end.feed(b"".join(chunks))
    assert not end.alternate
    assert end.lines()[:2] == ["before", "after"]


def test_less(need_tool: NeedTool, text_file: Path) -> None:
    steps: list[Step] = [
        (shows("function_5("), b"/function_15\r"),
        (shows("function_30("), b"G"),
        (shows("function_199"), b"q"),
    ]
    check(record([need_tool("less"), str(text_file)], steps, text_file.parent))


@pytest.mark.parametrize("name", ["htop", "top"])
def test_process_viewers(name: str, need_tool: NeedTool, tmp_path: Path) -> None:
    steps: list[Step] = [(shows("PID"), b"q")]
    check(record([need_tool(name)], steps, tmp_path))


def test_python(tmp_path: Path) -> None:
    steps: list[Step] = [
        (shows(">>>"), b"print('\\x1b[3' + '1mred\\x1b[0m', [n ** 2 for n in range(60)])\r"),
        (shows("3481"), b"1 / 0\r"),
        (shows("ZeroDivisionError"), b"exit()\r"),
    ]
    check(record([sys.executable, "-q", "-i", "-I"], steps, tmp_path))
