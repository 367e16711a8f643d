"""From the daemon to the terminal: untouched, bounded in memory, acknowledged once it is really out."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_attach_harness import Attach, Daemon, Served, attaching, eventually, serving

from ptybridge.cli.terminal import RESET_PICTURE
from ptybridge.wire import attach as frames


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with serving(runtime_dir) as it:
        yield it


@pytest.fixture
def attach(daemon: Daemon) -> Iterator[Attach]:
    with attaching(daemon) as it:
        yield it


def last_ack(served: Served) -> int:
    acks = served.of(frames.Ack)
    return acks[-1].offset if acks else 0


def test_output_passes_untouched(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    data = (
        b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\x1b]52;c;aGk=\x07\x1b]133;A\x07\x1b[?2026h\x1b[>1u\x1b[?2004h"
        + bytes(range(256))
    )
    served.send(*(frames.Output(100 + at, data[at : at + 1]) for at in range(len(data))))
    terminal.see(b"hello" + data)
    eventually(lambda: last_ack(served) == 100 + len(data), "the acknowledgement of the last byte")


def test_what_the_users_terminal_showed_is_scrolled_up_and_not_overwritten(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(rows=24)
    daemon.attachment().show(b"picture")
    terminal.see(b"picture")
    hint = "[attached to work — detach: Ctrl-\\ d]\r\n".encode()
    scrolled = hint + b"\x1b[J" + b"\n" * 23 + b"\x1b[H"
    assert scrolled in terminal.output
    assert terminal.output.index(scrolled) < terminal.output.index(RESET_PICTURE) < terminal.output.index(b"picture")
    assert b"\x1b[3J" not in terminal.output
    assert b"\x1b[2J" not in terminal.output


def test_r06_a_slow_terminal_bounds_memory_and_loses_nothing(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    before = _resident_kib(terminal.process.pid)
    terminal.take(False)
    chunk = bytes(range(32, 127)) * 1000
    sent = _send_until_stuck(served, terminal.process.pid, chunk)
    assert sent < 8_000_000, "the client stops reading"
    assert _resident_kib(terminal.process.pid) - before < 8 * 1024
    assert last_ack(served) < 100 + sent
    terminal.take(True)
    expected = 100 + sent  # whole frames; the last one is cut where the client stopped
    eventually(lambda: last_ack(served) >= expected, "all of it is written and acknowledged")
    assert len(served.of(frames.Ack)) < sent / 32_768
    # What the client has written, the test's terminal reads a moment later.
    eventually(lambda: terminal.output.count(chunk) * len(chunk) >= sent, "all of it is on the terminal")


def _send_until_stuck(served: Served, pid: int, chunk: bytes) -> int:
    """Send until nothing more is taken by a client that has nothing else to do: on a busy machine it may be slow.

    Without a time-out of the socket, which would hold for the thread that reads it, too.
    """
    sent, frame = 0, b""
    while sent < 200_000_000:
        frame = frame or frames.encode(frames.Output(100 + sent, chunk))
        if not any(select.select([], [served.sock], [], 0.1)[1] or not _asleep(pid) for _ in range(5)):
            break
        with contextlib.suppress(BlockingIOError):
            frame = frame[served.sock.send(frame, socket.MSG_DONTWAIT) :]
        if not frame:
            sent += len(chunk)
    return sent


def _asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"


def _resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def test_r09_a_snapshot_is_acknowledged_once_drawn(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show(b"first", offset=1234)
    terminal.see(b"first")
    eventually(lambda: last_ack(served) == 1234, "the snapshot's offset")


def test_a_later_snapshot_starts_from_a_reset_picture(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    served.send(frames.Gap(100, 900), frames.Snapshot(900, 24, 80, b"after the gap"))
    terminal.see(b"after the gap")
    drawn = terminal.output[terminal.output.index(b"hello") :]
    assert drawn.index(RESET_PICTURE) < drawn.index(b"\x1b[24;1H\x1b[2K\x1b[H") < drawn.index(b"after the gap")


def test_pings_are_answered_even_while_the_terminal_is_stopped(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    terminal.take(False)
    served.send(frames.Output(100, bytes(200_000)), frames.Ping(b"12345678"))
    eventually(lambda: served.of(frames.Pong) == [frames.Pong(b"12345678")], "the answer")


def test_r11_a_storm_of_sizes_is_coalesced_and_ends_with_the_last(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    terminal.see(b"hello")
    started = time.monotonic()
    for cols in range(81, 281):
        terminal.resize(30, cols)
    eventually(lambda: frames.Resize(30, 280) in served.received, "the last size")
    elapsed = time.monotonic() - started
    assert len(served.of(frames.Resize)) <= elapsed * 60 + 2
    terminal.resize(0, 0)
    terminal.resize(31, 90)
    eventually(lambda: frames.Resize(31, 90) in served.received, "the size behind a useless one")
    assert all(frame.rows and frame.cols for frame in served.of(frames.Resize))


def test_pictures_for_another_size_leave_the_primary_screen_alone(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    served.send(frames.Resized(50, 200, frames.RENDERED_FRAMES), frames.Rendered(150, b"\x1b[?1049hcropped"))
    terminal.see(b"cropped")
    eventually(lambda: last_ack(served) == 150, "the picture's offset")
    terminal.type(b"\x1cd")
    assert terminal.end() == 0
    terminal.see(b"[detached from work]")


def test_an_error_of_the_daemon_rings_and_is_told_at_the_end(daemon: Daemon, attach: Attach) -> None:
    terminal = attach()
    served = daemon.attachment()
    served.show()
    served.send(frames.Error("input_full", "The session's input queue is full"))
    terminal.see(b"\x07")
    terminal.type(b"\x1cd")
    assert terminal.end() == 0
    terminal.see(b"input queue is full")
