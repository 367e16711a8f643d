"""`session.follow` and `event.follow`: everything in order, nothing lost silently, resumable."""

import base64
from pathlib import Path

import pytest
import trio
from tests.contract.endpoints import Client, Stream, StreamEnded
from tests.contract.programs import PATIENCE_MS, exited, raw_cat, script, start, until

from ptybridge import config
from ptybridge.api import attach, event, session, terminal
from ptybridge.errors import InvalidParams


async def all_of(stream: Stream) -> tuple[list[object], str]:
    """Take events to the end; return them and the reason."""
    events: list[object] = []
    while True:
        try:
            events.append(await stream.next())
        except StreamEnded as end:
            return events, end.reason


async def test_output_then_the_exit_then_the_end(client: Client) -> None:
    session_id = await script(client, "printf one; exit 3")
    async with client.stream(attach.FOLLOW, session_id=session_id) as stream:
        assert stream.opened == attach.Following(offset=0, rows=30, cols=120)
        events, reason = await all_of(stream)
    assert reason == "exited"
    *output, last = events
    assert "".join(one.data for one in output if isinstance(one, attach.OutputEvent)) == "one"
    assert last == attach.ExitedEvent(
        exit_code=3, exit_signal=None, exit_reason="exited", end_offset=3, output_closed=True
    )


async def test_following_goes_on_live_from_an_offset(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=3) as stream:
        for word in ["alpha", "beta"]:
            await client.call(terminal.WRITE, session_id=session_id, data=word)
            seen = ""
            while seen != word:
                one = await stream.next()
                assert isinstance(one, attach.OutputEvent)
                assert one.next_offset - one.offset == len(one.data)
                seen += one.data


async def test_sizes_come_at_their_place(client: Client) -> None:
    session_id = await raw_cat(client)
    for word, rows in [("a", 10), ("b", 11)]:
        await client.call(terminal.WRITE, session_id=session_id, data=word)
        await until(client, session_id, word)
        await client.call(session.RESIZE, session_id=session_id, rows=rows, cols=50)
    await client.call(terminal.WRITE, session_id=session_id, data="c")
    await until(client, session_id, "c")
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=0) as stream:
        got: list[object] = []
        while not got or got[-1] != "c":
            one = await stream.next()
            got.append(one.data if isinstance(one, attach.OutputEvent) else (one.rows, one.cols, one.offset))
    assert got == ["up\na", (10, 50, 4), "b", (11, 50, 5), "c"]


async def test_what_was_dropped_is_told_as_a_gap(client: Client) -> None:
    session_id = await script(client, "seq 1 50000", max_output_bytes=65536)
    done = await exited(client, session_id)
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=5) as stream:
        first = await stream.next()
        assert first == attach.GapEvent(from_offset=5, to_offset=done.start_offset)
        events, _ = await all_of(stream)
    text = "".join(one.data for one in events if isinstance(one, attach.OutputEvent))
    assert text.endswith("50000\r\n")
    assert len(text) == done.end_offset - done.start_offset


async def test_without_an_offset_it_begins_at_what_is_kept(client: Client) -> None:
    session_id = await script(client, "seq 1 50000", max_output_bytes=65536)
    done = await exited(client, session_id)
    async with client.stream(attach.FOLLOW, session_id=session_id) as stream:
        assert stream.opened.offset == done.start_offset
        assert isinstance(await stream.next(), attach.OutputEvent)


@pytest.mark.parametrize("encoding", ["text", "base64"])
async def test_r10_a_stream_never_splits_a_character(
    client: Client, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After a while half a character is given out as it is, and a busy machine may leave the program alone for longer.
    monkeypatch.setattr("ptybridge.service.follow.HELD_SECONDS", PATIENCE_MS / 1000)
    text = "aß€😀" * 5000
    program = (
        "import sys, os\nd = os.environ['TEXT'].encode() * 50\nfor i in range(0, len(d), 7): os.write(1, d[i:i+7])"
    )
    session_id = await start(client, "python3", "-c", program, env={"TEXT": text[:400]}, backend="pipes")
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=0, encoding=encoding) as stream:
        events, _ = await all_of(stream)
    output = [one for one in events if isinstance(one, attach.OutputEvent)]
    if encoding == "text":
        assert not any(one.lossy for one in output)
        assert "".join(one.data for one in output) == text[:400] * 50
    else:
        assert b"".join(base64.b64decode(one.data) for one in output) == text[:400].encode() * 50


