"""What clients that poll need: pages in characters, a program that waits for them, sessions kept as long as asked."""

import pytest
import trio
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, exited, raw_cat, script, start

from ptybridge.api import session, terminal
from ptybridge.errors import SessionNotFound


async def read_all(client: Client, session_id: str, max_chars: int) -> str:
    """Read page by page from the caller's position, to the end."""
    pages = []
    while True:
        page = await client.call(
            terminal.READ, session_id=session_id, max_chars=max_chars, timeout_ms=PATIENCE_MS, max_bytes=1 << 20
        )
        assert page.missed_bytes == 0
        assert len(page.data) <= max_chars
        pages.append(page.data)
        if page.eof:
            return "".join(pages)


@pytest.mark.parametrize("max_chars", [8000, 1 << 20])
async def test_a_program_waits_for_a_reader_that_keeps_reading(client: Client, max_chars: int) -> None:
    session_id = await script(
        client, "read x; seq 1 60000; exit 9", echo=False, max_output_bytes=65536, overflow="pause"
    )
    await client.call(terminal.READ, session_id=session_id)
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    assert (await read_all(client, session_id, max_chars)).split() == [str(n) for n in range(1, 60001)]


async def test_a_program_does_not_wait_for_a_reader_that_awaits_its_exit(client: Client) -> None:
    session_id = await script(
        client, "read x; seq 1 60000; exit 9", echo=False, max_output_bytes=65536, overflow="pause"
    )
    await client.call(terminal.READ, session_id=session_id)
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    assert (await exited(client, session_id)).exit_code == 9


async def test_a_program_waits_for_who_waits_for_a_pattern(client: Client) -> None:
    session_id = await script(
        client, "read x; seq 1 60000; echo done; exit 9", echo=False, max_output_bytes=65536, overflow="pause"
    )
    await client.call(terminal.READ, session_id=session_id)
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="done", timeout_ms=PATIENCE_MS)
    assert found.reason == "matched"


async def test_pages_are_counted_in_characters_and_cut_none(client: Client) -> None:
    text = "aä€😀" * 50
    session_id = await start(client, "printf", "%s", text)
    await exited(client, session_id)
    first = await client.call(terminal.READ, session_id=session_id, max_chars=7)
    assert (first.data, first.next_offset, first.eof) == (text[:7], len(text[:7].encode()), False)
    assert first.data + await read_all(client, session_id, 3) == text


async def test_pages_of_bytes_that_are_no_characters(client: Client) -> None:
    session_id = await start(client, "printf", r"\377\376a\342\202b")
    await exited(client, session_id)
    page = await client.call(terminal.READ, session_id=session_id, max_chars=3)
    assert (page.data, page.next_offset, page.lossy) == ("��a", 3, True)


async def test_an_exited_session_is_kept_as_long_as_asked(client: Client) -> None:
    brief = await start(client, "true", keep_ms=0)
    longer = await start(client, "true")
    with trio.fail_after(PATIENCE_MS / 1000):
        while True:
            try:
                await client.call(session.GET, session_id=brief)
            except SessionNotFound:
                break
            await trio.sleep(0.05)
    assert (await exited(client, longer)).keep_ms is None
    kept = await client.call(session.UPDATE, session_id=longer, keep_ms=60_000)
    assert kept.keep_ms == 60_000


async def test_sessions_are_listed_by_name_and_by_profile(client: Client) -> None:
    session_id = await raw_cat(client, name="one")
    info = await client.call(session.GET, session_id=session_id, detailed=False)
    assert (info.profile, info.foreground) == (None, None)
    named = await client.call(session.LIST, name="one")
    assert [one.session_id for one in named.sessions] == [session_id]
    assert not (await client.call(session.LIST, profile="mcp")).sessions
