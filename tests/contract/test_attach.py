"""`session.attach`: the exact screen, then everything live; who may write; whose answers count; who is stalled."""

import random
from collections.abc import Callable
from contextlib import suppress

import pyte
import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.endpoints import PATIENCE_SECONDS, Client, Link
from tests.contract.programs import PATIENCE_MS, exited, raw_cat, script, shell, start, until

from ptybridge.api import session, terminal
from ptybridge.errors import AttachmentNotFound, Denied, InvalidParams, SessionExited
from ptybridge.wire import attach as frames

# Waits for a line, asks the terminal what it is (DA1), and shows what it is answered.
ASKING = (
    "import os, sys, tty\n"
    "tty.setraw(0)\n"
    "os.write(1, b'up\\r\\n')\n"
    "while True:\n"
    "    got = os.read(0, 1000)\n"
    "    if got == b'ask': os.write(1, b'\\033[c')\n"
    "    elif got == b'quit': break\n"
    "    else: os.write(1, b'<' + got.hex().encode() + b'>')\n"
)
ANSWER = b"\x1b[?62;22c"


def draw(screen: pyte.Screen, data: bytes) -> None:
    # pyte knows no synchronized output and would print its private marker's end; nothing else of it matters here.
    pyte.ByteStream(screen).feed(data)


def grid(screen: pyte.Screen) -> list[str]:
    return [line.rstrip() for line in screen.display]


async def test_the_answer_then_the_screen_then_what_follows(client: Client) -> None:
    session_id = await script(client, r"printf 'first\r\n\033[31msecond'; read x; printf third; exit 3", name="n")
    await until(client, session_id, "second")
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        opened = link.opened
        assert (opened.session_id, opened.name, opened.mode) == (session_id, "n", "writer")
        assert (opened.rows, opened.cols, opened.window_size_policy) == (30, 120, "latest")
        assert await link.next() == frames.Resized(30, 120)
        snapshot = await link.next()
        assert isinstance(snapshot, frames.Snapshot)
        assert (snapshot.rows, snapshot.cols) == (30, 120)
        assert snapshot.offset == (await client.call(session.GET, session_id=session_id)).end_offset
        screen = pyte.Screen(120, 30)
        draw(screen, snapshot.data)
        assert grid(screen)[:2] == ["first", "second"]
        await link.send(frames.Ack(snapshot.offset))
        await link.write("\n")
        output = await link.next_of(frames.Output)
        assert output.offset == snapshot.offset
        await link.output(b"third", output.data)
        ended = await link.next_of(frames.Exited)
        assert (ended.exit_code, ended.exit_signal, ended.exit_reason, ended.output_closed) == (3, None, "exited", True)
        assert ended.end_offset == (await client.call(session.GET, session_id=session_id)).end_offset
        assert await link.next_of(frames.Detached) == frames.Detached("exited")
        with pytest.raises(EOFError):
            await link.next()


