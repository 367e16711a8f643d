"""Going away and coming back: suspended by the user or from outside, and a daemon that goes away."""

import json
import os
import shlex
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_attach_harness import CLIENT, Attach, Daemon, Terminal, attaching, eventually, serving

from ptybridge.cli.terminal import RESET_SEQUENCE
from ptybridge.wire import attach as frames

PREFIX = b"\x1c"


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with serving(runtime_dir) as it:
        yield it


@pytest.fixture
def attach(daemon: Daemon) -> Iterator[Attach]:
    with attaching(daemon) as it:
        yield it


@pytest.fixture
def shell() -> Iterator[Terminal]:
    """A shell with job control."""
    bash = "import fcntl,os,termios; fcntl.ioctl(0,termios.TIOCSCTTY,0); os.execvp('bash',['bash','--norc','-i'])"
    terminal = Terminal([sys.executable, "-c", bash])
    terminal.type(b"PS1='rea''dy> '\n")
    terminal.see(b"ready> ")
    yield terminal
    terminal.close()


def start(shell: Terminal, daemon: Daemon, **options: object) -> None:
    arguments = [sys.executable, "-c", CLIENT, str(daemon.path), json.dumps(options), "job"]
    shell.type(shlex.join(arguments).encode().replace(b"\n", b"\x16\n") + b"\n")


def pid_of_job(shell: Terminal) -> int:
    children = Path(f"/proc/{shell.process.pid}/task/{shell.process.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def send(pid: int, number: signal.Signals) -> None:
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, number)
    os.close(pidfd)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def suspend_and_return(shell: Terminal, daemon: Daemon) -> None:
    """From just after the suspension: the shell works; then back to the session."""
    shell.see(b"[suspended work")
    eventually(lambda: daemon.served[0].closed, "the daemon is told")
    assert RESET_SEQUENCE in shell.output
    shell.see(b"Stopped")
    shell.type(b"echo o''k\n")
    shell.see(b"ok\r\n")
    shell.type(b"fg\n")
    again = daemon.attachment(1)
    assert again.params["scrollback_lines"] == 0
    again.show(b"fresh picture")
    shell.see(b"fresh picture")
    assert shell.raw
    shell.type(b"typed")
    eventually(lambda: again.typed == b"typed", "input flows again")
    again.send(frames.Exited(exit_code=4, end_offset=100))
    shell.see(b"[work exited with status 4]")
    shell.type(b"echo status=$?\n")
    shell.see(b"status=4")


def test_the_suspend_key_stops_the_client_as_ctrl_z_does(shell: Terminal, daemon: Daemon) -> None:
    start(shell, daemon)
    daemon.attachment().show()
    shell.see(b"hello")
    shell.type(PREFIX + b"z")
    suspend_and_return(shell, daemon)


def test_a_sigtstp_from_outside_gives_the_terminal_back_first(shell: Terminal, daemon: Daemon) -> None:
    start(shell, daemon)
    daemon.attachment().show()
    shell.see(b"hello")
    send(pid_of_job(shell), signal.SIGTSTP)
    suspend_and_return(shell, daemon)


def test_a_client_stopped_without_warning_comes_back_raw_and_draws_anew(shell: Terminal, daemon: Daemon) -> None:
    start(shell, daemon)
    daemon.attachment().show()
    shell.see(b"hello")
    pid = pid_of_job(shell)
    send(pid, signal.SIGSTOP)
    shell.see(b"Stopped")
    assert state(pid) == "T"
    shell.type(b"fg\n")
    daemon.attachment(1).show(b"fresh picture")
    shell.see(b"fresh picture")
    assert shell.raw
    eventually(lambda: daemon.served[0].closed, "the old connection is closed")


def test_a_suspended_client_that_is_ended_does_not_touch_the_terminal(shell: Terminal, daemon: Daemon) -> None:
    start(shell, daemon)
    daemon.attachment().show()
    shell.see(b"hello")
    shell.type(PREFIX + b"z")
    shell.see(b"Stopped")
    shell.type(b"kill %1; wait; echo go''ne=$?\n")
    shell.see(b"gone=")
    written = shell.output.count(RESET_SEQUENCE)
    assert written == 1


def test_a_daemon_that_comes_back_at_once_is_resumed_at_the_same_byte(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(reconnect_seconds=60)
    served = daemon.attachment()
    served.show(offset=100)
    served.send(frames.Output(100, b"before"))
    terminal.see(b"before")
    served.drop()
    again = daemon.attachment(1)
    assert again.params["offset"] == 106
    again.send(frames.Resized(24, 80), frames.Output(106, b"after"))
    terminal.see(b"beforeafter")
    terminal.type(b"x")
    eventually(lambda: again.typed == b"x", "input flows again")


def test_a_long_absence_is_told_and_the_picture_healed(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(reconnect_seconds=60)
    daemon.attachment().show(offset=100)
    terminal.see(b"hello")
    daemon.die()
    terminal.see(b"connection to the daemon lost, trying again")
    terminal.type(b"typed meanwhile")
    daemon.listen()
    resumed = daemon.attachment(1)
    assert resumed.params["offset"] == 100
    eventually(lambda: resumed.typed == b"typed meanwhile", "nothing typed is lost")
    healed = daemon.attachment(2)
    assert healed.params.get("offset") is None
    assert healed.params["scrollback_lines"] == 0
    healed.show(b"healed")
    terminal.see(b"healed")


def test_the_prefix_works_while_the_daemon_is_away(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(reconnect_seconds=60)
    daemon.attachment().show()
    terminal.see(b"hello")
    daemon.die()
    terminal.see(b"trying again")
    terminal.type(PREFIX + b"d")
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.child_fd) == terminal.settings


def test_a_daemon_that_came_back_without_the_session_is_lost_at_once(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(reconnect_seconds=60)
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    daemon.refusal = {"code": -32003, "message": "There is no such session", "data": {"code": "session_not_found"}}
    served.drop()
    assert terminal.end() == 4
    terminal.see(b"connection to the daemon lost")
