"""Kills: of the daemon, of the keeper, and the way back."""

import os
import random
import select
import signal
import socket
import time
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

from ptybridge.keeper.pump import Flow, Pump, State

KINDS = pytest.mark.parametrize("kind", ["pty", "pipes"])
MEGABYTE = 1 << 20


def flood(kind: str, total: int) -> list[str]:
    return raw(generator(total)) if kind == "pty" else ["sh", "-c", f"{generator(total)} & {generator(total, 2)}"]


def check(kept: Kept, kind: str, total: int) -> None:
    """All that was written arrived once: offsets agree with the pattern to the last byte."""
    assert kept.ring.eof
    if kind == "pty":
        assert kept.ring.end == total
        start, data = kept.ring.read(0, total)
        assert data == expected(start, total - start)
        return
    assert kept.segments is not None
    assert kept.ring.end == 2 * total
    for stream in (0, 1):
        assert kept.segments.stream_end(stream) == total
        start, data, _ = kept.segments.read_stream(kept.ring, stream, 0, total)
        assert data == expected(start, total - start)


def pump_to_the_end(pump: Pump, flow: Flow) -> None:
    """What a daemon does with a session while there is no keeper."""
    deadline = time.monotonic() + 60
    while any(flow.open):
        assert time.monotonic() < deadline
        ready, _, _ = select.select(
            [fd for fd, is_open in zip(flow.outputs, flow.open, strict=True) if is_open], [], [], 1
        )
        for fd in ready:
            pump.step(flow, flow.outputs.index(fd))


def take_over(daemon: Daemon) -> Pump:
    """Finish the step a dead keeper was in."""
    pump = daemon.pump()
    flows = {sid: kept.flow() for sid, kept in daemon.kept.items()}
    pump.recover(flows.get)
    return pump


def adopt(daemon: Daemon, kept: Kept) -> None:
    names = list(kept.fds)
    info = {"sid": kept.sid, "kind": kept.info.kind, "pid": kept.pid, "overflow": kept.info.overflow}
    daemon.call("adopt", list(kept.fds.values()), info=info, names=names)


def test_killed_daemons_lose_and_double_nothing(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon]
) -> None:
    # However long the machine takes for the next daemon, the keeper waits for it.
    keeper = start_keeper(prelude="import ptybridge.keeper.process as p; p.GRACE_SECONDS = 600.0")
    total = 60 * MEGABYTE
    rnd = random.Random(1)
    first = connect_daemon(keeper)
    first.spawn(raw(generator(total)), capacity=MEGABYTE, overflow="pause")
    acked = 0
    for _ in range(10):
        report, report_in = os.pipe()
        pid = os.fork()
        if pid == 0:
            _daemon_that_checks(keeper.path, acked, report_in)
        os.close(report_in)
        reach = acked + rnd.randrange(1, 3 * MEGABYTE)
        while acked < reach and (line := os.read(report, 8)):
            acked = int.from_bytes(line, "little")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while line := os.read(report, 8):
            acked = int.from_bytes(line, "little")
        os.close(report)
        assert acked >= reach
    last = connect_daemon(keeper)
    kept = last.attach(1)
    # Before anything is drained.
    found, data = kept.ring.read(acked, 1000)
    assert found == acked  # the floor was heeded while nobody was there
    assert data == expected(acked, len(data))
    last.call("policy", sid=1, overflow="drain")
    eventually(lambda: kept.ring.eof)
    check(kept, "pty", total)


def _daemon_that_checks(path: str, offset: int, report: int) -> None:
    code = 1
    try:
        kept = Daemon(path).attach(1)
        ring = kept.ring
        while True:
            found, data = ring.read(offset, 100_000)
            assert (found, data) == (offset, expected(offset, len(data)))
            offset += len(data)
            os.write(report, offset.to_bytes(8, "little"))
            ring.floor = offset
            ring.stalled = False
    finally:
        os._exit(code)


@KINDS
@pytest.mark.parametrize("moment", range(6))
def test_survivor_of_a_killed_keeper_finishes_its_step_and_goes_on(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon], kind: str, moment: int
) -> None:
    # The keeper dies at a certain call inside a step: before splice, after it, after readv; early and late.
    name, after = (("splice", False), ("splice", True), ("readv", True))[moment % 3]
    prelude = (
        f"import os, signal\nreal, left = os.{name}, [{7 if moment < 3 else 90}]\n"
        "def fatal(*a, **k):\n"
        "    left[0] -= 1\n"
        f"    if {after}: result = real(*a, **k)\n"
        "    if left[0] < 0: os.kill(os.getpid(), 9)\n"
        f"    return result if {after} else real(*a, **k)\n"
        f"os.{name} = fatal"
    )
    total = 5 * MEGABYTE
    keeper = start_keeper(prelude=prelude)
    daemon = connect_daemon(keeper)
    kept = daemon.spawn(flood(kind, total), kind)
    assert keeper.process.wait(60) == -signal.SIGKILL
    pump = take_over(daemon)
    pump_to_the_end(pump, kept.flow())
    pump.close()
    check(kept, kind, total)


