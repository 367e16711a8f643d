"""Reading until a pattern: rows 32-35 and 37 of the reference, and its defects about that."""

import pytest
import trio
import trio.testing
from tests.contract.local_endpoint import LocalClient
from tests.mcp.compat.conftest import PATIENCE_MS, Client, Connect

from ptybridge.api import session as api
from ptybridge.errors import InvalidParams


async def test_row32_reading_until_a_text(client: Client) -> None:
    session = await client.spawn("echo one; echo two; sleep 60")
    found = await client.until(session, "ne")
    assert (found["text"], found["match"], found["reason"], found["stream"]) == ("one", "ne", "matched", "pty")


async def test_row33_reading_until_a_regular_expression(client: Client) -> None:
    session = await client.spawn("echo pid=123 ok; sleep 60")
    found = await client.until(session, r"pid=(\d+)", regex=True)
    assert (found["match"], found["text"]) == ("pid=123", "pid=123")
    assert isinstance(
        await client.refusal("pty_read_until", session_id=session, owner="me", pattern="(", regex=True), InvalidParams
    )


async def test_row34_reading_until_any_says_which(client: Client) -> None:
    session = await client.spawn("echo second; echo first; sleep 60")
    any_of = {"session_id": session, "owner": "me", "patterns": ["first", "second"], "timeout_ms": PATIENCE_MS}
    assert (await client.json("pty_read_until_any", **any_of))["pattern"] == "second"
    assert (await client.json("pty_read_until_any", **any_of))["pattern"] == "first"
    none = await client.json("pty_read_until_any", **(any_of | {"timeout_ms": 1}))
    assert (none["matched"], none["pattern"], none["reason"]) == (False, None, "timeout")


async def test_row34_of_patterns_that_match_at_once_the_first_in_the_list_is_told(client: Client) -> None:
    session = await client.spawn("echo abc; sleep 60")
    found = await client.json("pty_read_until_any", session_id=session, owner="me", patterns=["abc", "ab"])
    assert found["pattern"] == "abc"


async def test_row35_the_wait_has_a_configured_maximum(connect: Connect) -> None:
    client = connect(READ_UNTIL_MAX_MS="30")
    session = await client.spawn("sleep 60")
    found = await client.json("pty_read_until", session_id=session, owner="me", pattern="x", timeout_ms=10**9)
    assert (found["matched"], found["reason"]) == (False, "timeout")


async def test_row37_prompt_types_and_reads_until_a_pattern(client: Client) -> None:
    session = await client.spawn("PS1='> ' exec bash --norc -i")
    await client.until(session, "> ")
    found = await client.json(
        "pty_prompt", session_id=session, owner="me", data="echo $((6*7))\n", patterns=["42", "43"],
        timeout_ms=PATIENCE_MS,
    )  # fmt: skip
    assert (found["matched"], found["pattern"]) == (True, "42")
    assert found["text"].endswith("42")


async def test_row37_prompt_is_not_answered_by_what_was_printed_before(client: Client) -> None:
    session = await client.spawn("stty -echo; echo ready; read x; echo ready again; sleep 60")
    await client.until(session, "rea", client_id="other")
    while True:
        if (await client.status(session))["buf_total_offset"] >= len("ready\r\n"):
            break
        await trio.sleep(0.01)
    found = await client.json(
        "pty_prompt", session_id=session, owner="me", data="\n", patterns=["ready"], timeout_ms=PATIENCE_MS
    )
    # What had not been read yet is part of the text, but the match is in the answer.
    assert found["text"] == "ready\r\nready"
    assert (await client.until(session, "again"))["text"] == " again"


async def test_c19_text_after_the_match_is_not_swallowed(client: Client) -> None:
    session = await client.spawn("printf 'a MARK b MARK c'")
    await client.wait(session)
    assert (await client.until(session, "MARK"))["text"] == "a MARK"
    assert (await client.until(session, "MARK"))["text"] == " b MARK"
    assert await client.read_all(session) == " c"