async def test_r02_the_end_of_output_can_come_after_the_exit(client: Client, tmp_path: Path) -> None:
    text = "trap '' HUP; (while ! [ -e go ]; do sleep 0.01; done; printf late) &"
    session_id = await script(client, text, cwd=str(tmp_path), linger_ms=20)
    async with client.stream(attach.FOLLOW, session_id=session_id) as stream:
        gone = await stream.next()
        assert isinstance(gone, attach.ExitedEvent)
        assert not gone.output_closed
        (tmp_path / "go").touch()
        events, reason = await all_of(stream)
    assert reason == "exited"
    assert [type(one).__name__ for one in events] == ["OutputEvent", "OutputClosedEvent"]


async def test_closing_the_session_ends_its_streams(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=3) as stream:
        await client.call(session.CLOSE, session_id=session_id)
        events, reason = await all_of(stream)
    assert reason == "exited"
    (ended,) = events
    assert isinstance(ended, attach.ExitedEvent)
    assert (ended.exit_signal, ended.exit_reason) == ("SIGHUP", "closed")


async def test_r07_a_program_runs_on_while_its_readers_are_away(client: Client, kind: str) -> None:
    """The default, `drain`: a stalled follower loses output, which it is told; the program never waits for it."""
    session_id = await script(client, "seq 1 200000; exit 9", max_output_bytes=65536)
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=0) as stream:
        done = await exited(client, session_id)
        assert done.exit_code == 9
        events, _ = await all_of(stream)
    text = "".join(one.data for one in events if isinstance(one, attach.OutputEvent))
    assert text.endswith("200000\r\n")
    missed = sum(one.to_offset - one.from_offset for one in events if isinstance(one, attach.GapEvent))
    assert missed + len(text) == done.end_offset
    if kind == "local":  # where nothing is buffered between the handler and the test
        assert missed > 0


async def test_pause_makes_the_program_wait_for_a_lagging_follower(client: Client) -> None:
    """And so nothing at all is lost."""
    session_id = await script(
        client, "read x; seq 1 100000; exit 9", echo=False, max_output_bytes=65536, overflow="pause"
    )
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=0) as stream:
        await client.call(terminal.WRITE, session_id=session_id, data="\n")
        events, _ = await all_of(stream)
    assert not [one for one in events if isinstance(one, attach.GapEvent)]
    text = "".join(one.data for one in events if isinstance(one, attach.OutputEvent))
    assert text.split() == [str(n) for n in range(1, 100001)]


async def test_pause_waits_only_while_there_is_somebody_who_lags(client: Client, kind: str) -> None:
    session_id = await script(
        client, "read x; seq 1 100000; exit 9", echo=False, max_output_bytes=65536, overflow="pause"
    )
    async with client.stream(attach.FOLLOW, session_id=session_id, offset=0):
        await client.call(terminal.WRITE, session_id=session_id, data="\n")
        if kind == "local":  # elsewhere the client's own buffer takes it all
            waited = await client.call(
                terminal.WAIT, session_id=session_id, until=[{"exit": True}, {"idle_ms": 400}], timeout_ms=PATIENCE_MS
            )
            assert waited.reason == "idle"
    assert (await exited(client, session_id)).exit_code == 9


async def test_pause_without_readers_drains(client: Client) -> None:
    session_id = await script(client, "seq 1 100000; exit 9", max_output_bytes=65536, overflow="pause")
    assert (await exited(client, session_id)).exit_code == 9


# -- events --------------------------------------------------------------------------------------------------


async def of_types(stream: Stream, *types: str) -> list[object]:
    """Take events until one of each type has come, in this order; others are passed over."""
    found: list[object] = []
    for wanted in types:
        while type(one := await stream.next()).__struct_config__.tag != wanted:
            pass
        found.append(one)
    return found