@KINDS
def test_keepers_killed_at_random_are_replaced_without_loss(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon], kind: str
) -> None:
    rnd = random.Random(2)
    total = 12 * MEGABYTE
    keeper = start_keeper()
    daemon = connect_daemon(keeper)
    kept = daemon.spawn(flood(kind, total), kind, overflow="pause", capacity=1 << 18)
    for _ in range(5):
        goal = kept.ring.end + rnd.randrange(1, MEGABYTE)
        _advance(daemon, kept, goal)
        keeper.kill()
        pump = take_over(daemon)
        flow = kept.flow()
        for _ in range(rnd.randrange(20)):  # the daemon goes on alone for a while
            for stream in range(len(flow.outputs)):
                pump.step(flow, stream)
        pump.close()
        keeper = start_keeper()
        successor = connect_daemon(keeper, epoch=5)
        successor.kept, daemon.kept = daemon.kept, {}
        daemon = successor
        adopt(daemon, kept)
    daemon.call("policy", sid=kept.sid, overflow="drain")
    eventually(lambda: kept.ring.eof)
    check(kept, kind, total)
    info = daemon.wait_exit(kept.sid)
    assert info.status == (0 if _kernel_tells_exit_of_strangers() else None)


def _advance(daemon: Daemon, kept: Kept, goal: int) -> None:
    def moved() -> bool:
        kept.ring.floor = kept.ring.end
        if kept.ring.stalled:
            kept.ring.stalled = False
            daemon.call("room", sid=kept.sid)
        return kept.ring.end >= goal

    eventually(moved)


def _kernel_tells_exit_of_strangers() -> bool:
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)))) >= (6, 15)


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("kill -9 $$", -9)])
def test_exit_status_of_an_adopted_child_is_known_or_unknown_but_never_wrong(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon], command: str, status: int
) -> None:
    keeper = start_keeper()
    daemon = connect_daemon(keeper)
    before = daemon.spawn(["sh", "-c", f"read x; {command}"])
    between = daemon.spawn(["sh", "-c", f"read x; {command}"])
    keeper.kill()
    os.write(between.fds["pty"], b"\n")
    eventually(lambda: not alive(between.pid))
    daemon_2 = connect_daemon(start_keeper(), epoch=daemon.hello["epoch"])
    for kept in (before, between):
        adopt(daemon_2, kept)
    os.write(before.fds["pty"], b"\n")
    known = status if _kernel_tells_exit_of_strangers() else None
    assert [daemon_2.wait_exit(kept.sid).status for kept in (before, between)] == [known, known]
    assert daemon_2.spawn(["true"]).sid > between.sid


@pytest.mark.parametrize("first", ["keeper", "daemon"])
def test_terminal_hangs_up_when_the_last_of_keeper_and_daemon_goes(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon], first: str
) -> None:
    keeper = start_keeper()
    daemon = connect_daemon(keeper)
    kept = daemon.spawn(["sh", "-c", "trap 'echo hung >&3; exit 77' HUP; echo up; while read x; do echo $x; done"])
    flow = kept.flow()
    eventually(lambda: b"up" in kept.output())
    process = os.pidfd_open(kept.pid)
    os.write(kept.fds["pty"], b"still there\n")
    if first == "keeper":
        keeper.kill()
        pump = take_over(daemon)
        eventually(lambda: pump.step(flow).state is State.EMPTY and kept.output().count(b"still there") == 2)
        pump.close()
        assert alive(kept.pid)
        daemon.close()
    else:
        eventually(lambda: kept.output().count(b"still there") == 2)
        daemon.close()
        again = connect_daemon(keeper)
        assert not again.info(kept.sid).exited
        again.close()
        keeper.kill()
    assert select.select([process], [], [], PATIENCE_SECONDS)[0]
    os.close(process)
    eventually(lambda: not alive(kept.pid))


def test_clients_can_connect_while_no_keeper_runs(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon]
) -> None:
    keeper = start_keeper()
    daemon = connect_daemon(keeper)
    keeper.kill()
    with socket.socket(fileno=os.dup(daemon.fds[0])) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(keeper.listen_path)
        client.sendall(b"hello")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(9) == b"hello"
