import time

import pytest
import trio
from trio.testing import MockClock

from ptybridge.backends.pace import ALONE, ECHO_SECONDS, RECENT_SECONDS, REST_SECONDS, SHARED, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_session_alone_reads_long_batches(clock: list[float]) -> None:
    pace = Pace()
    assert pace.batch("flood") == ALONE
    for _ in range(3):
        pace.note("flood")
        assert pace.batch("flood") == ALONE


def test_another_active_session_shortens_the_batch_for_a_while(clock: list[float]) -> None:
    pace = Pace()
    pace.note("flood")
    pace.note("talker")
    pace.note("flood")
    assert pace.batch("flood") == SHARED
    assert pace.batch("talker") == SHARED
    clock[0] += RECENT_SECONDS / 2
    pace.note("flood")
    assert pace.batch("flood") == SHARED
    clock[0] += RECENT_SECONDS / 2
    pace.note("flood")
    assert pace.batch("flood") == ALONE
    assert pace.batch("talker") == SHARED


def test_a_session_that_has_not_been_seen_yet_shares(clock: list[float]) -> None:
    pace = Pace()
    pace.note("flood")
    assert pace.batch("new") == SHARED
    pace.forget("flood")
    assert pace.batch("flood") == SHARED


async def rests(pace: Pace, session: str) -> float:
    before = trio.current_time()
    await pace.turn(session)
    return trio.current_time() - before


async def test_a_flood_rests_while_somebody_types_into_another_session(
    clock: list[float], autojump_clock: MockClock
) -> None:
    pace = Pace()
    pace.note("flood")
    pace.note("talker")
    assert await rests(pace, "flood") == 0
    pace.note_input("typing")
    pace.note("flood")
    assert pace.batch("flood") == ALONE
    assert await rests(pace, "flood") == pytest.approx(REST_SECONDS)
    assert await rests(pace, "typing") == 0
    clock[0] += 2 * ECHO_SECONDS
    assert pace.batch("flood") == SHARED
    assert await rests(pace, "flood") == 0


async def test_what_is_typed_into_the_flood_itself_lets_it_flow(clock: list[float], autojump_clock: MockClock) -> None:
    pace = Pace()
    pace.note_input("flood")
    assert await rests(pace, "flood") == 0
    pace.forget("flood")
    pace.note_input("flood")
    assert await rests(pace, "other") == pytest.approx(REST_SECONDS)
