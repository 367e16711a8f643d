"""From the keyboard to the daemon: every byte, in order, but for the prefix and the key behind it."""

import os
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.cli.test_attach_harness import Attach, Daemon, Served, attaching, eventually, serving

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


def test_a_paste_of_ten_megabytes_arrives_whole_though_the_daemon_is_slow(daemon: Daemon, attach: Attach) -> None:
    paste = random.Random(1).randbytes(10_000_000).replace(PREFIX, b" ")
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    daemon.reading.clear()
    writer = threading.Thread(target=terminal.type, args=(paste,))
    writer.start()
    writer.join(0.5)
    assert writer.is_alive(), "the terminal's driver holds the paste back while the daemon takes nothing"
    daemon.reading.set()
    eventually(lambda: len(served.typed) >= len(paste), "all of the paste", 60)
    writer.join()
    assert served.typed == paste


def test_r19_the_prefix_may_be_cut_from_its_key(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.type(b"a" + PREFIX)
    eventually(lambda: served.typed == b"a", "what stands before the prefix")
    terminal.type(b"d")
    assert terminal.end() == 0
    assert served.typed == b"a"


def test_escape_alone_arrives_although_nothing_follows_it(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    for typed in (b"\x1b", b"\x1b[", b"i\x1b"):
        before = bytes(served.typed)
        terminal.type(typed)
        eventually(lambda: served.typed == before + typed, "what may be the beginning of a key")  # noqa: B023
    terminal.type(PREFIX + b"d")
    assert terminal.end() == 0


def test_r19_the_prefix_twice_types_it_and_high_bytes_pass(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.type(PREFIX + PREFIX + b"\xff\x80\x00" + PREFIX + PREFIX + "ü€".encode())
    expected = PREFIX + b"\xff\x80\x00" + PREFIX + "ü€".encode()
    eventually(lambda: served.typed == expected, "literal prefixes and raw bytes")


def test_another_prefix_and_none(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(prefix="ctrl-a")
    terminal.see(b"detach: Ctrl-A d]")
    served = daemon.attachment()
    terminal.type(PREFIX + b"\x01d")
    assert terminal.end() == 0
    assert served.typed == PREFIX


def test_s21_a_viewer_types_nothing_and_is_told_once(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(read_only=True)
    served = daemon.attachment()
    assert served.params["mode"] == "viewer"
    served.show()
    terminal.see(b"hello")
    terminal.see(b"read-only")
    terminal.type(b"\x1b[?62;c")  # the terminal's answer to a query is no key
    terminal.type(b"rm -rf\r")
    terminal.see(b"hello\x07")
    terminal.type(b"more" + PREFIX + b"d")
    assert terminal.end() == 0
    assert served.typed == b""
    assert terminal.output.count(b"\x07") == 1


def test_a_writer_turned_viewer_by_a_lease_stops_typing(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    served.send(frames.Mode(writer=False))
    terminal.see(b"hello\x07")
    terminal.type(b"lost")
    terminal.see(b"\x07\x07")
    served.send(frames.Mode(writer=True))
    terminal.see(b"\x07\x07\x07")
    terminal.type(b"kept")
    eventually(lambda: served.typed.endswith(b"kept"), "input flows again")


def test_help_is_drawn_over_the_picture_and_any_key_draws_it_anew(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    daemon.attachment().show()
    terminal.see(b"hello")
    terminal.type(PREFIX + b"?")
    terminal.see(b"detach; the session goes on")
    terminal.type(b"q")
    again = daemon.attachment(1)
    assert again.params["scrollback_lines"] == 0
    again.show(b"anew")
    terminal.see(b"anew")
    assert again.typed == b""
    eventually(lambda: daemon.served[0].closed, "the old connection is closed")


@pytest.mark.parametrize("together", [True, False])
def test_in_the_help_the_keys_work_as_it_says_with_the_prefix(daemon: Daemon, attach: Attach, together: bool) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.type(PREFIX + b"?")
    terminal.see(b"Any other key goes back.")
    for typed in [PREFIX + b"d"] if together else [PREFIX, b"d"]:
        terminal.type(typed)
    assert terminal.end() == 0
    assert served.typed == b""


def test_a_key_draws_the_screen_anew(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    daemon.attachment().show()
    terminal.see(b"hello")
    terminal.type(PREFIX + b"r")
    again = daemon.attachment(1)
    assert again.params["scrollback_lines"] == 0
    again.show(b"anew")
    terminal.see(b"anew")
    assert again.typed == b""
    eventually(lambda: daemon.served[0].closed, "the old connection is closed")


def test_r18_the_end_of_piped_input_does_not_spin(daemon: Daemon, attach: Attach) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"data")
    terminal = attach(stdin=reading, piped_input=True)
    os.close(reading)
    os.close(writing)
    served = daemon.attachment()
    served.show()
    eventually(lambda: served.typed == b"data", "piped input")
    pid = terminal.process.pid

    def rests() -> bool:
        """Watch the client for a while in which it has nothing to do; one that spins never rests."""
        before = _cpu_seconds(pid)
        time.sleep(0.5)
        return _cpu_seconds(pid) - before <= 0.02

    eventually(rests, "rest")
    served.send(frames.Exited(exit_code=5, end_offset=100))
    assert terminal.end() == 5


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_keys_go_out_one_frame_each(daemon: Daemon, attach: Attach) -> None:
    """Echo latency: nothing waits for more to come."""
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    for number in range(5):
        terminal.type(b"%d" % number)
        eventually(partial(_frames_are, served, number + 1), "a frame for each key")


def _frames_are(served: Served, count: int) -> bool:
    return len(served.of(frames.Input)) == count
