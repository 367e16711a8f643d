"""A keeper that is killed at each step of a new daemon's taking up: what it has given out by then is not lost."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.keeper.harness import Daemon, KeeperProcess, alive, eventually, expected, generator, raw

from ptybridge.backends import keeper_link
from ptybridge.backends.keeper_answers import Answers
from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.kept import KeptBackend, KeptChild
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.errors import Unavailable
from ptybridge.keeper.protocol import Channel, Message, SessionInfo
from ptybridge.model import WindowSize

# The keepers that the link starts outlive what started them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SESSIONS = 4
TOTAL = 3 << 20
WAITING = raw(f"read go; {generator(TOTAL)}")


def kill_after(answers: int, keeper: KeeperProcess, patch: pytest.MonkeyPatch) -> None:
    """Kill the keeper in the step that receives the daemon's so-manieth answer from now on."""
    count = 0
    take = Answers.take

    def take_and_kill(self: Answers, message: Message) -> bool:
        nonlocal count
        taken = take(self, message)
        count += 1
        if count == answers:
            keeper.kill()
        return taken

    patch.setattr(Answers, "take", take_and_kill)


async def until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await trio.sleep(0.01)


async def pump(child: Child, log: Transcript) -> None:
    await child.pump(log)
    log.close()


async def ended(log: Transcript) -> None:
    """Wait until it is pumped to its end, as a session does before it lets go of its child."""
    await until(lambda: log.closed)


