"""Outputs that the keeper leaves to a daemon: exact whoever is killed when, and pumped again when nobody else does."""

import fcntl
import os
import random
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.keeper.harness import Daemon, KeeperProcess, Kept, eventually, raw
from tests.keeper.test_pump import Fuse, arm

from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.kept import KeptBackend
from ptybridge.core.child import ChildSpec
from ptybridge.keeper.protocol import KeeperError, Message
from ptybridge.keeper.pump import Progress, Pump, State
from ptybridge.model import WindowSize

Connect = Callable[..., Daemon]
ECHO = raw("echo up; exec cat")


def echoing(daemon: Daemon) -> Kept:
    """A session that gives back what is written to it."""
    kept = daemon.spawn(ECHO, overflow="pause")
    eventually(lambda: kept.output() == b"up\n")
    return kept


def say(kept: Kept, text: bytes) -> None:
    assert os.write(kept.fds["pty"], text) == len(text)


def arrived(kept: Kept, text: bytes) -> None:
    eventually(lambda: kept.output().endswith(text), f"{text!r} in the ring")


def came(kept: Kept, size: int) -> bytes:
    """Return all output when it is so much."""
    eventually(lambda: kept.ring.end >= size, f"{size} bytes in the ring")
    return kept.output()


def pump_of(daemon: Daemon) -> Pump:
    pump = daemon.pump()
    pump.epoch = daemon.hello["epoch"]
    return pump


def step(pump: Pump, kept: Kept) -> int:
    """Step until something has come."""
    flow = kept.flow()
    size: int = eventually(lambda: pump.step(flow).size, "output of a lent session")
    return size


def test_a_lent_output_is_left_alone_until_it_is_given_back(daemon: Daemon) -> None:
    assert daemon.hello["lends"]
    kept, other = echoing(daemon), echoing(daemon)
    daemon.call("pump", sid=kept.sid)
    say(kept, b"one")
    say(other, b"two")
    arrived(other, b"two")
    daemon.call("room", sid=kept.sid)
    daemon.call("policy", sid=kept.sid, overflow="pause")
    assert kept.output() == b"up\n"
    pump = pump_of(daemon)
    assert step(pump, kept) == 3
    say(kept, b"three")
    daemon.call("pump", sid=kept.sid, on=False)
    arrived(kept, b"onethree")
    pump.close()


@pytest.mark.parametrize("how", ["it goes", "another comes", "the keeper is upgraded"])
def test_the_keeper_pumps_when_the_daemon_does_not_any_more(
    keeper: KeeperProcess, connect_daemon: Connect, how: str
) -> None:
    daemon = connect_daemon(keeper)
    kept = echoing(daemon)
    daemon.call("pump", sid=kept.sid)
    pump = pump_of(daemon)
    say(kept, b"one")
    assert step(pump, kept) == 3
    say(kept, b"two")
    if how == "it goes":
        daemon.channel.close()
    elif how == "another comes":
        connect_daemon(keeper)
    else:
        daemon.call("upgrade")
    arrived(kept, b"onetwo")
    if how != "the keeper is upgraded":
        say(kept, b"three")
        assert pump.step(kept.flow()) == Progress(0, State.BUSY)
        arrived(kept, b"onetwothree")
    pump.close()


def test_what_a_lent_child_says_last_is_for_the_daemon(daemon: Daemon) -> None:
    kept = daemon.spawn(raw("echo up; read x; echo last words; exit 3"))
    # Before the terminal is raw it would echo.
    eventually(lambda: kept.output() == b"up\n")
    daemon.call("pump", sid=kept.sid)
    say(kept, b"\n")
    assert daemon.event("exit")["status"] == 3
    assert (kept.ring.end, kept.ring.eof) == (len(b"up\n"), False)
    pump, flow = pump_of(daemon), kept.flow()
    eventually(lambda: pump.step(flow).state is State.ENDED)
    assert kept.ring.eof
    assert kept.output() == b"up\nlast words\n"
    pump.close()


def test_r15_a_daemon_killed_at_every_point_of_its_own_step_loses_and_doubles_nothing(
    keeper: KeeperProcess, connect_daemon: Connect
) -> None:
    first = connect_daemon(keeper)
    kept = echoing(first)
    rnd = random.Random(1)
    written = b"up\n"
    moment, through = 0, False
    while not through:
        ready, ready_in = os.pipe()
        pid = os.fork()
        if pid == 0:
            _daemon_that_dies(keeper.path, moment, ready_in)
        os.close(ready_in)
        assert os.read(ready, 1)
        os.close(ready)
        written += (text := rnd.randbytes(rnd.choice([1, 2, 300, 3000])))
        say(kept, text)
        through = os.waitpid(pid, 0)[1] == 0
        # The keeper finishes the step and reads on.
        assert came(kept, len(written)) == written
        moment += 1
    assert moment > 12


def _daemon_that_dies(path: str, moment: int, ready: int) -> None:
    code = 1
    try:
        daemon = Daemon(path)
        kept = daemon.attach(1)
        daemon.call("pump", sid=1)
        pump, flow = pump_of(daemon), kept.flow()
        os.write(ready, b"!")
        select.select([kept.fds["pty"]], [], [])
        arm(pump, flow, Fuse(moment), short=False)
        assert pump.step(flow).size
        code = 0
    finally:
        os._exit(code)


def test_nothing_is_lent_while_another_daemon_is_in_a_step(keeper: KeeperProcess, connect_daemon: Connect) -> None:
    before = connect_daemon(keeper)
    kept = echoing(before)
    held, held_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        fcntl.lockf(before.fds[3], fcntl.LOCK_EX)
        os.write(held_in, b"!")
        signal.pause()
    os.read(held, 1)
    daemon = connect_daemon(keeper)
    say(kept, b"one")
    with pytest.raises(KeeperError) as caught:
        daemon.call("pump", sid=kept.sid)
    assert caught.value.kind == "busy"
    assert kept.output() == b"up\n"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    arrived(kept, b"one")
    daemon.call("pump", sid=kept.sid)
    os.close(held)
    os.close(held_in)


async def test_echoes_need_no_keeper(
    run_dir: Path, keeper: KeeperProcess, connect_daemon: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a keeper that stands still, input and output go on; and they do when its program was replaced."""
    connect_daemon(keeper).close()
    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    env = {"PATH": os.environ["PATH"]}
    spec = ChildSpec(argv=ECHO, cwd="/", env=env, size=WindowSize(24, 80), capacity=1 << 20, echo=False)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listener, _ = await link.connect()
            listener.close()
            await nursery.start(link.run)
            child, log = await KeptBackend(link).spawn("pty", spec)
            reader = log.reader(0)
            text = b""
            lent, ask = trio.Event(), link.request

            async def request(op: str, *args: Any, **params: Any) -> Message:
                answer = await ask(op, *args, **params)
                if op == "pump":
                    lent.set()
                return answer

            monkeypatch.setattr(link, "request", request)

            async def said(wanted: bytes) -> None:
                nonlocal text
                while not text.endswith(wanted):
                    await reader.wait()
                    text += reader.take(100)[1]

            nursery.start_soon(child.pump, log)
            await said(b"up\n")
            for _ in range(2):
                await lent.wait()
                os.kill(keeper.pid, signal.SIGSTOP)
                child.send_nowait(b"one")
                await said(b"one")
                os.kill(keeper.pid, signal.SIGCONT)
                lent = trio.Event()
                await link.upgrade()
                child.send_nowait(b"two")
                await said(b"two")
            child.discard()
            nursery.cancel_scope.cancel()
    await child.aclose()
    link.close()
