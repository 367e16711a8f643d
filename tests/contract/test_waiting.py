"""`session.read_until`, `session.wait` and `session.prompt`: every wait ends with its reason and misses nothing."""

import pytest
import trio
import trio.lowlevel
from msgspec.structs import replace
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, exited, is_waited_on, raw_cat, script, shell, start, until

from ptybridge.api import session, terminal
from ptybridge.daemon import Daemon
from ptybridge.errors import InvalidParams
from ptybridge.service.terminal import DEFAULT_UNTIL

FLOOD = "stty raw -echo; echo up; read x; seq 1 300000; echo over; exec sleep 1000"


# -- read_until ----------------------------------------------------------------------------------------------


async def test_what_follows_the_match_is_not_consumed(client: Client) -> None:
    session_id = await script(client, "printf 'one two three'; read x")
    await until(client, session_id, "three", offset=0)
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="two")
    assert (found.reason, found.pattern, found.match) == ("matched", "two", "two")
    assert (found.data, found.offset, found.next_offset, found.missed_bytes) == ("one two", 0, 7, 0)
    rest = await client.call(terminal.READ, session_id=session_id)
    assert rest.data == " three"


async def test_the_earliest_of_several_patterns_wins(client: Client) -> None:
    session_id = await script(client, "printf 'aXbYc'")
    await exited(client, session_id)
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern=["Y", "X", "Q"])
    assert (found.pattern, found.data) == ("X", "aX")
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern=["Y", "X"])
    assert (found.pattern, found.data) == ("Y", "bY")


async def test_expressions_are_linear_and_bad_ones_refused(client: Client) -> None:
    session_id = await script(client, "printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! 42\\n'")
    await exited(client, session_id)
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern=r"\d+", regex=True, offset=0)
    assert found.match == "42"
    # Exponential for a backtracking engine.
    evil = await client.call(
        terminal.READ_UNTIL, session_id=session_id, pattern="(a+)+$", regex=True, offset=0, timeout_ms=PATIENCE_MS
    )
    assert evil.reason == "exited"
    for bad in ["(", "(?=x)", r"(a)\1"]:
        with pytest.raises(InvalidParams):
            await client.call(terminal.READ_UNTIL, session_id=session_id, pattern=bad, regex=True)
    with pytest.raises(InvalidParams):
        await client.call(terminal.READ_UNTIL, session_id=session_id, pattern=[])


async def test_plain_matches_without_escape_sequences(client: Client) -> None:
    session_id = await script(client, r"printf 'one \033[1;31mred\033[0m words\n'; read x")
    raw = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="one red", timeout_ms=50)
    assert raw.reason == "timeout"
    found = await client.call(
        terminal.READ_UNTIL, session_id=session_id, pattern="red words", plain=True, timeout_ms=PATIENCE_MS
    )
    assert (found.reason, found.data) == ("matched", "one red words")


async def test_a_time_out_consumes_nothing(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.WRITE, session_id=session_id, data="half")
    missed = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="halfway", timeout_ms=100)
    assert (missed.reason, missed.match, missed.pattern) == ("timeout", None, None)
    await client.call(terminal.WRITE, session_id=session_id, data="way")
    assert (await until(client, session_id, "halfway")).data == "halfway"


async def test_an_exit_ends_the_wait_with_everything_printed(client: Client) -> None:
    session_id = await script(client, "printf 'never it'; exit 3")
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="nothing", timeout_ms=PATIENCE_MS)
    assert (found.reason, found.data, found.next_offset) == ("exited", "never it", 8)


async def test_r01_a_match_in_the_last_bytes_is_found(client: Client) -> None:
    for turn in range(20):
        session_id = await script(client, f"printf '%0{turn * 400}d' 0; printf DONE")
        found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="DONE", timeout_ms=PATIENCE_MS)
        assert found.reason == "matched"
        assert found.next_offset == max(1, turn * 400) + 4


async def test_a_gap_that_is_already_there_is_skipped_and_counted(client: Client) -> None:
    session_id = await script(client, "seq 1 50000; echo over", max_output_bytes=65536)
    done = await exited(client, session_id)
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="over", offset=10)
    assert (found.reason, found.offset, found.missed_bytes) == ("matched", done.start_offset, done.start_offset - 10)


