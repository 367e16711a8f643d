"""Events: numbered without holes, kept up to a number, resumable behind any of them."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core.eventlog import EventLog
from ptybridge.model import Bell, Gap, Title


@settings(max_examples=200)
@given(kept=st.integers(1, 20), first=st.integers(1, 5), count=st.integers(0, 60), after=st.integers(0, 80))
async def test_a_follower_gets_every_event_or_is_told_how_many_are_gone(  # noqa: ASYNC124 - it needs trio's clock
    kept: int, first: int, count: int, after: int
) -> None:
    log = EventLog(kept, first)
    for number in range(count):
        log.publish(Title, "s", title=str(number))
    numbers = range(first, first + count)
    assert log.newest == first + count - 1
    events = log.after(after)
    kept_numbers = list(numbers[-kept:])
    oldest = kept_numbers[0] if kept_numbers else first
    if first + count - 1 > after and after < oldest - 1:
        gap = events.pop(0)
        assert isinstance(gap, Gap)
        assert gap.number == oldest - 1
        # Numbers below `first` were an earlier daemon's, or nobody's; how many events that were is not known.
        assert gap.missed == oldest - max(after + 1, first)
    assert [one.number for one in events] == [number for number in numbers[-kept:] if number > after]
    assert not any(isinstance(one, Gap) for one in events)


async def test_followers_wait_for_what_is_new() -> None:
    log = EventLog()
    seen: list[int] = []

    async def follow() -> None:
        number = 0
        while number < 3:
            await log.wait_past(number)
            for event in log.after(number):
                number = event.number
                seen.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        log.publish(Bell, "s")
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [1]
        log.publish(Bell, "s")
        log.publish(Bell, "s")
    assert seen == [1, 2, 3]
    with trio.testing.assert_checkpoints():
        await log.wait_past(0)


async def test_an_empty_log_has_nothing_behind_any_number() -> None:  # noqa: ASYNC124 - it needs trio's clock
    log = EventLog()
    assert (log.newest, log.after(0), log.after(7)) == (0, [], [])
