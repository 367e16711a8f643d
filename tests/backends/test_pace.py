import time

import pytest

from ptybridge.backends.pace import ALONE, RECENT_SECONDS, SHARED, Pace


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
    pace.note("typing")
    pace.note("flood")
    assert pace.batch("flood") == SHARED
    assert pace.batch("typing") == SHARED
    clock[0] += RECENT_SECONDS / 2
    pace.note("flood")
    assert pace.batch("flood") == SHARED
    clock[0] += RECENT_SECONDS / 2
    pace.note("flood")
    assert pace.batch("flood") == ALONE
    assert pace.batch("typing") == SHARED


def test_a_session_that_has_not_been_seen_yet_shares(clock: list[float]) -> None:
    pace = Pace()
    pace.note("flood")
    assert pace.batch("new") == SHARED
    pace.forget("flood")
    assert pace.batch("flood") == SHARED
