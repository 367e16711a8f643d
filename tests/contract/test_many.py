"""P13 and R13: many sessions at once, and many one after the other."""

import time

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import PATIENCE_MS, exited, output, start, until

from ptybridge import config
from ptybridge.api import session, terminal
from ptybridge.core import procinfo
from ptybridge.daemon import Daemon
from ptybridge.testing.running import nothing_more_is_held, what_is_held

# Most of a short session's life is waiting, so many at once take hardly longer than one.
WORKERS = 20


@pytest.fixture
def settings() -> config.Daemon:
    return config.Daemon(stop_timeout_ms=20_000)


@pytest.fixture
def local(daemon: Daemon) -> LocalClient:
    """The number of sessions is the point here, not the way to them."""
    return LocalClient(daemon)


async def many_sessions(local: LocalClient, count: int, busy: int) -> None:
    """All are listed, and nothing of what the busy ones print is lost."""
    made: list[str] = []
    lines = 1000

    # All at once, each would wait for all; every call has its time.
    starting = trio.CapacityLimiter(WORKERS)

    async def create(number: int) -> None:
        async with starting:
            if number < busy:
                text = f"i=0; while [ $i -lt {lines} ]; do echo {number}-$i; i=$((i+1)); done"
                made.append(await start(local, "sh", "-c", text, name=f"busy{number}"))
            else:
                made.append(await start(local, "cat", name=f"idle{number}", max_output_bytes=65536))

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(create, number)
    listed = (await local.call(session.LIST)).sessions
    assert sorted(one.session_id for one in listed) == sorted(made)
    names = {one.name or "": one.session_id for one in listed}
    assert len(names) == count
    for number in range(busy, count):
        await local.call(terminal.WRITE, session_id=names[f"idle{number}"], data=f"hello {number}\n")
    for number in range(busy, count):
        await until(local, names[f"idle{number}"], f"hello {number}\r\nhello {number}\r\n")
    for number in range(busy):
        text = await output(local, names[f"busy{number}"])
        assert text.split() == [f"{number}-{i}" for i in range(lines)]
    running = (await local.call(session.LIST, state="running")).sessions
    assert len(running) == count - busy
    closed = await local.call(session.CLOSE_ALL, grace_ms=5000)
    assert len(closed.closed) == count
    assert all(not one.survivors for one in closed.closed)
    assert (await local.call(session.LIST)).sessions == []


@pytest.mark.timeout(600)
async def test_p13_500_sessions_50_of_them_busy(local: LocalClient) -> None:
    await many_sessions(local, 500, 50)


@pytest.mark.soak
async def test_p13_1000_sessions_100_of_them_busy(local: LocalClient) -> None:
    await many_sessions(local, 1000, 100)


async def many_spawns(local: LocalClient, count: int) -> None:
    """Neither a descriptor nor a zombie is left, whatever the backend."""

    async def several(share: int, backend: str) -> None:
        for turn in range(share):
            session_id = await start(local, "printf", "%s", str(turn), backend=backend)
            assert (await exited(local, session_id)).exit_code == 0
            read = await local.call(terminal.READ, session_id=session_id, timeout_ms=PATIENCE_MS)
            assert read.data == str(turn)
            await local.call(session.CLOSE, session_id=session_id)

    await several(2, "pty")
    await several(2, "pipes")
    before = what_is_held()
    async with trio.open_nursery() as nursery:
        for worker in range(WORKERS):
            nursery.start_soon(several, count // WORKERS, ("pty", "pipes")[worker % 2])
    assert nothing_more_is_held(before)


@pytest.mark.timeout(600)
async def test_r13_500_spawns_leave_nothing(local: LocalClient) -> None:
    await many_spawns(local, 500)


@pytest.mark.soak
async def test_r13_100000_spawns_leave_nothing(local: LocalClient) -> None:
    await many_spawns(local, 100_000)


async def test_r17_starting_one_session_holds_up_no_other(local: LocalClient) -> None:
    """Sessions are started while others are written to and listed: no lock is held over a start."""
    echo = await start(local, "cat")
    done = trio.Event()

    async def spawn() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(start, local, "sh", "-c", "exit 0")
        done.set()

    turns = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spawn)
        while not done.is_set() or turns < 5:
            turns += 1
            await local.call(terminal.WRITE, session_id=echo, data=f"{turns}.\n")
            await until(local, echo, f"{turns}.\r\n{turns}.\r\n")
            await local.call(session.LIST)
    assert len((await local.call(session.LIST)).sessions) == 31


async def test_sessions_that_are_closed_together_share_the_looks_at_all_processes(
    local: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a look takes, which on a large or busy machine is long; looking for each would stop all else."""
    count, looks = 40, 0
    for _ in range(count):
        await start(local, "cat")
    processes = procinfo.processes

    def slowly() -> list[procinfo.ProcessStat]:
        nonlocal looks
        looks += 1
        time.sleep(0.05)
        return processes()

    monkeypatch.setattr(procinfo, "processes", slowly)
    closed = await local.call(session.CLOSE_ALL)
    assert [one.survivors for one in closed.closed] == [[]] * count
    assert looks < count


async def test_r18_the_end_of_input_and_output_does_not_spin(local: LocalClient) -> None:
    """A program that closed its terminal, an exited session with waiters: nothing may burn the processor."""
    quiet = await start(local, "sh", "-c", "exec </dev/null >/dev/null 2>&1; exec sleep 1000")
    gone = await start(local, "sh", "-c", "exec 0<&-; exec sleep 1000", backend="pipes")
    done = await start(local, "sh", "-c", "trap '' HUP; sleep 1000 & exit 3", linger_ms=0)
    await exited(local, done)
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    with trio.move_on_after(1.0):
        async with trio.open_nursery() as nursery:
            for one in (quiet, gone, done):
                nursery.start_soon(until, local, one, "never")
    trio.lowlevel.remove_instrument(steps)
    # A spinning task makes thousands, even on a busy machine.
    assert steps.count < 1000
    for one in (quiet, gone, done):
        await local.call(session.CLOSE, session_id=one, grace_ms=50)


class _Steps(trio.abc.Instrument):
    """Counts how often any task goes on."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1
