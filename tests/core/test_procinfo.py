import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import NeedTool

from ptybridge.backends.spawn import quiet_fork
from ptybridge.core import procinfo
from ptybridge.core.procinfo import ForegroundProcess, is_blocked_reading_terminal, process_stat

PATIENCE_SECONDS = 60.0
POLL = "import select; p = select.poll(); p.register({fd}, select.POLLIN); p.poll()"
EPOLL = "import select; p = select.epoll(); p.register(0, select.EPOLLIN); p.poll()"
THREAD = "import threading, time; threading.Thread(target=input, daemon=True).start(); time.sleep(1000)"

Start = Callable[..., tuple[int, int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program behind a terminal; gives its pid and the terminal's descriptor."""
    started: list[tuple[int, int]] = []

    def spawn(*argv: str) -> tuple[int, int]:
        with quiet_fork():
            pid, fd = pty.fork()
        if pid == 0:
            try:
                os.execvpe(argv[0], argv, os.environ | {"TERM": "xterm"})
            finally:
                os._exit(127)
        started.append((pid, fd))
        return pid, fd

    yield spawn
    for pid, fd in started:
        for member in procinfo.Census().members(pid):
            with contextlib.suppress(ProcessLookupError):  # a pipeline's members end one another
                os.kill(member.pid, signal.SIGKILL)
        os.close(fd)
        os.waitpid(pid, 0)


def becomes(condition: Callable[[], bool]) -> bool:
    """Poll: nothing tells when another process falls asleep."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def waits(fd: int, session_id: int) -> bool | None:
    return is_blocked_reading_terminal(os.tcgetpgrp(fd), session_id)


@pytest.mark.parametrize(
    "argv",
    [
        ["cat"],
        ["bash", "--norc"],
        ["dash"],
        ["zsh", "-f"],
        ["fish", "-N"],
        ["bash", "-c", "read x"],
        ["vim", "-u", "NONE"],
        ["less", "/etc/passwd"],
        ["sh", "-c", "ls -l /usr/bin | less"],
        [sys.executable, "-c", "input()"],
        [sys.executable, "-c", "import select; select.select([0], [], [])"],
        [sys.executable, "-c", POLL.format(fd=0)],
        [sys.executable, "-c", EPOLL],
        [sys.executable, "-c", THREAD],
    ],
    ids=lambda argv: " ".join(argv[:3])[-40:],
)
def test_a_program_at_its_prompt_waits_for_input(start: Start, need_tool: NeedTool, argv: list[str]) -> None:
    need_tool(argv[0])
    pid, fd = start(*argv)
    assert becomes(lambda: waits(fd, pid) is True)


@pytest.mark.parametrize(
    "argv",
    [
        ["sleep", "1000"],
        ["sh", "-c", "sleep 1000; true"],
        ["sh", "-c", "while :; do :; done"],
        # Polls its standard output, which is the terminal, for errors.
        ["tail", "-f", "/etc/passwd"],
        [sys.executable, "-c", "import socket; a, b = socket.socketpair(); a.recv(1)"],
        [sys.executable, "-c", "import os; r, w = os.pipe(); os.read(r, 1)"],
    ],
    ids=lambda argv: " ".join(argv[:3])[-40:],
)
def test_a_program_that_waits_for_something_else_does_not(start: Start, argv: list[str]) -> None:
    pid, fd = start("sh", "-c", 'echo ready; exec "$@"', "sh", *argv)
    said = b""
    while b"\r\n" not in said:  # the terminal hands over a line and its end one after the other
        said += os.read(fd, 100)
    assert said.startswith(b"ready\r\n")
    name = Path(argv[0]).name
    assert becomes(lambda: (stat := process_stat(pid)) is not None and stat.name.startswith(name[:6]))
    # It takes a moment to get where it waits; until then it reads no terminal either.
    for _ in range(50):
        assert waits(fd, pid) is False
        time.sleep(0.002)


def test_a_shell_stops_waiting_while_a_job_runs(start: Start) -> None:
    pid, fd = start("bash", "--norc")
    assert becomes(lambda: waits(fd, pid) is True)
    os.write(fd, b"sleep 1000\n")

    def foreground() -> ForegroundProcess | None:
        return procinfo.foreground(os.tcgetpgrp(fd))

    assert becomes(lambda: (job := foreground()) is not None and job.command == ["sleep", "1000"])
    found = foreground()
    assert found is not None
    assert found.name == "sleep"
    assert found.pid != pid
    assert waits(fd, pid) is False
    os.write(fd, b"\x03")
    assert becomes(lambda: waits(fd, pid) is True)


def test_another_sessions_group_does_not_wait(start: Start) -> None:
    pid, fd = start("cat")
    assert becomes(lambda: waits(fd, pid) is True)
    assert waits(fd, pid + 1) is None


def test_what_cannot_be_seen_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(procinfo, "PROC", tmp_path / "none")
    assert is_blocked_reading_terminal(os.getpgrp(), os.getsid(0)) is None
    assert procinfo.foreground(os.getpgrp()) is None
    assert procinfo.Census().members(os.getsid(0)) == []
    assert procinfo.process_command(os.getpid()) == []


def test_wchan_decides_when_the_system_call_is_hidden(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under Yama's ptrace_scope for children of the keeper."""
    pid, fd = start("cat")
    assert becomes(lambda: waits(fd, pid) is True)
    sleeper, sleeper_fd = start("sleep", "1000")
    selector, selector_fd = start(sys.executable, "-c", "import select; select.select([0], [], [])")
    assert becomes(lambda: waits(sleeper_fd, sleeper) is False and waits(selector_fd, selector) is True)
    real = Path.read_text

    def read_text(path: Path) -> str:
        if path.name == "syscall":
            raise PermissionError
        return real(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert waits(fd, pid) is True
    assert becomes(lambda: waits(sleeper_fd, sleeper) is False)  # where it sleeps is known once it does
    assert waits(selector_fd, selector) is None


def test_names_may_contain_anything(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to(shutil.which("sleep") or "/bin/sleep")
    with subprocess.Popen([program, "1000"], start_new_session=True) as process:
        while not procinfo.process_command(process.pid):
            pass  # the kernel writes down the arguments after it has closed what `Popen` waits for
        stat = process_stat(process.pid)
        command = procinfo.process_command(process.pid)
        members = [each.pid for each in procinfo.Census().members(process.pid)]
        process.kill()
    assert stat is not None
    assert (stat.name, stat.ppid, stat.pgid, stat.session_id) == (program.name, os.getpid(), process.pid, process.pid)
    assert command == [str(program), "1000"]
    assert members == [process.pid]


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    stat = process_stat(process.pid)
    assert stat is not None
    assert not stat.alive
    assert procinfo.foreground(process.pid) is None
    process.wait()


def test_a_pipelines_oldest_member_speaks_when_the_leader_is_gone(start: Start) -> None:
    _, fd = start("bash", "--norc", "-m", "-c", "true | sleep 1000")
    expected = ["sleep", "1000"]

    def found() -> ForegroundProcess | None:
        return procinfo.foreground(os.tcgetpgrp(fd))

    assert becomes(lambda: (process := found()) is not None and process.command == expected)


def test_start_times_tell_processes_apart() -> None:
    mine, init = process_stat(os.getpid()), process_stat(1)
    assert mine is not None
    assert init is not None
    assert init.start_time <= mine.start_time


def test_many_silent_sessions_share_a_look_at_what_runs_beside_their_leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    processes = procinfo.processes

    def count() -> list[procinfo.ProcessStat]:
        nonlocal looks
        looks += 1
        return processes()

    monkeypatch.setattr(procinfo, "processes", count)
    monkeypatch.setattr(procinfo, "_GROUP_SECONDS", 1000.0)
    monkeypatch.setattr(procinfo, "_census", procinfo.Census())
    monkeypatch.setattr(procinfo, "_blocked_on", lambda *_: None)  # whoever runs the tests, nobody is found at once
    for _ in range(10):
        is_blocked_reading_terminal(os.getpgrp(), os.getsid(0), lately=True)
    assert looks == 1
    is_blocked_reading_terminal(os.getpgrp(), os.getsid(0))
    assert looks == 2
