"""Reading: rows 18-31 and 36 of the reference, and its defects about lost, cut and shared output."""

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.mcp.compat.conftest import PATIENCE_MS, Client, Connect

from ptybridge.api import session as api
from ptybridge.errors import InvalidParams

# What `seq 1 500000` prints at a terminal that turns LF into CR LF.
SEQ = "seq 1 500000"


async def test_row18_the_transcript_is_bounded_per_session_and_for_new_ones(connect: Connect) -> None:
    client = connect(RING_MAX_BYTES="100000", ENABLE_ADMIN_TOOLS="1")
    assert (await client.status(await client.spawn("true")))["max_output_bytes"] >= 100_000
    own = await client.status(await client.spawn("true", max_output_bytes=300_000))
    assert own["max_output_bytes"] >= 300_000
    await client.json("set_limits", max_output_bytes=200_000)
    assert (await client.status(await client.spawn("true")))["max_output_bytes"] >= 200_000


async def test_row19_lost_output_is_flagged_and_said(client: Client) -> None:
    session = await client.spawn("seq 1 60000", max_output_bytes=1000)
    await client.wait(session)  # who waits for the exit lets the program run on, unread
    assert (await client.status(session))["truncated"]
    answer = await client.answer("pty_read", session_id=session, owner="me")
    assert answer.structured is not None
    missed = answer.structured["missed_bytes"]
    assert missed > 0
    assert answer.text.startswith(f"[ptybridge: {missed} bytes of output before this were discarded (limit=")
    assert not answer.structured["text"].startswith("[")  # the notice is no part of the output
    assert f"{missed} bytes" in answer.structured["notice"]


async def test_row23_how_long_a_read_waits(connect: Connect) -> None:
    client = connect(READ_TIMEOUT_MS="1")
    quick = await client.spawn("sleep 60")
    assert await client.text("pty_read", session_id=quick, owner="me") == ""
    patient = await client.spawn("sleep 0.4; echo late; sleep 60", read_timeout_ms=PATIENCE_MS)
    # A terminal may give out the line and its end apart.
    assert (await client.text("pty_read", session_id=patient, owner="me")).startswith("late")


async def test_row24_the_page_size_is_configured(connect: Connect) -> None:
    client = connect(MAX_CHARS="4")
    session = await client.spawn("echo abcdefgh")
    await client.wait(session)
    assert await client.text("pty_read", session_id=session, owner="me") == "abcd"
    assert await client.text("pty_read", session_id=session, owner="me", max_chars="3") == "efg"


async def test_row25_reading_consumes(client: Client) -> None:
    session = await client.spawn("echo once")
    assert await client.read_all(session) == "once\r\n"
    assert await client.text("pty_read", session_id=session, owner="me") == ""


async def test_row26_row27_json_has_chunk_ids_and_times(client: Client) -> None:
    session = await client.spawn("echo one; read x; echo two")
    await client.until(session, "one\r\n", client_id="other")
    one = await client.json("pty_read", session_id=session, owner="me", timeout_ms=PATIENCE_MS, format="json")
    assert (one["text"], one["stream"]) == ("one\r\n", "pty")
    await client.text("pty_write", session_id=session, owner="me", data="\n")
    two = await client.json("pty_read", session_id=session, owner="me", timeout_ms=PATIENCE_MS, format="json")
    assert one["chunk_id"] != two["chunk_id"]
    assert one["timestamp"] <= two["timestamp"]


async def test_c22_an_empty_json_read_is_json(client: Client) -> None:
    session = await client.spawn("sleep 60")
    chunk = await client.json("pty_read", session_id=session, owner="me", timeout_ms=0, format="json")
    assert (chunk["text"], chunk["eof"], chunk["missed_bytes"]) == ("", False, 0)


async def test_row30_row31_reading_at_offsets_consumes_nothing(client: Client) -> None:
    session = await client.spawn("printf 0123456789")
    await client.wait(session)
    at = await client.json("pty_read_at", session_id=session, owner="me", offset=3, max_chars=4)
    assert (at["text"], at["next_offset"], at["truncated"], at["stream"]) == ("3456", 7, False, "pty")
    assert (await client.json("pty_read_at", session_id=session, owner="me", offset=7))["text"] == "789"
    assert (await client.json("pty_read_at", session_id=session, owner="me", offset=-5))["text"] == "0123456789"
    assert await client.read_all(session) == "0123456789"


