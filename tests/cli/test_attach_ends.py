"""However an attachment ends, the user's terminal is as it was before, and the exit status says what happened."""

import os
import signal
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.test_attach_harness import Attach, Daemon, Served, Terminal, attaching, eventually, serving

from ptybridge.cli.terminal import RESET_SEQUENCE
from ptybridge.wire import attach as frames

Ending = Callable[[Daemon, Served, Terminal], None]

PREFIX = b"\x1c"


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with serving(runtime_dir) as it:
        yield it


@pytest.fixture
def attach(daemon: Daemon) -> Iterator[Attach]:
    with attaching(daemon) as it:
        yield it


def by_key(daemon: Daemon, served: Served, terminal: Terminal) -> None:
    terminal.type(PREFIX + b"d")


def by_exit(daemon: Daemon, served: Served, terminal: Terminal) -> None:
    served.send(frames.Exited(exit_code=7, end_offset=100))


def by_death(daemon: Daemon, served: Served, terminal: Terminal) -> None:
    served.send(frames.Exited(exit_signal="SIGTERM", exit_reason="signaled", end_offset=100))


def by_kick(daemon: Daemon, served: Served, terminal: Terminal) -> None:
    served.send(frames.Detached(reason="kicked", text="kicked by \x1b[31mbob"))


def by_loss(daemon: Daemon, served: Served, terminal: Terminal) -> None:
    daemon.die()


def by_signal(number: signal.Signals) -> Ending:
    return lambda daemon, served, terminal: terminal.signal(number)


ENDINGS = [
    pytest.param(by_key, 0, b"[detached from work]", id="detach"),
    pytest.param(by_exit, 7, b"[work exited with status 7]", id="exit"),
    pytest.param(by_death, 143, b"[work killed by SIGTERM]", id="killed"),
    pytest.param(by_kick, 0, b"[detached: kicked by [31mbob]", id="kicked"),
    pytest.param(by_loss, 4, b"ptybridge: connection to the daemon lost", id="daemon-lost"),
    pytest.param(by_signal(signal.SIGTERM), 143, b"", id="SIGTERM"),
    pytest.param(by_signal(signal.SIGHUP), 129, b"", id="SIGHUP"),
    pytest.param(by_signal(signal.SIGINT), 130, b"", id="SIGINT"),
    pytest.param(by_signal(signal.SIGQUIT), 131, b"", id="SIGQUIT"),
]


@pytest.mark.parametrize(("ending", "status", "message"), ENDINGS)
def test_r20_the_terminal_is_restored_after(
    ending: Ending, status: int, message: bytes, daemon: Daemon, attach: Attach
) -> None:
    terminal = attach(reconnect_seconds=0.2)
    served = daemon.attachment()
    served.show(b"\x1b[?1049h\x1b[?1003h\x1b[?2004hprogram")
    terminal.see(b"program")
    assert terminal.raw
    before = len(terminal.output)

    ending(daemon, served, terminal)

    assert terminal.end() == status
    assert termios.tcgetattr(terminal.child_fd) == terminal.settings
    terminal.see(RESET_SEQUENCE)
    terminal.see(message)
    assert terminal.output.index(RESET_SEQUENCE) >= before
    assert terminal.output.index(message, before) >= terminal.output.index(RESET_SEQUENCE) or not message


def test_r20_a_defect_in_the_client_leaves_the_terminal_restored(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    served.sock.sendall(b"\x15\x00\x00\x00\x01x")  # a RESIZED frame too short: the client raises
    assert terminal.end() == 1
    assert termios.tcgetattr(terminal.child_fd) == terminal.settings
    terminal.see(RESET_SEQUENCE)


def test_r20_a_terminal_that_is_gone_ends_the_client(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.hang_up()
    assert terminal.end() == 128 + signal.SIGHUP
    eventually(lambda: served.closed, "the connection is closed")


def test_r20_a_terminal_that_takes_nothing_does_not_hold_up_leaving(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.take(False)
    served.send(frames.Output(100, bytes(4096 * 100)))
    eventually(lambda: len(served.of(frames.Ack)) >= 1, "the client works")
    terminal.type(PREFIX + b"d")
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.child_fd) == terminal.settings


def test_the_child_of_an_exited_session_is_shown_to_its_last_byte(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.take(False)
    data = b"x" * 300_000 + b"last"
    served.send(frames.Output(100, data), frames.Exited(exit_code=0, end_offset=100 + len(data)))
    served.drop()
    terminal.take(True)
    assert terminal.end() == 0
    terminal.see(b"xlast")


def test_detaching_asks_where_the_content_ends_and_puts_the_cursor_below(daemon: Daemon, attach: Attach) -> None:
    daemon.screen["lines"] = ["top", "", "status line", ""]
    terminal = attach()
    daemon.attachment().show()
    terminal.see(b"hello")
    terminal.type(PREFIX + b"d")
    terminal.end()
    terminal.see(RESET_SEQUENCE + b"\x1b[2B\r\n[detached from work]\r\n")


def test_input_typed_before_detaching_still_goes_out(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.type(b"make\r" + PREFIX + b"d")
    terminal.end()
    eventually(lambda: served.closed, "the connection is closed")
    assert served.typed == b"make\r"
    assert isinstance(served.received[-1], frames.Detach)


def test_a_refusal_leaves_the_terminal_untouched(daemon: Daemon, attach: Attach) -> None:
    daemon.refusal = {"code": -32003, "message": "There is no such session", "data": {"code": "session_not_found"}}
    terminal = attach()
    assert terminal.end() == 1
    terminal.see(b"SessionNotFound")
    assert b"\x1b" not in terminal.output


def test_without_a_terminal_attaching_is_refused(daemon: Daemon, attach: Attach) -> None:
    reading, writing = os.pipe()
    try:
        terminal = attach(stdin=reading)
        assert terminal.end() == 2
        terminal.see(b"standard input is not a terminal")
    finally:
        os.close(reading)
        os.close(writing)


def test_attaching_a_session_to_itself_is_refused(
    daemon: Daemon, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTYBRIDGE_SESSION_ID", "s1")
    terminal = attach()
    assert terminal.end() == 1
    terminal.see(b"attached to itself")


def test_inside_another_session_the_hint_shows_the_doubled_prefix(
    daemon: Daemon, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTYBRIDGE_SESSION_ID", "s0")
    terminal = attach()
    terminal.see("[attached to work — detach: Ctrl-\\ twice, d]".encode())


def test_run_says_nothing_and_leaves_with_the_status(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(prefix=None, hint=False, inline=True)
    served = daemon.attachment()
    assert served.params["offset"] == 0
    served.send(frames.Resized(24, 80), frames.Output(0, b"out\r\n"))
    terminal.see(b"out\r\n")
    terminal.type(PREFIX + b"d")
    eventually(lambda: served.typed == PREFIX + b"d", "the prefix is input")
    served.send(frames.Exited(exit_code=3, end_offset=5))
    assert terminal.end() == 3
    assert b"[" not in terminal.output.replace(b"\x1b[", b"")
