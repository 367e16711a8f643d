import pytest
import trio
import trio.testing

from ptybridge.core.child import Child
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed
from ptybridge.keeper.ring import Ring, Segments
from ptybridge.model import ExitStatus
from ptybridge.testing.contract import ChildContract
from ptybridge.testing.fake_child import FakeChild


class TestFakeChild(ChildContract):
    async def printer(self, data: bytes, code: int, *, capacity: int = 1 << 21) -> tuple[Child, Transcript]:
        await trio.lowlevel.checkpoint()
        child = FakeChild()
        child.print(data)
        child.exit(code)
        return child, Transcript(Ring.anonymous(capacity))

    async def copier(self) -> tuple[Child, Transcript]:
        await trio.lowlevel.checkpoint()
        return FakeChild(copies_input=True), Transcript(Ring.anonymous(1 << 16))


async def test_output_may_come_after_the_exit(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    child, log = FakeChild(), Transcript(Ring.anonymous(1 << 16))
    nursery.start_soon(child.pump, log)
    child.exit(0, close_output=False)
    assert await child.wait() == ExitStatus(code=0)
    await trio.sleep(1)
    child.print(b"late")
    child.close_output()
    await trio.testing.wait_all_tasks_blocked()
    assert log.read(0, 100) == (0, b"late")


async def test_input_waits_until_the_program_reads(nursery: trio.Nursery) -> None:
    child = FakeChild()
    child.limit_room(3)
    assert child.send_nowait(b"abcdef") == 3
    assert child.send_nowait(b"def") == 0
    sent = []

    async def send() -> None:
        sent.append(await child.send_some(memoryview(b"def")))

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    assert sent == []
    child.make_room(2)
    await trio.testing.wait_all_tasks_blocked()
    assert sent == [2]
    assert child.received == b"abcde"


async def test_input_that_waits_is_refused_at_the_end(nursery: trio.Nursery) -> None:
    child = FakeChild()
    child.limit_room(0)
    refused = trio.Event()

    async def send() -> None:
        with pytest.raises(InputClosed):
            await child.send_some(memoryview(b"x"))
        refused.set()

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    child.exit(1)
    await refused.wait()


async def test_streams_are_recorded_and_ignored_signals_survived() -> None:
    child = FakeChild(backend="pipes")
    log = Transcript(Ring.anonymous(1 << 16), Segments.anonymous(100))
    child.ignores.add(15)
    child.signal(15, whole_session=False)
    assert child.survivors() == [child.pid]
    child.print(b"out", 0)
    child.print(b"err", 1)
    child.signal(9, whole_session=True)
    await child.pump(log)
    assert log.segments is not None
    assert log.segments.read_stream(log.ring, 1, 0, 10)[:2] == (0, b"err")
    assert child.signals == [(15, False), (9, True)]
    assert await child.wait() == ExitStatus(signal="SIGKILL")
