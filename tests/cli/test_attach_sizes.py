"""Pictures in a window that has changed meanwhile: drawn anew as soon as the session has its size, and only then."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_attach_harness import Attach, Daemon, Served, Terminal, attaching, eventually, serving

from ptybridge.wire import attach as frames


@pytest.fixture
def daemon(runtime_dir: Path) -> Iterator[Daemon]:
    with serving(runtime_dir) as it:
        yield it


@pytest.fixture
def attach(daemon: Daemon) -> Iterator[Attach]:
    with attaching(daemon) as it:
        yield it


def shrink(terminal: Terminal, served: Served, rows: int) -> None:
    """Change the window, and wait until the daemon has been told."""
    terminal.resize(rows, 80)
    eventually(lambda: frames.Resize(rows, 80) in served.received, f"{rows} rows are told")


def stays(daemon: Daemon, served: Served, number: int) -> None:
    """Wait until the client has done what the frames so far ask for, and see that it is still on this connection."""
    # What a frame brings about comes before the next one is read, and an attachment anew would end this one.
    served.send(frames.Ping(b"stays..."))
    eventually(lambda: frames.Pong(b"stays...") in served.received, "the answer")
    assert len(daemon.wanted) == number


def test_a_window_that_shrinks_while_attaching_is_told(daemon: Daemon, attach: Attach) -> None:
    daemon.answering.clear()
    terminal = attach(rows=24)
    eventually(lambda: daemon.wanted, "the attachment")
    terminal.resize(20, 80)
    daemon.answering.set()
    served = daemon.attachment()
    assert (served.params["rows"], served.params["cols"]) == (24, 80)
    eventually(lambda: frames.Resize(20, 80) in served.received, "the size it has")


@pytest.mark.parametrize("gap", [False, True], ids=["attaching", "gap"])
def test_a_snapshot_for_another_window_is_drawn_anew(gap: bool, daemon: Daemon, attach: Attach) -> None:
    terminal = attach(rows=24)
    served = daemon.attachment()
    if gap:
        served.show(b"before the gap")
        terminal.see(b"before the gap")
    shrink(terminal, served, 20)
    # What the daemon had sent before it heard of that.
    if gap:
        served.send(frames.Gap(100, 900))
    served.show(b"of 24 rows", offset=900)
    terminal.see(b"of 24 rows")
    stays(daemon, served, 1)

    served.send(frames.Resized(20, 80))

    anew = daemon.attachment(1)
    assert (anew.params["rows"], anew.params["cols"], anew.params["scrollback_lines"]) == (20, 80, 0)
    assert anew.params.get("offset") is None
    eventually(lambda: served.closed, "the connection before has ended")
    # In two pieces, as they come from the daemon.
    anew.send(frames.Resized(20, 80))
    stays(daemon, anew, 2)
    anew.send(frames.Snapshot(900, 20, 80, b"of 20 rows"))
    terminal.see(b"of 20 rows")
    stays(daemon, anew, 2)


def test_where_there_is_no_room_for_a_second_connection_the_picture_comes_over_the_next(
    daemon: Daemon, attach: Attach
) -> None:
    terminal = attach(rows=24)
    served = daemon.attachment()
    shrink(terminal, served, 20)
    served.show(b"of 24 rows", offset=900)
    terminal.see(b"of 24 rows")
    daemon.refusal = {"code": -32000, "message": "full", "data": {"code": "limit_reached", "retryable": True}}
    served.send(frames.Resized(20, 80))
    eventually(lambda: served.closed, "the connection before has ended")
    daemon.refusal = None
    anew = daemon.attachment(1)
    assert (anew.params["rows"], anew.params.get("offset")) == (20, None)
    anew.show(b"of 20 rows", rows=20)
    terminal.see(b"of 20 rows")


def test_a_window_that_is_again_as_the_snapshot_was_made_for(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(rows=24)
    served = daemon.attachment()
    shrink(terminal, served, 20)
    served.show(b"of 24 rows")
    terminal.see(b"of 24 rows")
    terminal.resize(24, 80)
    anew = daemon.attachment(1)
    assert anew.params["rows"] == 24
    anew.show(b"whole")
    terminal.see(b"whole")
    stays(daemon, anew, 2)


def test_a_session_of_another_size_is_not_drawn_anew(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(rows=24)
    served = daemon.attachment()
    shrink(terminal, served, 20)
    served.show(b"of 24 rows")
    terminal.see(b"of 24 rows")
    # It keeps its size: from now on there are pictures for our window, whatever size it gets.
    served.send(frames.Resized(24, 80, frames.RENDERED_FRAMES), frames.Rendered(150, b"cropped"))
    terminal.see(b"cropped")
    stays(daemon, served, 1)
    served.send(frames.Resized(20, 80))
    stays(daemon, served, 1)
    served.send(frames.Snapshot(160, 20, 80, b"of 20 rows"))
    terminal.see(b"of 20 rows")
    stays(daemon, served, 1)


def test_a_window_that_changes_later_keeps_its_picture(daemon: Daemon, attach: Attach) -> None:
    terminal = attach(rows=24)
    served = daemon.attachment()
    served.show(b"of 24 rows")
    terminal.see(b"of 24 rows")
    stays(daemon, served, 1)
    shrink(terminal, served, 20)
    served.send(frames.Resized(20, 80), frames.Output(100, b"and on"))
    terminal.see(b"and on")
    stays(daemon, served, 1)