async def test_c19_text_that_does_not_fit_is_counted_and_can_be_read(client: Client) -> None:
    session = await client.spawn("seq 1 1000; echo MARK; sleep 60")
    found = await client.until(session, "MARK", max_chars=10)
    assert found["text"] == "\n1000\r\nMARK"[-10:]
    assert found["omitted_bytes"] == found["offset"] > 0
    assert "pty_read_at" in found["notice"]
    first = await client.json("pty_read_at", session_id=session, owner="me", offset=0, max_chars=3)
    assert first["text"] == "1\r\n"


async def test_a_time_out_gives_out_what_there_is_and_does_not_lose_a_match_it_cuts(client: Client) -> None:
    session = await client.spawn("printf 'abc MA'; read x; printf RK; sleep 60")
    await client.until(session, "abc MA", client_id="other")
    cut = await client.json("pty_read_until", session_id=session, owner="me", pattern="MARK", timeout_ms=0)
    assert (cut["matched"], cut["text"], cut["next_offset"]) == (False, "abc ", 4)
    assert await client.text("pty_read", session_id=session, owner="me", timeout_ms=0) == "MA"


async def test_c17_the_end_of_the_program_ends_the_wait(client: Client) -> None:
    session = await client.spawn("echo bye; exit 5")
    found = await client.json(
        "pty_read_until", session_id=session, owner="me", pattern="never", timeout_ms=PATIENCE_MS * 2
    )
    assert (found["matched"], found["reason"], found["exit_code"]) == (False, "exited", 5)
    assert found["text"] == "bye\r\n"


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|a)*b", "(.*)*x"])
async def test_c16_expressions_cannot_hang_the_daemon(client: Client, expression: str) -> None:
    session = await client.spawn("printf 'a%.0s' {1..3000}; echo '!'; sleep 60")
    await client.json("pty_read_until", session_id=session, owner="me", pattern=expression, regex=True, timeout_ms=200)
    assert (await client.status(session))["running"]


async def test_c01_calls_do_not_block_each_other(client: Client) -> None:
    """While calls wait on a session, another one types what they wait for."""
    session = await client.spawn("read x; echo got $x; read x")
    ended = []

    async def wait() -> None:
        ended.append(await client.wait(session))

    async def until() -> None:
        await client.until(session, "got it")
        await client.text("pty_write", session_id=session, owner="me", data="\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(until)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await client.text("pty_write", session_id=session, owner="me", data="it\n")
    assert ended[0]["exit_code"] == 0


async def test_c02_a_wait_for_a_pattern_sees_everything_however_much_it_is(client: Client) -> None:
    """The program waits for the search; what the transcript then no longer has of the text before is counted."""
    session = await client.spawn("seq 1 300000; echo MARK; sleep 60")
    found = await client.until(session, "MARK", max_chars=12)
    assert found["text"] == "300000\r\nMARK"
    assert found["missed_bytes"] + found["omitted_bytes"] == found["offset"]


async def test_c06_waiting_on_a_program_that_closed_its_terminal_is_quiet(client: Client) -> None:
    """Neither ends nor spins: the wait ends at its deadline, and others are served meanwhile."""
    session = await client.spawn("exec <&- >&- 2>&-; exec sleep 60")
    found = await client.json("pty_read_until", session_id=session, owner="me", pattern="x", timeout_ms=300)
    assert (found["matched"], found["text"]) == (False, "")
    assert (await client.status(session))["running"]


async def test_c06_a_session_that_has_timed_out_says_so_once(client: Client, human: LocalClient) -> None:
    session = await client.spawn("echo before; sleep 60")
    # On a busy machine that may take longer than the limit.
    await client.until(session, "before\r\n", client_id="other")
    await human.call(api.UPDATE, session_id=session, max_runtime_ms=100)
    assert (await client.wait(session))["exit_reason"] == "timeout"
    found = await client.json("pty_read_until", session_id=session, owner="me", pattern="never", timeout_ms=PATIENCE_MS)
    assert (found["text"], found["reason"], found["notice"]) == (
        "before\r\n",
        "exited",
        "session timed out (limit=0.1s)",
    )
