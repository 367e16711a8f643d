"""The screen follows the transcript exactly, in floods and through changes of size."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core.follower import ScreenFollower
from ptybridge.core.screen import Screen
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring
from ptybridge.model import WindowSize

CAPACITY = 1 << 16
pieces = st.sampled_from(
    [b"text ", b"\r\n", b"\x1b[31m", b"\x1b[0m", b"\x1b[5;5H", b"\x1b[K", b"\x1b[2J", "wide 你好 ".encode(),
     b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b7", b"\x1b8", b"\x1b[3L", b"\x1b[2;8r", b"\x1bM", b"\t"]
)  # fmt: skip
steps = st.one_of(
    st.lists(pieces, max_size=30).map(b"".join),
    st.tuples(pieces, st.integers(0, 3000)).map(lambda two: two[0] * two[1]),
    st.builds(WindowSize, st.integers(1, 40), st.integers(1, 90)),
)


@settings(max_examples=60)
@given(plan=st.lists(steps, max_size=10), pauses=st.lists(st.booleans(), max_size=10))
async def test_r08_the_screen_is_that_of_the_bytes_before_its_offset(
    plan: list[bytes | WindowSize], pauses: list[bool]
) -> None:
    """However far the parser lags, a change of size takes effect at its place in the output."""
    size = WindowSize(24, 80)
    expected = Screen(size, scrollback_lines=1000)
    log = Transcript(Ring.anonymous(CAPACITY))
    follower = ScreenFollower(log, Screen(size, scrollback_lines=1000), trio.CapacityLimiter(2))
    log.add_floor(follower.floor)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.run)
        for number, step in enumerate(plan):
            if isinstance(step, WindowSize):
                follower.resize(step)
                expected.resize(step)
            else:
                expected.feed(step)
                rest = step
                while rest:
                    room = log.ring.reserve(len(rest), log.floor())
                    if not room:
                        await log.wait_room()
                        continue
                    log.append(rest[:room])
                    rest = rest[room:]
            if number < len(pauses) and pauses[number]:
                await follower.catch_up()
        await follower.catch_up()
        screen = follower.screen
        assert screen.offset == log.end
        assert screen.size == expected.size
        assert screen.lines("text") == expected.lines("text")
        assert screen.cursor == expected.cursor
        assert screen.alternate == expected.alternate
        nursery.cancel_scope.cancel()


async def test_the_writer_waits_for_the_parser_and_nothing_is_skipped() -> None:
    log = Transcript(Ring.anonymous(CAPACITY))
    follower = ScreenFollower(log, Screen(WindowSize(5, 20), scrollback_lines=10), trio.CapacityLimiter(1))
    log.add_floor(follower.floor)
    assert log.ring.reserve(CAPACITY, log.floor()) == CAPACITY
    log.append(b"x" * CAPACITY)
    assert log.ring.reserve(1, log.floor()) == 0
    await follower.catch_up()
    assert log.ring.reserve(1, log.floor()) == 1


async def test_it_ends_with_the_transcript() -> None:
    log = Transcript(Ring.anonymous(CAPACITY))
    follower = ScreenFollower(log, Screen(WindowSize(5, 20), scrollback_lines=10), trio.CapacityLimiter(1))
    log.append(b"the end")
    log.close()
    with trio.fail_after(60):
        await follower.run()
    assert follower.screen.lines("text")[0] == "the end"
