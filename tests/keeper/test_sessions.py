"""Sessions in a running keeper: output, exit, back-pressure, and what is given back at the end."""

import os
import select
import signal
from collections.abc import Callable

import pytest
from tests.keeper.harness import (
    PATIENCE_SECONDS,
    Daemon,
    KeeperProcess,
    Kept,
    alive,
    eventually,
    expected,
    generator,
    raw,
)

from ptybridge.keeper.protocol import KeeperError

KINDS = pytest.mark.parametrize("kind", ["pty", "pipes"])
MEGABYTE = 1 << 20


def check_tail(kept: Kept, total: int) -> None:
    """The output was `total` bytes of the pattern, and what is kept of it is right."""
    assert kept.ring.end == total
    start, data = kept.ring.read(0, total)
    assert data == expected(start, total - start)


def woken(kept: Kept) -> None:
    """Wait for a wake-up: it comes a moment after what it tells of can be seen in the ring."""
    assert select.select([kept.fds["wake"]], [], [], PATIENCE_SECONDS)[0]
    assert os.eventfd_read(kept.fds["wake"]) >= 1


@KINDS
def test_byte_o_of_the_ring_is_the_oth_the_child_wrote(daemon: Daemon, kind: str) -> None:
    total = 20 * MEGABYTE + 123
    command = raw(generator(total)) if kind == "pty" else ["sh", "-c", generator(total)]
    kept = daemon.spawn(command, kind, capacity=MEGABYTE)
    # Read along: gaps are allowed, wrong bytes and falling offsets are not.
    offset = 0
    while not (kept.ring.eof and offset == kept.ring.end):
        found, data = kept.ring.read(offset, 100_000)
        assert data == expected(found, len(data))
        assert found >= offset
        offset = found + len(data)
    check_tail(kept, total)


def test_both_outputs_of_a_pipes_child_keep_their_own_offsets(daemon: Daemon) -> None:
    total = 3 * MEGABYTE
    command = f"{generator(total, 1)} & {generator(total, 2)} & wait"
    kept = daemon.spawn(["sh", "-c", command], "pipes", capacity=8 * MEGABYTE)
    kept.wait_eof()
    assert kept.segments is not None
    for stream in (0, 1):
        found, data, _ = kept.segments.read_stream(kept.ring, stream, 0, total)
        assert (found, len(data)) == (0, total)
        assert data == expected(0, total)


def test_wake_up_comes_with_growth_and_with_the_end(daemon: Daemon) -> None:
    kept = daemon.spawn(["sh", "-c", "read line; echo $line"], echo=False)
    os.write(kept.fds["pty"], b"x\n")
    eventually(lambda: kept.ring.eof)
    woken(kept)


def test_latest_attach_alone_is_woken(keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]) -> None:
    first = connect_daemon(keeper)
    old = first.spawn(["cat"])
    second = connect_daemon(keeper)
    kept = second.attach(old.sid)
    os.write(kept.fds["pty"], b"x\n")
    eventually(lambda: kept.ring.end >= 6)
    woken(kept)
    os.set_blocking(old.fds["wake"], False)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(old.fds["wake"])