async def test_detaching_is_answered_last(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        await link.acknowledge()
        await link.send(frames.Detach())
        assert (await link.next_of(frames.Detached)).reason == "detached"
        with pytest.raises(EOFError):
            await link.next()
    assert (await client.call(session.GET, session_id=session_id)).state == "running"


async def test_attaching_cannot_race_with_output(client: Client) -> None:
    """Snapshots and the log from their offset on make up the same screen, whenever one attaches."""
    text = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exec sleep 1000"
    session_id = await script(client, text, rows=10, cols=40)
    for _ in range(5):
        async with client.attach(session_id=session_id, rows=10, cols=40, mode="viewer") as link:
            snapshot = await link.next_of(frames.Snapshot)
            screen = pyte.Screen(40, 10)
            draw(screen, snapshot.data)
            seen, at = b"", snapshot.offset
            while b"line 2999" not in seen and "line 2999" not in grid(screen):
                frame = await link.next()
                if isinstance(frame, frames.Output):
                    assert frame.offset == at
                    at += len(frame.data)
                    seen += frame.data
                    draw(screen, frame.data)
                elif isinstance(frame, frames.Snapshot):  # the ring has overtaken us
                    at = frame.offset
                    screen.reset()
                    draw(screen, frame.data)
            # The shell's own line break may still be on its way.
            assert grid(screen)[-2:] in (["line 2999", ""], ["line 2998", "line 2999"])


async def test_resuming_by_offset_gives_the_raw_output_from_there(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.WRITE, session_id=session_id, data="0123456789")
    await until(client, session_id, "9")
    async with client.attach(session_id=session_id, rows=30, cols=120, offset=5) as link:
        assert link.opened.offset == 5
        output = await link.next_of(frames.Output)
        assert (output.offset, output.data) == (5, b"23456789")
    with pytest.raises(InvalidParams, match="beyond"):
        async with client.attach(session_id=session_id, rows=30, cols=120, offset=10**6):
            raise AssertionError


async def test_resuming_tells_each_size_at_its_place(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.WRITE, session_id=session_id, data="one")
    await until(client, session_id, "one")
    for rows, cols, text in ((20, 80, "two"), (25, 90, "three")):
        await client.call(session.RESIZE, session_id=session_id, rows=rows, cols=cols)
        await client.call(terminal.WRITE, session_id=session_id, data=text)
        await until(client, session_id, text)
    async with client.attach(session_id=session_id, rows=25, cols=90, offset=0) as link:
        told: list[tuple[int, int]] = []
        output: dict[tuple[int, int], bytes] = {}
        while not b"".join(output.values()).endswith(b"three"):
            frame = await link.next()
            if isinstance(frame, frames.Resized):
                told.append((frame.rows, frame.cols))
            elif isinstance(frame, frames.Output):
                output[told[-1]] = output.get(told[-1], b"") + frame.data
    assert told == [(30, 120), (20, 80), (25, 90)]
    assert output == {(30, 120): b"up\none", (20, 80): b"two", (25, 90): b"three"}


async def test_resuming_where_the_ring_has_passed_gives_a_gap_and_a_snapshot(client: Client) -> None:
    session_id = await script(client, "seq 1 50000; exec sleep 1000", max_output_bytes=65536)
    await until(client, session_id, "50000\r\n")
    end = (await client.call(session.GET, session_id=session_id)).end_offset
    async with client.attach(session_id=session_id, rows=30, cols=120, offset=5) as link:
        gap = await link.next_of(frames.Gap)
        assert gap.start == 5
        assert gap.end > 5
        snapshot = await link.next_of(frames.Snapshot)
        assert snapshot.offset == end
        assert b"50000" in snapshot.data


async def test_r08_the_snapshot_has_the_alternate_screen_modes_and_scrollback(client: Client) -> None:
    text = r"seq 1 40; printf '\033[?1049h\033[H\033[?2004h\033[?1000h\033[?25lEDITOR'; read x"
    session_id = await script(client, text, rows=10, cols=40)
    await until(client, session_id, "EDITOR")
    async with client.attach(session_id=session_id, rows=10, cols=40, scrollback_lines=100) as link:
        snapshot = await link.acknowledge()
        for mode in [b"\x1b[?2004h", b"\x1b[?1000h", b"\x1b[?25l", b"1049h"]:
            assert mode in snapshot.data
        assert b"EDITOR" in snapshot.data
        # The primary screen stands behind it, scrollback and all.
        for line in (b"1\r", b"17", b"40"):
            assert line in snapshot.data


async def test_r09_queries_in_the_history_are_not_answered_into_the_shell(client: Client) -> None:
    """A terminal that is shown the history, by snapshot or by resuming, answers the queries in it: too late."""
    session_id = await start(client, "python3", "-c", ASKING)
    await until(client, session_id, "up\r\n")
    await client.call(terminal.WRITE, session_id=session_id, data="ask")
    await until(client, session_id, "\x1b[c")
    found = await until(client, session_id, ">")  # nobody is attached, so the daemon answered
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        snapshot = await link.next_of(frames.Snapshot)
        assert b"\x1b[c" not in snapshot.data
        await link.send(frames.Input(ANSWER))  # what a terminal does that is shown too much
        await link.send(frames.Ack(snapshot.offset))
        await link.write("k")
        assert (await until(client, session_id, ">")).data == "<6b>"
    async with client.attach(session_id=session_id, rows=30, cols=120, offset=0) as link:
        await link.output(b"\x1b[c")
        await link.send(frames.Input(ANSWER))
        await link.write("l")
        assert (await until(client, session_id, ">")).data == "<6c>"
    assert found.data


async def test_s23_only_the_latest_writer_answers_queries(connect: Connect) -> None:
    """Exactly one attached terminal's answers reach the program; without a writer the daemon's fixed ones do."""
    client = await connect()
    session_id = await start(client, "python3", "-c", ASKING)
    await until(client, session_id, "up\r\n")
    async with (
        client.attach(session_id=session_id, rows=30, cols=120) as one,
        client.attach(session_id=session_id, rows=30, cols=120) as two,
        client.attach(session_id=session_id, rows=30, cols=120, mode="viewer") as viewer,
    ):
        for link in (one, two, viewer):
            await link.acknowledge()
            await link.in_step()
        await two.write("a")
        await two.in_step()
        await until(client, session_id, "<61>")
        await client.call(terminal.WRITE, session_id=session_id, data="ask")
        for link in (one, two, viewer):
            await link.output(b"\x1b[c")
        for link in (viewer, one, two):
            await link.send(frames.Input(ANSWER))
            await link.in_step()
        await two.write("b")
        found = await until(client, session_id, "62>")
    # From `one` nothing came (its answer also must not have made it the latest), from the viewer neither.
    assert found.data.count(ANSWER.hex()) == 1


async def test_s23_replies_of_the_daemon_never_echo_what_a_program_printed(client: Client) -> None:
    """Title reports, DECRQSS, answerback, fonts, clipboard: an attacker's text must not come back as input."""
    attack = await start(
        client,
        "python3",
        "-c",
        "import os, tty, select\n"
        "tty.setraw(0)\n"
        "os.write(1, b'\\033]2;rm -rf;EVIL\\007\\033[21t\\033[20t\\033P$qEVIL\\033\\\\\\033]50;?EVIL\\007\\005"
        "\\033]52;c;?\\007\\033]4;1;?EVIL\\007\\033P+q4556494c\\033\\\\\\033[c')\n"
        "got = b''\n"
        "while not got.endswith(b'c'): got += os.read(0, 1000)\n"
        "print('GOT', got.hex(), 'END')\n",
    )
    found = await client.call(
        terminal.READ_UNTIL, session_id=attack, pattern=r"GOT ([0-9a-f]*) END", regex=True, timeout_ms=PATIENCE_MS
    )
    assert found.match is not None
    replies = bytes.fromhex(found.match.split()[1])
    assert b"EVIL" not in replies
    assert b"rm -rf" not in replies
    assert b"\r" not in replies
    assert b"\n" not in replies


# -- several clients -----------------------------------------------------------------------------------------


async def test_two_clients_of_different_sizes(client: Client) -> None:
    """The latest writer's size holds; the other gets pictures that fit its window, and is told so."""
    session_id = await shell(client)
    async with client.attach(session_id=session_id, rows=40, cols=100) as large:
        await large.acknowledge()
        async with client.attach(session_id=session_id, rows=10, cols=30) as small:
            await small.acknowledge()
            resized = await large.next_of(frames.Resized)
            while (resized.rows, resized.cols) != (10, 30):
                resized = await large.next_of(frames.Resized)
            assert resized.flags & frames.RENDERED_FRAMES
            info = await client.call(session.GET, session_id=session_id)
            assert [(one.rows, one.cols, one.rendered) for one in info.clients] == [(40, 100, True), (10, 30, False)]
            await small.write("echo $COLUMNS-$LINES\r")
            await small.output(b"30-10")
            screen = pyte.Screen(100, 40)
            with trio.fail_after(PATIENCE_SECONDS):
                while not any("30-10" in line for line in grid(screen)):
                    rendered = await large.next()
                    assert not isinstance(rendered, frames.Output)
                    if isinstance(rendered, frames.Rendered):
                        draw(screen, rendered.data)
        # When the small one has left, the large one decides again and gets raw output from a snapshot on.
        resized = await large.next_of(frames.Resized)
        assert (resized.rows, resized.cols, resized.flags) == (40, 100, 0)
        await large.next_of(frames.Snapshot)
        await large.write("echo $COLUMNS-$LINES\r")
        await large.output(b"100-40")


async def test_a_viewer_smaller_than_the_session_gets_cropped_pictures(client: Client) -> None:
    session_id = await script(
        client, r"printf 'a long line of text\r\nx'; read x; printf '\rmore'; read x", rows=20, cols=60
    )
    await until(client, session_id, "\nx")
    async with client.attach(session_id=session_id, rows=5, cols=10, mode="viewer") as link:
        resized = await link.next_of(frames.Resized)
        assert (resized.rows, resized.cols, resized.flags) == (20, 60, frames.RENDERED_FRAMES)
        rendered = await link.next_of(frames.Rendered)
        screen = pyte.Screen(10, 5)
        draw(screen, rendered.data)
        assert grid(screen)[:2] == ["a long lin", "x"]
        await client.call(terminal.WRITE, session_id=session_id, data="\n")
        with trio.fail_after(PATIENCE_SECONDS):
            while not any(line.startswith("more") for line in grid(screen)):
                draw(screen, (await link.next_of(frames.Rendered)).data)


@pytest.mark.parametrize("seed", range(4))
async def test_s21_a_viewer_changes_nothing_whatever_it_sends(client: Client, seed: int) -> None:
    """A property over frames: random ones, also malformed, from a viewer alone on a session."""
    dice = random.Random(seed)
    session_id = await raw_cat(client)
    before = await client.call(session.GET, session_id=session_id)
    makers: list[Callable[[], frames.Frame]] = [
        lambda: frames.Input(dice.randbytes(dice.randint(0, 20))),
        lambda: frames.Input(b"\x1b[200~paste\x1b[201~"),
        lambda: frames.Input(ANSWER),
        lambda: frames.Resize(dice.randint(0, 65535), dice.randint(0, 65535)),
        lambda: frames.Ack(dice.randint(0, 2**64 - 1)),
        lambda: frames.Mode(writer=True),
        lambda: frames.Output(0, b"out"),
        lambda: frames.Snapshot(0, 1, 1, b""),
        lambda: frames.Exited(),
    ]
    async with client.attach(session_id=session_id, rows=24, cols=80, mode="viewer") as link:
        for _ in range(60):
            await link.send(dice.choice(makers)())
        await link.send_bytes(b"\xf0\x00\x00\x00\x03abc")  # of a type nobody knows
        await link.in_step()
        after = await client.call(session.GET, session_id=session_id)
        assert (after.rows, after.cols) == (before.rows, before.cols)
        assert (after.bytes_written, after.end_offset, after.title) == (0, before.end_offset, before.title)
        assert (after.state, after.clients[0].mode) == ("running", "viewer")


async def test_a_bad_frame_is_told_and_harms_nobody(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        await link.acknowledge()
        await link.send_bytes(b"\x02\x00\x00\x00\x01x")  # a RESIZE that is too short
        error = await link.next_of(frames.Error)
        assert error.code == "invalid_request"
    assert (await client.call(session.GET, session_id=session_id)).state == "running"


async def test_a_writer_needs_a_session_that_may_be_written(client: Client) -> None:
    session_id = await start(client, "cat", access="read-only")
    with pytest.raises(Denied):
        async with client.attach(session_id=session_id, rows=24, cols=80):
            raise AssertionError
    async with client.attach(session_id=session_id, rows=24, cols=80, mode="viewer") as link:
        assert link.opened.mode == "viewer"
        assert (link.opened.rows, link.opened.cols) == (30, 120)


async def test_s21_a_downgrade_is_felt_at_the_next_frame(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        await link.acknowledge()
        await link.write("a")
        await link.output(b"a")
        await client.call(session.UPDATE, session_id=session_id, access="read-only")
        await link.write("b")
        assert (await link.next_of(frames.Mode)).writer is False
        await link.send(frames.Resize(5, 5))
        await link.in_step()
        info = await client.call(session.GET, session_id=session_id)
        assert (info.bytes_written, info.rows, info.cols, info.clients[0].mode) == (1, 30, 120, "viewer")


async def test_a_kick_ends_one_attachment_and_says_why(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120) as one:
        async with client.attach(session_id=session_id, rows=30, cols=120) as two:
            await two.acknowledge()
            await client.call(
                session.KICK, session_id=session_id, attachment_id=two.opened.attachment_id, reason="move over"
            )
            detached = await two.next_of(frames.Detached)
            assert (detached.reason, detached.text) == ("kicked", "move over")
            with pytest.raises(EOFError):
                await two.next()
        await one.in_step()
        info = await client.call(session.GET, session_id=session_id)
        assert [one.attachment_id for one in info.clients] == [one.opened.attachment_id]
    with pytest.raises(AttachmentNotFound):
        await client.call(session.KICK, session_id=session_id, attachment_id="gone")


async def test_closing_the_session_detaches_everybody(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        await link.acknowledge()
        await client.call(session.CLOSE, session_id=session_id)
        ended = await link.next_of(frames.Exited)
        assert (ended.exit_reason, ended.exit_signal) == ("closed", "SIGHUP")
        # EXITED may already have been the last frame.
        with suppress(EOFError):
            assert (await link.next_of(frames.Detached)).reason == "closed"


async def test_input_after_the_exit_is_harmless(client: Client) -> None:
    # Something that holds the terminal keeps the attachment open.
    session_id = await script(client, "trap '' HUP; read x; sleep 1000 & exit 3", linger_ms=20)
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        await link.acknowledge()
        await link.write("\n")
        assert not (await link.next_of(frames.Exited)).output_closed
        await link.write("late\n")
        await link.send(frames.Resize(5, 5))
        await link.in_step()
    info = await client.call(session.GET, session_id=session_id)
    assert (info.state, info.bytes_written) == ("exited", 1)


async def test_attaching_to_what_has_exited_shows_its_last_screen(client: Client) -> None:
    session_id = await script(client, "echo last words; exit 3")
    await exited(client, session_id)
    async with client.attach(session_id=session_id, rows=24, cols=80) as link:
        frame: frames.Frame
        while not isinstance(frame := await link.next(), frames.Snapshot | frames.Rendered):
            pass
        assert b"last words" in frame.data
        assert (await link.next_of(frames.Exited)).exit_code == 3
    with pytest.raises(SessionExited):
        await client.call(terminal.WRITE, session_id=session_id, data="x")


async def test_r06_a_stalled_viewer_harms_nobody(client: Client) -> None:
    """It gets the present when it comes back; until then the program runs, and the others see everything."""
    session_id = await script(client, "i=0; while read x; do seq 1 60000; echo round $i; i=$((i+1)); done", echo=False)
    async with (
        client.attach(session_id=session_id, rows=30, cols=120, mode="viewer") as stalled,
        client.attach(session_id=session_id, rows=30, cols=120) as lively,
    ):
        await lively.acknowledge()
        for turn in range(4):
            await lively.write("\n")
            await _round(lively, turn)
        info = await client.call(session.GET, session_id=session_id)
        lags = {one.attachment_id: one.lag_bytes for one in info.clients}
        assert lags[stalled.opened.attachment_id] > 0
        # What is on its way to it is bounded by the connection's buffer; then comes the present.
        received = 0
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                frame = await stalled.next()
                if isinstance(frame, frames.Output | frames.Snapshot):
                    received += len(frame.data)
                    if b"round 3" in frame.data:
                        break
        assert received < info.end_offset


async def _round(link: Link, turn: int) -> None:
    wanted, seen = b"round %d\r\n" % turn, b""
    while wanted not in seen:
        frame = await link.next()
        if isinstance(frame, frames.Output | frames.Snapshot):
            seen = (seen + frame.data)[-200_000:] if isinstance(frame, frames.Output) else frame.data + b"\r\n"
            if isinstance(frame, frames.Snapshot) and wanted.strip() in frame.data:
                return
            await link.send(frames.Ack(frame.offset + (len(frame.data) if isinstance(frame, frames.Output) else 0)))


async def test_r07_pause_waits_for_a_lagging_attachment_and_ends_with_it(client: Client) -> None:
    session_id = await script(
        client, "read x; seq 1 200000; exit 4", echo=False, max_output_bytes=65536, overflow="pause"
    )
    async with client.attach(session_id=session_id, rows=30, cols=120) as link:
        await link.acknowledge()
        await link.write("\n")
        waited = await client.call(
            terminal.WAIT, session_id=session_id, until=[{"exit": True}, {"idle_ms": 400}], timeout_ms=PATIENCE_MS
        )
        assert waited.reason == "idle"
        assert (await client.call(session.GET, session_id=session_id)).start_offset == 0
    assert (await exited(client, session_id)).exit_code == 4


async def test_a_ping_is_answered_with_its_token(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120, mode="viewer") as link:
        await link.send(frames.Ping(b"12345678"))
        assert await link.next_of(frames.Pong) == frames.Pong(b"12345678")
