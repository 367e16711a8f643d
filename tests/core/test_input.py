"""The input queue: all or nothing, in order, whatever the program reads and whoever is cancelled."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from ptybridge.core.child import LineMode
from ptybridge.core.input import CANONICAL_LINE_BYTES, RAW_MODE_SECONDS, InputQueue
from ptybridge.errors import InputClosed, InputFull, LineTooLong, RateLimited, SessionExited
from ptybridge.testing.fake_child import FakeChild

RAW = LineMode(canonical=False, echo=False)
MAX_BYTES = 10_000


def queue_of(child: FakeChild, mode: LineMode = RAW) -> InputQueue:
    child.mode = mode
    return InputQueue(child, lambda: MAX_BYTES)


steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 6000)),
    st.tuples(st.just("read"), st.integers(1, 8000)),
    st.tuples(st.just("restart"), st.just(0)),
    st.tuples(st.just("settle"), st.just(0)),
)


@settings(max_examples=120)
@given(plan=st.lists(steps, max_size=25))
async def test_r29_what_is_accepted_arrives_once_and_in_order(plan: list[tuple[str, int]]) -> None:
    """With the feeder cancelled in the middle of writes and begun anew, as on a hand-over."""
    child = FakeChild()
    child.limit_room(0)
    queue = queue_of(child)
    accepted = b""
    async with trio.open_nursery() as nursery:
        feeder = trio.CancelScope()

        async def feed(scope: trio.CancelScope) -> None:
            with scope:
                await queue.run()

        nursery.start_soon(feed, feeder)
        for number, (name, size) in enumerate(plan):
            if name == "write":
                data = b"%05d" % number * (size // 5 + 1)
                await trio.testing.wait_all_tasks_blocked()  # the feeder may know less than the child has read
                waiting = len(accepted) - len(child.received)
                if waiting + len(data) > MAX_BYTES:
                    with pytest.raises(InputFull) as caught:
                        await queue.write(data)
                    assert caught.value.data["queued_bytes"] == waiting
                else:
                    assert await queue.write(data) == len(data)
                    accepted += data
            elif name == "read":
                child.make_room(size)
            elif name == "restart":
                feeder.cancel()
                await trio.testing.wait_all_tasks_blocked()
                feeder = trio.CancelScope()
                nursery.start_soon(feed, feeder)
            else:
                await trio.testing.wait_all_tasks_blocked()
            assert accepted.startswith(bytes(child.received))
        child.make_room()
        await trio.testing.wait_all_tasks_blocked()
        assert child.received == accepted
        assert queue.accepted_bytes == len(accepted)
        nursery.cancel_scope.cancel()


@settings(max_examples=60)
@given(plan=st.lists(st.tuples(st.sampled_from(["short", "long", "made", "lines"]), st.booleans()), max_size=12))
def test_requests_queue_in_the_order_in_which_they_were_made(plan: list[tuple[str, bool]]) -> None:
    """Long lines wait for raw mode, keys for the modes; what comes after them waits behind them."""

    async def run() -> None:
        child = FakeChild()
        queue = queue_of(child, LineMode(canonical=True, echo=True))
        expected = b""
        async with trio.open_nursery() as nursery:
            for number, (kind, pause) in enumerate(plan):
                data = b"%03d." % number * {"short": 1, "made": 1, "long": 2000, "lines": 1}[kind]
                if kind == "lines":
                    data = b"\n" + data * 500 + b"\n"
                expected += data
                if kind == "made":

                    async def make(made: bytes = data) -> bytes:
                        await trio.sleep(0.05)
                        return made

                    nursery.start_soon(queue.write_made, make)
                elif queue.write_nowait(data) is None if pause and kind == "short" else True:
                    nursery.start_soon(queue.write, data)
                await trio.testing.wait_all_tasks_blocked()
            child.mode = RAW
        assert child.received == expected

    async def with_capacity() -> None:
        await run()

    trio.run(with_capacity, clock=MockClock(autojump_threshold=0))


async def test_a_writer_is_refused_what_its_child_would_cut(autojump_clock: MockClock) -> None:
    """R04: only the newline ends a line, however it was typed; and what was refused leaves no trace."""
    child = FakeChild()
    queue = queue_of(child, LineMode(canonical=True, echo=True))
    await queue.write(b"x" * CANONICAL_LINE_BYTES)
    start = trio.current_time()
    with pytest.raises(LineTooLong):
        await queue.write(b"y")
    assert trio.current_time() - start == pytest.approx(RAW_MODE_SECONDS, abs=0.05)
    await queue.write(b"\r" + b"z" * CANONICAL_LINE_BYTES + b"\n")
    assert queue.write_nowait(b"w" * (CANONICAL_LINE_BYTES + 1)) is None
    assert b"y" not in child.received
    assert b"w" not in child.received


async def test_a_long_line_is_taken_when_raw_mode_comes_in_time(autojump_clock: MockClock) -> None:
    child = FakeChild()
    queue = queue_of(child, LineMode(canonical=True, echo=True))
    data = b"x" * 9000

    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.write, data)
        await trio.sleep(RAW_MODE_SECONDS / 2)
        assert child.received == b""
        child.mode = RAW
    assert child.received == data


async def test_answers_of_the_terminal_wait_for_nobody(autojump_clock: MockClock) -> None:
    child = FakeChild()
    queue = queue_of(child, LineMode(canonical=True, echo=True))
    queue.set_rate(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_refused, queue, b"x" * 9000)
        await trio.testing.wait_all_tasks_blocked()
        queue.answer_nowait(b"\x1b[0n")
        assert child.received == b"\x1b[0n"


async def _refused(queue: InputQueue, data: bytes) -> None:
    with pytest.raises(LineTooLong):
        await queue.write(data)


async def test_closing_while_the_feeder_waits_is_harmless() -> None:
    """The child has exited, but something else holds its terminal and reads on."""
    child = FakeChild()
    child.limit_room(0)
    queue = queue_of(child)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await queue.write(b"x" * 100)
        await trio.testing.wait_all_tasks_blocked()
        queue.close()
        child.make_room(10)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(SessionExited):
            await queue.write(b"late")
        assert queue.closed
    assert child.received == b"x" * 10


async def test_a_child_that_closed_its_input_is_told_from_one_that_exited() -> None:
    child = FakeChild(backend="pipes")
    child.limit_room(0)
    queue = queue_of(child)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await queue.write(b"x" * 100)
        await trio.testing.wait_all_tasks_blocked()
        child.input_closed = True
        child.make_room()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(InputClosed):
            await queue.write(b"late")
        assert not queue.closed
        nursery.cancel_scope.cancel()


async def test_the_end_of_input_comes_after_what_was_queued() -> None:
    child = FakeChild()
    child.limit_room(3)
    queue = queue_of(child)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await queue.write(b"hello", eof=True)
        await trio.testing.wait_all_tasks_blocked()
        assert child.received == b"hel"
        child.make_room()
        await trio.testing.wait_all_tasks_blocked()
        assert child.input_closed
        assert child.received == b"hello"
        nursery.cancel_scope.cancel()


async def test_a_rate_refuses_whole_requests(autojump_clock: MockClock) -> None:
    child = FakeChild()
    queue = queue_of(child)
    queue.set_rate(100)
    await queue.write(b"x" * 100)
    with pytest.raises(RateLimited) as caught:
        await queue.write(b"y" * 50)
    wait = caught.value.data["retry_after_ms"]
    assert isinstance(wait, int)
    await trio.sleep(wait / 1000)
    await queue.write(b"y" * 50)
    assert child.received == b"x" * 100 + b"y" * 50
    queue.set_rate(None)
    await queue.write(b"z" * 5000)


async def test_what_was_erased_makes_room_on_the_line() -> None:
    child = FakeChild()
    queue = queue_of(child, LineMode(canonical=True, echo=True))
    await queue.write(b"x" * CANONICAL_LINE_BYTES)
    assert queue.write_nowait(b"y") is None
    assert queue.write_nowait(b"\x15" + b"y" * CANONICAL_LINE_BYTES) == CANONICAL_LINE_BYTES + 1
    assert queue.write_nowait(b"\x03" + b"z" * CANONICAL_LINE_BYTES) == CANONICAL_LINE_BYTES + 1


@pytest.mark.parametrize("taken_over", [True, False])
async def test_what_waits_is_handed_on_in_order_and_sent_by_one_of_both(taken_over: bool) -> None:
    child = FakeChild()
    child.limit_room(2)
    queue, kept = queue_of(child), list[bytes | None]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        await queue.write(b"one ")
        await trio.testing.wait_all_tasks_blocked()
        await queue.hold(kept.append)
        await queue.write(b"two", eof=True)
        child.make_room()
        await trio.testing.wait_all_tasks_blocked()
        assert (bytes(child.received), kept) == (b"on", [b"e ", b"two", None])
        if taken_over:
            nursery.cancel_scope.cancel()
        else:
            queue.release()
            await trio.testing.wait_all_tasks_blocked()
            assert bytes(child.received) == b"one two"
            nursery.cancel_scope.cancel()
    if taken_over:
        successor = queue_of(child)
        async with trio.open_nursery() as nursery:
            successor.restore(kept)
            successor.on_queued = lambda: nursery.start_soon(successor.run)
            successor.wake()
            await trio.testing.wait_all_tasks_blocked()
            assert bytes(child.received) == b"one two"
            assert successor.accepted_bytes == 0  # counted where it was accepted
            nursery.cancel_scope.cancel()
    assert child.input_closed