@pytest.mark.parametrize(
    ("command", "status"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", -9), ("kill -TERM $$", -15)]
)
def test_exit_status_is_told_and_kept(daemon: Daemon, command: str, status: int) -> None:
    kept = daemon.spawn(["sh", "-c", f"echo done; {command}"])
    event = daemon.event("exit")
    assert (event["sid"], event["status"]) == (kept.sid, status)
    info = daemon.info(kept.sid)
    assert (info.exited, info.status) == (True, status)
    assert kept.wait_eof() == b"done\r\n"


def test_exit_is_not_the_end_of_output(daemon: Daemon, tmp_path: object) -> None:
    fifo = f"{tmp_path}/go"
    os.mkfifo(fifo)
    kept = daemon.spawn(["sh", "-c", f"trap '' HUP; (read x <{fifo}; echo late) & echo early; exit 7"])
    assert daemon.event("exit")["status"] == 7
    info = daemon.info(kept.sid)
    assert info.exited
    assert not info.eof
    with open(fifo, "w") as go:
        go.write("\n")
    assert kept.wait_eof() == b"early\r\nlate\r\n"
    assert daemon.info(kept.sid).eof


def test_output_may_end_before_the_child(daemon: Daemon) -> None:
    kept = daemon.spawn(["sh", "-c", "echo bye; exec >&- 2>&-; read x; exit 5"], "pipes")
    assert kept.wait_eof() == b"bye\n"
    assert not daemon.info(kept.sid).exited
    os.write(kept.fds["stdin"], b"\n")
    assert daemon.wait_exit(kept.sid).status == 5


def test_kill_reaches_the_child_and_never_a_stranger(daemon: Daemon) -> None:
    kept = daemon.spawn(["sleep", "1000"])
    daemon.call("kill", sid=kept.sid, signal=signal.SIGTERM)
    assert daemon.wait_exit(kept.sid).status == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        daemon.call("kill", sid=kept.sid, signal=signal.SIGTERM)


@KINDS
def test_full_ring_stops_the_child_and_costs_nothing(daemon: Daemon, keeper: KeeperProcess, kind: str) -> None:
    total = 2 * MEGABYTE
    command = raw(generator(total)) if kind == "pty" else ["sh", "-c", generator(total)]
    kept = daemon.spawn(command, kind, capacity=1 << 16, overflow="pause")
    eventually(lambda: kept.ring.stalled)
    ring = kept.ring
    assert (ring.start, ring.end) == (0, ring.capacity)
    assert keeper.comes_to_rest()
    assert (ring.start, ring.end) == (0, ring.capacity)
    offset = 0
    while offset < total:
        found, data = ring.read(offset, 30_000)
        assert (found, data) == (offset, expected(offset, len(data)))
        offset += len(data)
        ring.floor = offset
        if ring.stalled:
            ring.stalled = False
            daemon.call("room", sid=kept.sid)
        assert ring.end - ring.floor <= ring.capacity
    eventually(lambda: ring.eof)
    assert ring.end == total


def test_full_ring_of_a_dead_child_costs_nothing_and_keeps_its_tail(daemon: Daemon, keeper: KeeperProcess) -> None:
    kept = daemon.spawn(raw(generator(MEGABYTE)), capacity=1 << 16, overflow="pause")
    eventually(lambda: kept.ring.stalled)
    daemon.call("kill", sid=kept.sid, signal=signal.SIGKILL)
    daemon.wait_exit(kept.sid)
    assert keeper.comes_to_rest()
    kept.ring.floor = kept.ring.end
    daemon.call("room", sid=kept.sid)
    eventually(lambda: kept.ring.eof)
    start, data = kept.ring.read(0, MEGABYTE)
    assert kept.ring.end > 1 << 16
    assert data == expected(start, len(data))


def test_policy_can_change_while_the_child_waits(daemon: Daemon) -> None:
    total = MEGABYTE
    kept = daemon.spawn(raw(generator(total)), capacity=1 << 16, overflow="pause")
    eventually(lambda: kept.ring.stalled)
    assert daemon.call("policy", sid=kept.sid, overflow="drain").body["info"]["overflow"] == "drain"
    eventually(lambda: kept.ring.eof)
    check_tail(kept, total)


def test_floor_that_moves_unannounced_is_noticed_soon_after_the_stall(daemon: Daemon) -> None:
    kept = daemon.spawn(raw(generator(MEGABYTE)), capacity=1 << 16, overflow="pause")
    eventually(lambda: kept.ring.stalled)
    kept.ring.floor = 4000  # the race: the daemon looked at `stalled` just before it was set
    eventually(lambda: kept.ring.end > 1 << 16)


def test_without_a_daemon_floors_count_for_a_while_only(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon]
) -> None:
    keeper = start_keeper(prelude="import ptybridge.keeper.process as p; p.GRACE_SECONDS = 0.3")
    daemon = connect_daemon(keeper)
    kept = daemon.spawn(raw(generator(MEGABYTE)), capacity=1 << 16, overflow="pause")
    eventually(lambda: kept.ring.stalled)
    daemon.channel.close()
    eventually(lambda: kept.ring.eof)
    check_tail(kept, MEGABYTE)
    again = connect_daemon(keeper)
    other = again.spawn(raw(generator(MEGABYTE)), capacity=1 << 16, overflow="pause")
    eventually(lambda: other.ring.stalled)
    assert other.ring.end == 1 << 16


@KINDS
def test_descriptors_do_not_grow_over_many_sessions(daemon: Daemon, keeper: KeeperProcess, kind: str) -> None:
    before = keeper.fds()
    for _ in range(30):
        kept = daemon.spawn(["true"], kind)
        daemon.wait_exit(kept.sid)
        daemon.call("forget", sid=kept.sid)
        daemon.kept.pop(kept.sid).close()
    eventually(lambda: keeper.fds() == before)
    assert daemon.call("list").body["sessions"] == []


def test_descriptors_do_not_grow_over_many_daemons(
    keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]
) -> None:
    daemon = connect_daemon(keeper)
    daemon.spawn(["sleep", "1000"])
    before = keeper.fds()
    for _ in range(20):
        daemon = connect_daemon(keeper)
        daemon.attach(1)
    eventually(lambda: keeper.fds() == before)


def test_running_session_is_forgotten_only_by_force_and_then_hung_up(daemon: Daemon, keeper: KeeperProcess) -> None:
    before = keeper.fds()
    kept = daemon.spawn(["sleep", "1000"])
    with pytest.raises(KeeperError, match="still runs"):
        daemon.call("forget", sid=kept.sid)
    daemon.kept.pop(kept.sid).close()
    assert alive(kept.pid)
    daemon.call("forget", sid=kept.sid, force=True)
    eventually(lambda: not os.path.exists(f"/proc/{kept.pid}"), "hang-up and reaping")
    eventually(lambda: keeper.fds() == before)


def test_sids_are_not_used_again(daemon: Daemon) -> None:
    first = daemon.spawn(["true"])
    daemon.wait_exit(first.sid)
    daemon.call("forget", sid=first.sid)
    assert daemon.spawn(["true"]).sid > first.sid


def test_idle_keeper_with_sessions_uses_no_cpu(daemon: Daemon, keeper: KeeperProcess) -> None:
    for _ in range(20):
        daemon.spawn(["sleep", "1000"])
    exited = daemon.spawn(["true"])
    daemon.wait_exit(exited.sid)
    assert keeper.comes_to_rest()


def test_keeper_without_splice_still_serves(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon]
) -> None:
    prelude = "import os\ndef no(*a, **k): raise OSError(22, 'Invalid argument')\nos.splice = no"
    daemon = connect_daemon(start_keeper(prelude=prelude))
    assert daemon.hello["exact"] is False
    kept = daemon.spawn(raw(generator(MEGABYTE)), capacity=2 * MEGABYTE)
    eventually(lambda: kept.ring.eof)
    check_tail(kept, MEGABYTE)