async def test_a_sessions_life_in_events(client: Client) -> None:
    # All but those that come when nothing happens for a while.
    types = ["created", "title", "bell", "notification", "resized", "updated", "attached", "detached"]
    async with client.stream(event.FOLLOW, types=[*types, "exited", "closed"]) as stream:
        session_id = await script(
            client,
            r"printf '\033]2;The Title\007'; printf '\007'; printf '\033]9;note\007'; read x; exit 3",
            name="n",
            owner="o",
        )
        created, title, bell, note = await of_types(stream, "created", "title", "bell", "notification")
        assert (created.session_id, created.name, created.owner) == (session_id, "n", "o")  # type: ignore[attr-defined]
        assert title.title == "The Title"  # type: ignore[attr-defined]
        assert bell.session_id == session_id  # type: ignore[attr-defined]
        assert "note" in (note.title, note.body)  # type: ignore[attr-defined]
        await client.call(session.RESIZE, session_id=session_id, rows=7, cols=70)
        await client.call(session.UPDATE, session_id=session_id, name="m", tags=["t"])
        async with client.attach(session_id=session_id, rows=7, cols=70, mode="viewer", client_id="me") as link:
            await link.in_step()
        await client.call(terminal.WRITE, session_id=session_id, data="\n")
        await exited(client, session_id)
        await client.call(session.CLOSE, session_id=session_id)
        got = await of_types(stream, "resized", "updated", "attached")
        resized, updated, attached = got
        assert (resized.rows, resized.cols) == (7, 70)  # type: ignore[attr-defined]
        assert (updated.name, updated.tags) == ("m", ["t"])  # type: ignore[attr-defined]
        assert (attached.client_id, attached.mode) == ("me", "viewer")  # type: ignore[attr-defined]
        # Who leaves and what ends are told in the order in which they happen, which here is open.
        rest = {type(one).__name__: one for one in [await stream.next() for _ in range(3)]}
        assert set(rest) == {"Detached", "Exited", "Closed"}
        assert rest["Exited"].exit_code == 3
        assert rest["Exited"].exit_reason == "exited"


async def test_waiting_for_input_is_an_event(client: Client) -> None:
    async with client.stream(event.FOLLOW, types=["waiting_for_input"]) as stream:
        session_id = await script(client, "read x")
        assert (await stream.next()).session_id == session_id


async def test_events_are_numbered_and_resumable(client: Client) -> None:
    async with client.stream(event.FOLLOW) as stream:
        first = await script(client, "exit 0")
        await exited(client, first)
        seen = [await stream.next() for _ in range(2)]
    numbers = [one.number for one in seen]
    assert numbers == [numbers[0], numbers[0] + 1]
    second = await script(client, "exit 0")
    await exited(client, second)
    async with client.stream(event.FOLLOW, after=numbers[0]) as stream:
        assert stream.opened.number == numbers[0] + 3
        resumed = [await stream.next() for _ in range(3)]
    assert [one.number for one in resumed] == [numbers[0] + 1, numbers[0] + 2, numbers[0] + 3]
    assert [one.session_id for one in resumed] == [first, second, second]
    async with client.stream(event.FOLLOW, after=0, session_id=second, types=["exited"]) as stream:
        (only,) = [await stream.next()]
        assert (only.session_id, only.number) == (second, numbers[0] + 3)


async def test_unknown_event_types_are_refused(client: Client) -> None:
    with pytest.raises(InvalidParams, match="no_such_event"):
        async with client.stream(event.FOLLOW, types=["no_such_event"]):
            raise AssertionError


async def test_s24_names_and_commands_in_events_are_labels(client: Client) -> None:
    """What strangers choose reaches events checked (labels) or as data, never as something to be executed."""
    async with client.stream(event.FOLLOW, types=["title"]) as stream:
        await script(client, r"printf '\033]2;a\033[2J\342\200\256b\007'; read x")
        assert (await stream.next()).title.isprintable()


async def test_r06_a_follower_that_stops_reading_harms_nobody(client: Client) -> None:
    """A stream nobody reads costs only its own lag: the program runs on, others are served, and it resumes."""
    flood = await script(client, "exec yes", max_output_bytes=65536)
    other = await raw_cat(client)
    async with client.stream(attach.FOLLOW, session_id=flood) as stalled:
        for turn in range(50):
            await client.call(terminal.WRITE, session_id=other, data=f"{turn}.")
            await until(client, other, f"{turn}.")
        before = (await client.call(session.GET, session_id=flood)).end_offset
        with trio.fail_after(PATIENCE_MS / 1000):
            while (await client.call(session.GET, session_id=flood)).end_offset < before + (1 << 20):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert isinstance(await stalled.next(), attach.OutputEvent | attach.GapEvent)
    await client.call(session.CLOSE, session_id=flood, grace_ms=0)


@pytest.fixture
def settings() -> config.Daemon:
    return config.Daemon(stop_timeout_ms=2000)