async def test_a_gap_that_opens_during_the_wait_ends_it(connect: Connect) -> None:
    """A waiter that the flood has overtaken cannot know whether the pattern went by."""
    client, other = await connect(), await connect()
    session_id = await script(client, FLOOD, max_output_bytes=65536)
    await until(client, session_id, "up\n")
    results: list[terminal.ReadUntilResult] = []

    async def wait() -> None:
        results.append(await until_any(client, session_id, "no such thing"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await other.call(terminal.WRITE, session_id=session_id, data="\n")
        await other.call(terminal.WAIT, session_id=session_id, until=[{"screen": "over"}], timeout_ms=PATIENCE_MS)
        await other.call(session.CLOSE, session_id=session_id, grace_ms=0)
    (ended,) = results
    # On a fast enough machine the waiter keeps up, and then there is no gap.
    assert ended.reason in {"gap", "exited"}
    if ended.reason == "gap":
        assert ended.missed_bytes > 0
        assert ended.data == ""
        assert ended.next_offset == ended.offset


async def until_any(client: Client, session_id: str, text: str) -> terminal.ReadUntilResult:
    return await client.call(terminal.READ_UNTIL, session_id=session_id, pattern=text, timeout_ms=PATIENCE_MS)


async def test_a_character_half_printed_at_the_time_out_is_kept_whole(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.WRITE, session_id=session_id, data="YeKC", encoding="base64")  # "a" and 2/3 of "€"
    await until(client, session_id, "a", offset=0)
    with trio.fail_after(PATIENCE_MS / 1000):
        while True:
            if (await client.call(session.GET, session_id=session_id)).end_offset >= 6:
                break
    timed_out = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="zz", offset=3, timeout_ms=1)
    assert (timed_out.reason, timed_out.data, timed_out.next_offset) == ("timeout", "a", 4)


# -- wait ----------------------------------------------------------------------------------------------------


async def test_each_condition_says_that_it_held(client: Client) -> None:
    session_id = await script(client, r"printf 'find \033[5;7Hme'; read x; exit 4")
    waited = await client.call(
        terminal.WAIT,
        session_id=session_id,
        until=[{"exit": True}, {"pattern": "m."}, {"pattern": "m.", "regex": True}],
        timeout_ms=PATIENCE_MS,
    )
    assert (waited.reason, waited.match) == ("matched", "me")
    assert waited.condition == terminal.Condition(pattern="m.", regex=True)
    assert waited.exit_code is None
    waited = await client.call(
        terminal.WAIT, session_id=session_id, until=[{"screen": "      me"}], timeout_ms=PATIENCE_MS
    )
    assert (waited.reason, waited.condition) == ("screen", terminal.Condition(screen="      me"))
    waited = await client.call(terminal.WAIT, session_id=session_id, until=[{"idle_ms": 30}], timeout_ms=PATIENCE_MS)
    assert (waited.reason, waited.condition) == ("idle", terminal.Condition(idle_ms=30))
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    waited = await client.call(terminal.WAIT, session_id=session_id, until=[{"exit": True}], timeout_ms=PATIENCE_MS)
    assert (waited.reason, waited.exit_code, waited.exit_signal) == ("exited", 4, None)


async def test_a_wait_that_cannot_hold_any_more_ends_with_the_exit(client: Client) -> None:
    session_id = await script(client, "exit 6")
    waited = await client.call(
        terminal.WAIT, session_id=session_id, until=[{"pattern": "never"}], timeout_ms=PATIENCE_MS
    )
    assert (waited.reason, waited.condition, waited.exit_code) == ("exited", None, 6)


async def test_a_wait_times_out_with_its_reason(client: Client) -> None:
    session_id = await start(client, "cat")
    for conditions in [[{"exit": True}], [{"pattern": "x"}], [{"screen": "x"}], [{"idle_ms": 60_000}]]:
        waited = await client.call(terminal.WAIT, session_id=session_id, until=conditions, timeout_ms=10)
        assert (waited.reason, waited.condition, waited.match) == ("timeout", None, None)


@pytest.mark.parametrize(
    "until_",
    [
        [],
        [{}],
        [{"exit": False}],
        [{"exit": True, "pattern": "x"}],
        [{"idle_ms": 5, "screen": "x"}],
        [{"exit": True, "regex": True}],
        [{"idle_ms": -1}],
        [{"nonsense": 1}],
        [{"exit": True}] * 17,
    ],
)
async def test_a_condition_needs_exactly_one_thing(client: Client, until_: list[object]) -> None:
    session_id = await start(client, "cat")
    with pytest.raises(InvalidParams):
        await client.call_raw("session.wait", {"session_id": session_id, "until": until_, "timeout_ms": 1})


async def test_write_then_wait_cannot_miss_the_answer(client: Client) -> None:
    """Patterns are looked for from the caller's position, which is not moved past what did not match."""
    session_id = await raw_cat(client)
    await client.call(terminal.WRITE, session_id=session_id, data="one two three")
    await until(client, session_id, "three", client_id="somebody else", offset=0)
    for word, offset in [("one", 6), ("two", 10), ("three", 16)]:
        waited = await client.call(
            terminal.WAIT, session_id=session_id, until=[{"pattern": word}], timeout_ms=PATIENCE_MS
        )
        assert (waited.reason, waited.offset) == ("matched", offset)
    waited = await client.call(terminal.WAIT, session_id=session_id, until=[{"pattern": "one"}], timeout_ms=10)
    assert waited.reason == "timeout"


async def test_a_wait_for_the_exit_is_not_disturbed_by_a_flood(client: Client) -> None:
    session_id = await script(client, "seq 1 400000; exit 5", max_output_bytes=65536)
    waited = await client.call(
        terminal.WAIT, session_id=session_id, until=[{"exit": True}, {"idle_ms": 60_000}], timeout_ms=PATIENCE_MS
    )
    assert (waited.reason, waited.exit_code) == ("exited", 5)


async def test_a_wait_in_flight_ends_when_the_session_is_closed(connect: Connect, daemon: Daemon) -> None:
    client, other = await connect(), await connect()
    session_id = await start(client, "cat")
    reasons: list[str] = []

    async def wait() -> None:
        waited = await client.call(
            terminal.WAIT, session_id=session_id, until=[{"pattern": "never"}], timeout_ms=PATIENCE_MS
        )
        reasons.append(waited.reason)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await is_waited_on(daemon, session_id)
        await other.call(session.CLOSE, session_id=session_id)
    assert reasons == ["exited"]


async def test_r21_idle_counts_from_the_later_of_output_and_call(connect: Connect) -> None:
    client, other = await connect(), await connect()
    session_id = await raw_cat(client)
    written: list[float] = []

    async def write() -> None:
        for _ in range(6):
            written.append(trio.current_time())
            await other.call(terminal.WRITE, session_id=session_id, data="x")
            await trio.sleep(0.15)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        waited = await client.call(
            terminal.WAIT, session_id=session_id, until=[{"idle_ms": 500}], timeout_ms=PATIENCE_MS
        )
        ended = trio.current_time()
    assert waited.reason == "idle"
    # Of what was printed by then, the last byte is at least so old. On a busy machine that may be the first.
    printed = waited.offset - len("up\n")
    assert printed == 0 or ended - written[printed - 1] >= 0.5
    # It has been silent for long; a new call starts to count anew.
    before = trio.current_time()
    await client.call(terminal.WAIT, session_id=session_id, until=[{"idle_ms": 100}], timeout_ms=PATIENCE_MS)
    assert trio.current_time() - before >= 0.1


# -- prompt --------------------------------------------------------------------------------------------------


async def test_a_prompt_writes_and_returns_what_came(client: Client) -> None:
    session_id = await shell(client)
    answer = await client.call(
        terminal.PROMPT, session_id=session_id, data="echo $((6*7))", until=[{"pattern": "ready> "}]
    )
    assert answer.reason == "matched"
    assert "42\r\n" in answer.data
    assert answer.data.endswith("ready> ")
    assert answer.offset - answer.start_offset == len(answer.data.encode())
    # The position is behind what was returned.
    assert (await client.call(terminal.READ, session_id=session_id)).data == ""


async def test_a_prompt_without_conditions_waits_for_silence_or_exit(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await shell(client)
    answer = await client.call(terminal.PROMPT, session_id=session_id, data="echo hi", timeout_ms=PATIENCE_MS)
    assert (answer.reason, answer.condition) == ("idle", terminal.Condition(idle_ms=300))
    # So that the shell need not be quicker than that.
    silence, exit = DEFAULT_UNTIL
    monkeypatch.setattr("ptybridge.service.terminal.DEFAULT_UNTIL", [replace(silence, idle_ms=PATIENCE_MS), exit])
    answer = await client.call(terminal.PROMPT, session_id=session_id, data="exit 3", timeout_ms=PATIENCE_MS)
    assert (answer.reason, answer.exit_code) == ("exited", 3)


async def test_a_prompt_over_pipes_ends_lines_as_pipes_do(client: Client) -> None:
    session_id = await start(client, "cat", backend="pipes")
    answer = await client.call(
        terminal.PROMPT, session_id=session_id, data="x", until=[{"pattern": "\n"}], timeout_ms=PATIENCE_MS
    )
    assert answer.data == "x\n"


async def test_a_prompt_without_enter_presses_none(client: Client) -> None:
    session_id = await raw_cat(client)
    answer = await client.call(
        terminal.PROMPT, session_id=session_id, data="x", enter=False, until=[{"pattern": "x"}], timeout_ms=PATIENCE_MS
    )
    assert answer.data == "x"
    await client.call(terminal.WRITE, session_id=session_id, data="y")
    assert (await until(client, session_id, "y")).data == "y"


async def test_a_prompts_answer_is_cut_at_a_character(client: Client) -> None:
    session_id = await raw_cat(client)
    answer = await client.call(
        terminal.PROMPT,
        session_id=session_id,
        data="€" * 10 + ".",
        enter=False,
        until=[{"pattern": "."}],
        timeout_ms=PATIENCE_MS,
        max_bytes=12,
    )
    assert answer.data == "€€€."
    assert answer.offset - answer.start_offset == 10


async def test_r22_an_exited_session_keeps_its_output_and_status(client: Client) -> None:
    session_id = await script(client, "echo last words; exit 8")
    await exited(client, session_id)
    for _ in range(2):
        assert (await client.call(terminal.READ, session_id=session_id, offset=0)).data == "last words\r\n"
        info = await client.call(session.GET, session_id=session_id)
        assert (info.state, info.exit_code) == ("exited", 8)
    screen = await client.call(terminal.SCREEN, session_id=session_id)
    assert screen.lines[0] == "last words"
    assert (await until(client, session_id, "words", offset=0)).next_offset == 10
