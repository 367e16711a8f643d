"""The two limits: input is refused whole, output is delayed, and neither loses or grants too much."""

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from ptybridge.core.ratelimit import OutputDelay, TokenBucket
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring


@settings(max_examples=200)
@given(
    rate=st.integers(1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 20_000)), max_size=30),
)
def test_no_more_is_granted_than_the_rate_allows(rate: int, steps: list[tuple[float, int]]) -> None:
    async def run() -> None:  # noqa: ASYNC124 - trio.run wants it
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        bucket = TokenBucket(rate)
        granted, largest, start = 0, 0, trio.current_time()
        for pause, amount in steps:
            clock.jump(pause)
            wait = bucket.take(amount)
            if wait == 0:
                granted += amount
                largest = max(largest, amount)
            else:
                # What the answer says holds: after that long it succeeds.
                clock.jump(wait + 0.001)
                assert bucket.take(amount) == 0
                granted += amount
                largest = max(largest, amount)
        elapsed = trio.current_time() - start
        assert granted <= rate * (elapsed + 1) + largest + 1

    trio.run(run, clock=MockClock())


async def test_delayed_output_is_all_there_in_the_end(autojump_clock: MockClock) -> None:
    log = Transcript(Ring.anonymous(1 << 16))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(OutputDelay(log, 1000).run)
        await trio.testing.wait_all_tasks_blocked()
        start, written = trio.current_time(), 0
        while written < 10_000:
            room = log.ring.reserve(10_000 - written, log.floor())
            if not room:
                await log.wait_room()
                continue
            log.append(b"x" * room)
            written += room
        # The first second's worth is there at once.
        assert 8.5 <= trio.current_time() - start <= 9.5
        nursery.cancel_scope.cancel()
    assert log.floor() is None