@pytest.mark.parametrize("answers", range(1 + SESSIONS + 1))
async def test_r15_a_keeper_killed_while_a_new_daemon_takes_up_loses_nothing_it_has_given_out(
    answers: int,
    run_dir: Path,
    keeper: KeeperProcess,
    connect_daemon: Callable[..., Daemon],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = connect_daemon(keeper)
    pids = {}
    for number in range(SESSIONS):
        kept = before.spawn(WAITING, capacity=2 * TOTAL, overflow="pause", echo=False)
        before.call("note", sid=kept.sid, key="name", data=f"s{number}")
        pids[kept.sid] = kept.pid
    before.close()

    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    backend = KeptBackend(link)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listener, infos = await link.connect()
            listener.close()
            await nursery.start(link.run)
            kill_after(answers, keeper, monkeypatch)
            if answers == 0:
                keeper.kill()
            notes, held = await backend.hold(infos)
            # In order, notes first; more may have been under way than was received at the kill.
            assert list(held) == sorted(pids)[: len(held)]
            assert len(held) >= answers - 1
            if held:
                assert notes == {sid: {"name": f"s{number}"} for number, sid in enumerate(pids)}
            for child, log in held.values():
                nursery.start_soon(pump, child, log)
                await child.send_some(memoryview(b"go\n"))
            await until(lambda: link.keeper_pid != keeper.pid)
            for child, log in held.values():
                assert (await child.wait()).code in {0, None}  # None: a kernel that does not tell of others' children
                await ended(log)
                assert log.ring.end == TOTAL
                assert log.ring.read(0, TOTAL) == (0, expected(0, TOTAL))
            # The next keeper has them, and what is known of them, too.
            answer: Message = await link.request("notes")
            assert answer.body["notes"] == [[sid, "name", notes[sid]["name"]] for sid in held]
            for child, _ in held.values():
                await child.aclose()
            link.stop_keeper()
            nursery.cancel_scope.cancel()
    link.close()
    for sid, pid in pids.items():
        if sid not in held:  # its only holder was killed: it hung up
            eventually(lambda pid=pid: not alive(pid), "the end of a child that nobody holds")  # type: ignore[misc]


async def test_r15_a_keeper_killed_with_its_answer_leaves_a_child_that_is_looked_after(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    backend = KeptBackend(link)
    env = {"PATH": os.environ["PATH"]}
    spec = ChildSpec(argv=WAITING, cwd="/", env=env, size=WindowSize(24, 80), capacity=2 * TOTAL, echo=False)
    take = Answers.take

    def take_and_kill(self: Answers, message: Message) -> bool:
        taken = take(self, message)
        if "names" in message.body:
            os.kill(link.keeper_pid, signal.SIGKILL)
            eventually(lambda: not link_lives(link))
        return taken

    def link_lives(link: Any) -> bool:
        return bool(link._keeper_lives())

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listener, _ = await link.connect()
            listener.close()
            first = link.keeper_pid
            await nursery.start(link.run)
            with monkeypatch.context() as patch:
                patch.setattr(Answers, "take", take_and_kill)
                child, log = await backend.spawn("pty", spec)
            nursery.start_soon(pump, child, log)
            await child.send_some(memoryview(b"go\n"))
            await ended(log)
            assert log.ring.read(0, TOTAL) == (0, expected(0, TOTAL))
            await until(lambda: link.keeper_pid != first)
            await child.aclose()
            link.stop_keeper()
            nursery.cancel_scope.cancel()
    link.close()


@pytest.mark.parametrize("asked", [False, True], ids=["before it is asked", "before it answers"])
async def test_r15_a_keeper_that_dies_before_it_answers_a_new_daemon_is_replaced(
    asked: bool,
    run_dir: Path,
    keeper: KeeperProcess,
    connect_daemon: Callable[..., Daemon],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect_daemon(keeper).close()
    send = Channel.send

    def kill_and_send(self: Channel, body: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        monkeypatch.setattr(Channel, "send", send)
        if asked:
            os.kill(keeper.pid, signal.SIGSTOP)  # so that it cannot be faster
            send(self, body, fds)
            keeper.kill()
        else:
            keeper.kill()
            send(self, body, fds)

    monkeypatch.setattr(Channel, "send", kill_and_send)
    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    with trio.fail_after(60):
        listener, infos = await link.connect()
    listener.close()
    assert (infos, link.keeper_pid != keeper.pid) == ([], True)
    link.stop_keeper()
    link.close()


async def test_a_keeper_that_is_stopped_is_told_and_not_waited_for(
    run_dir: Path, keeper: KeeperProcess, connect_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_daemon(keeper).close()
    monkeypatch.setattr(keeper_link, "START_SECONDS", 0.2)
    os.kill(keeper.pid, signal.SIGSTOP)
    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    try:
        with trio.fail_after(60), pytest.raises(Unavailable, match="has not answered"):
            await link.connect()
    finally:
        os.kill(keeper.pid, signal.SIGCONT)


async def test_a_wake_up_of_the_keeper_before_does_not_reach_for_its_closed_descriptor(
    run_dir: Path, keeper: KeeperProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    env = {"PATH": os.environ["PATH"]}
    spec = ChildSpec(argv=WAITING, cwd="/", env=env, size=WindowSize(24, 80), capacity=2 * TOTAL, echo=False)
    wait_readable = trio.lowlevel.wait_readable
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listener, _ = await link.connect()
            listener.close()
            link._lends = False  # as with a keeper that pumps itself
            await nursery.start(link.run)
            child, log = await KeptBackend(link).spawn("pty", spec)
            assert isinstance(child, KeptChild)
            wake = child._fds["wake"]
            woken = trio.Event()

            async def wait_and_reattach(fd: int) -> None:
                await wait_readable(fd)
                if fd == wake and not woken.is_set():
                    # Attached anew between the wake-up and the next step of who was woken.
                    woken.set()
                    answer = await link.request("attach", {"sid": child.sid})
                    info = SessionInfo.from_body(answer.body["info"])
                    child.reattach(info, dict(zip(answer.body["names"], answer.fds, strict=True)))

            monkeypatch.setattr(trio.lowlevel, "wait_readable", wait_and_reattach)
            nursery.start_soon(pump, child, log)
            await child.send_some(memoryview(b"go\n"))
            await ended(log)
            assert woken.is_set()
            assert log.ring.read(0, TOTAL) == (0, expected(0, TOTAL))
            child.discard()
            await child.aclose()
            link.stop_keeper()
            nursery.cancel_scope.cancel()
    link.close()


async def test_a_keeper_that_was_told_to_end_is_not_complained_about(
    run_dir: Path,
    keeper: KeeperProcess,
    connect_daemon: Callable[..., Daemon],
    caplog: pytest.LogCaptureFixture,
) -> None:
    connect_daemon(keeper).close()
    link = KeeperLink(run_dir, run_dir / "daemon.sock", run_dir / "log")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listener, _ = await link.connect()
            listener.close()
            await nursery.start(link.run)
            # It ends before it reads the last message; the kernel calls that a reset of the connection.
            os.kill(keeper.pid, signal.SIGSTOP)
            link.post("note", sid=0, key="last", data="x")
            link.stop_keeper()
            os.kill(keeper.pid, signal.SIGCONT)
    link.close()
    assert "broken" not in caplog.text