async def test_row30_reading_at_offsets_of_one_stream(client: Client) -> None:
    session = await client.spawn("printf out; printf err >&2", separate_streams=True)
    await client.wait(session)
    for stream, rest in (("stdout", "ut"), ("stderr", "rr")):
        at = await client.json("pty_read_at", session_id=session, owner="me", offset=1, stream=stream)
        assert (at["text"], at["next_offset"], at["stream"]) == (rest, 3, stream)


async def test_row31_an_offset_that_is_gone_says_where_to_go_on(client: Client) -> None:
    session = await client.spawn("seq 1 60000", max_output_bytes=1000)
    await client.wait(session)
    status = await client.status(session)
    at = await client.json("pty_read_at", session_id=session, owner="me", offset=0)
    assert (at["truncated"], at["text"], at["next_offset"]) == (True, "", status["buf_start_offset"])
    rest = await client.json("pty_read_at", session_id=session, owner="me", offset=at["next_offset"], max_chars=1 << 20)
    assert rest["text"].endswith("60000\r\n")


async def test_c18_read_at_sees_what_was_consumed_and_observers_do_not_starve(client: Client, connect: Connect) -> None:
    session = await client.spawn("echo for all")
    assert await client.read_all(session) == "for all\r\n"
    assert (await client.json("pty_read_at", session_id=session, owner="me"))["text"] == "for all\r\n"
    assert await client.read_all(session, client_id="observer") == "for all\r\n"
    assert await connect().read_all(session) == "for all\r\n"


@pytest.mark.parametrize("page", [8000, 65536, 1 << 20])
async def test_c02_a_reader_that_follows_gets_all_bytes_at_any_page_size(client: Client, page: int) -> None:
    session = await client.spawn(SEQ)
    text = await client.read_all(session, max_chars=page)
    assert text == "".join(f"{n}\r\n" for n in range(1, 500_001))


async def test_c02_a_reader_that_comes_late_gets_all_bytes(client: Client) -> None:
    session = await client.spawn(SEQ)
    while True:
        status = await client.status(session)
        if status["buffer_bytes"] >= status["max_output_bytes"] * 0.9:
            break
        await trio.sleep(0.01)
    assert (await client.read_all(session, max_chars=1 << 20)).count("\n") == 500_000


async def test_c02_a_program_that_nobody_reads_runs_on(client: Client) -> None:
    session = await client.spawn(f"{SEQ}; exit 3")
    assert (await client.wait(session))["exit_code"] == 3
    assert (await client.read_all(session)).endswith("500000\r\n")


async def test_row21_output_over_its_rate_is_delayed_and_not_dropped(client: Client) -> None:
    session = await client.spawn("seq 1 2000", rate_limit_bps=20_000)
    assert (await client.read_all(session)).split() == [str(n) for n in range(1, 2001)]
    status = await client.status(session)
    assert (status["rate_limit_bps"], status["rate_dropped"]) == (20_000, 0)


async def test_c03_an_exited_session_stays_readable(client: Client) -> None:
    session = await client.spawn("echo last words; exit 7")
    assert (await client.wait(session))["exit_code"] == 7
    assert await client.read_all(session) == "last words\r\n"
    assert (await client.status(session))["exit_code"] == 7


@pytest.mark.parametrize("page", [1, 2, 3, 5])
async def test_c09_pages_count_characters_and_cut_none(client: Client, page: int) -> None:
    session = await client.spawn("printf 'aä€😀%.0s' 1 2 3 4 5")
    await client.wait(session)
    pages = []
    while chunk := await client.text("pty_read", session_id=session, owner="me", max_chars=page):
        assert len(chunk) <= page
        pages.append(chunk)
    assert "".join(pages) == "aä€😀" * 5


async def test_c09_characters_survive_the_boundaries_of_reads(client: Client) -> None:
    session = await client.spawn("printf 'x€%.0s' {1..30000}")
    assert await client.read_all(session, max_chars=4095) == "x€" * 30_000


async def test_c20_offsets_and_lengths_agree_after_truncation(client: Client) -> None:
    session = await client.spawn("seq 1 60000", max_output_bytes=1000)
    await client.wait(session)
    status = await client.status(session)
    assert status["buf_start_offset"] + status["buffer_bytes"] == status["buf_total_offset"] == status["bytes_read"]


async def test_row85_c21_bytes_are_counted_once(client: Client) -> None:
    session = await client.spawn("read x; printf 12345678; printf 12345678 >&2", separate_streams=True)
    await client.text("pty_write", session_id=session, owner="me", data="hello\n")
    await client.wait(session)
    status = await client.status(session)
    assert (status["bytes_read"], status["bytes_written"]) == (16, 6)


async def test_row36_reading_when_it_is_quiet(client: Client) -> None:
    session = await client.spawn("for i in 1 2 3; do echo $i; sleep 0.05; done; sleep 60")
    # On a busy machine a pause may be longer than the silence asked for.
    await client.json(
        "pty_read_until", session_id=session, owner="me", client_id="other", pattern="3", timeout_ms=PATIENCE_MS
    )
    answer = await client.answer(
        "pty_read_quiescent", session_id=session, owner="me", quiescence_ms=1500, timeout_ms=PATIENCE_MS
    )
    assert answer.text == "1\r\n2\r\n3\r\n"
    chunk = await client.json("pty_read_quiescent", session_id=session, owner="me", quiescence_ms=1, format="json")
    assert chunk["text"] == ""


async def test_c17_quiet_is_as_short_as_asked_and_ends_with_the_program(client: Client) -> None:
    session = await client.spawn("echo bye")
    answer = await client.answer(
        "pty_read_quiescent", session_id=session, owner="me", quiescence_ms=PATIENCE_MS * 2, timeout_ms=PATIENCE_MS * 2
    )
    assert answer.text == "bye\r\n"
    silent = await client.spawn("sleep 60")
    for _ in range(20):
        await client.answer("pty_read_quiescent", session_id=silent, owner="me", quiescence_ms=50)


async def test_c23_arguments_that_do_not_fit_are_refused(client: Client) -> None:
    session = await client.spawn("echo OK; sleep 60")
    for tool, wrong, name in (
        ("pty_read", {"max_chars": -3}, "max_chars"),
        ("pty_read", {"max_chars": "many"}, "max_chars"),
        ("pty_read", {"format": "xml"}, "format"),
        ("pty_read", {"timeout": 5}, "timeout"),
        ("pty_read_at", {"stream": "stdin"}, "stream"),
        ("pty_read_until_any", {"patterns": "OK"}, "patterns"),
        ("pty_read_until_any", {"patterns": []}, "patterns"),
        ("pty_resize", {"cols": "wide", "rows": 24}, "cols"),
    ):
        refused = await client.refusal(tool, session_id=session, owner="me", **wrong)
        assert isinstance(refused, InvalidParams)
        assert name in refused.message
    for wrong, name in (({"cols": "wide"}, "cols"), ({"separate_streams": "false"}, "separate_streams")):
        assert name in (await client.refusal("pty_spawn", command="true", owner="me", **wrong)).message
    assert (await client.until(session, "OK\r\n"))["text"] == "OK\r\n"


async def test_row78_integers_are_accepted_as_strings(client: Client) -> None:
    session = await client.spawn("stty size", cols="81", rows=" 25 ")
    assert await client.read_all(session, max_chars="100") == "25 81\r\n"


async def test_attached_names_go_on_where_the_connection_has_read(client: Client) -> None:
    session = await client.spawn("echo one; read x; echo two; sleep 60")
    await client.until(session, "one\r\n")
    client.connection.take_on(session, "agent-a")
    await client.text("pty_write", session_id=session, owner="me", data="\n")
    assert (await client.until(session, "two", client_id="agent-a"))["text"] == "\r\ntwo"


async def test_reading_and_writing_keep_a_session_from_being_idle_and_looking_does_not(
    connect: Connect, human: LocalClient
) -> None:
    client = connect(IDLE_TIMEOUT_SEC="4")
    watched = await client.spawn("sleep 60")
    info = await human.call(api.GET, session_id=watched)
    assert info.idle_timeout_ms == 4000
    read = await client.spawn("sleep 60")
    with trio.fail_after(60):
        while (await client.status(watched))["running"]:
            await client.text("pty_read", session_id=read, owner="me", timeout_ms=0)
            await trio.sleep(0.02)
    assert (await client.status(read))["running"]
    assert (await client.status(watched))["exit_reason"] == "timeout"
