"""`ack_window_bytes`: a client that takes everything and shows it slowly, or not at all for an hour."""

import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client, Link
from tests.contract.programs import exited, raw_cat, script, until

from ptybridge.api import terminal
from ptybridge.wire import attach as frames

WINDOW = 65536


async def first(link: Link) -> frames.Snapshot:
    """Take the snapshot without acknowledging anything."""
    return await link.next_of(frames.Snapshot)


async def test_r24_no_more_is_sent_than_the_window_allows(client: Client) -> None:
    session_id = await script(
        client, "read x; seq 1 100000; echo 'the end'; read x", echo=False, max_output_bytes=65536
    )
    async with client.attach(session_id=session_id, rows=30, cols=120, ack_window_bytes=WINDOW) as link:
        start = (await first(link)).offset
        await link.write("\n")
        await until(client, session_id, "the end", offset=None, client_id="other")
        await link.in_step()
        got = [frame for frame in link.ready if isinstance(frame, frames.Output)]
        link.ready.clear()
        # Its share of what is sent waits for the acknowledgement, however much has been printed meanwhile.
        assert got
        assert sum(len(frame.data) for frame in got) <= WINDOW
        at = got[-1].offset + len(got[-1].data)
        assert at - start <= WINDOW
        await link.send(frames.Ack(at))
        # The ring has long gone on: what is missing is told, and then comes the present.
        gap = await link.next_of(frames.Gap)
        assert gap.start == at
        snapshot = await link.next_of(frames.Snapshot)
        assert snapshot.offset == gap.end
        assert b"the end" in snapshot.data


async def test_who_acknowledges_in_large_steps_is_led_past_a_gap_too(client: Client) -> None:
    session_id = await script(
        client, "read x; seq 1 100000; echo 'the end'; read x", echo=False, max_output_bytes=65536
    )
    async with client.attach(session_id=session_id, rows=30, cols=120, ack_window_bytes=WINDOW) as link:
        await link.acknowledge()
        await link.write("\n")
        await until(client, session_id, "the end", offset=None, client_id="other")
        await link.in_step()
        got = [frame for frame in link.ready if isinstance(frame, frames.Output)]
        link.ready.clear()
        at = got[-1].offset + len(got[-1].data)
        # The rest is less than a step of its own, so it says nothing more until something comes.
        await link.send(frames.Ack(at - WINDOW // 2))
        gap = await link.next_of(frames.Gap)
        assert gap.start == at
        assert b"the end" in (await link.next_of(frames.Snapshot)).data


async def test_acknowledging_keeps_everything_coming(client: Client) -> None:
    session_id = await script(
        client, "read x; seq 1 100000; exit 3", echo=False, max_output_bytes=65536, overflow="pause"
    )
    async with client.attach(session_id=session_id, rows=30, cols=120, ack_window_bytes=4096) as link:
        await link.acknowledge()
        await link.write("\n")
        seen = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            while not isinstance(frame := await link.next(), frames.Exited):
                if isinstance(frame, frames.Output):
                    assert len(frame.data) <= 4096
                    seen += frame.data
                    await link.send(frames.Ack(frame.offset + len(frame.data)))
        assert bytes(seen) == b"".join(b"%d\r\n" % n for n in range(1, 100001))


async def test_r27_the_end_waits_for_the_last_acknowledgement(client: Client) -> None:
    session_id = await script(client, "read x; echo last words; exit 3", echo=False)
    async with client.attach(session_id=session_id, rows=30, cols=120, ack_window_bytes=WINDOW) as link:
        await link.acknowledge()
        await link.write("\n")
        await link.output(b"last words\r\n")
        ended = await link.next_of(frames.Exited)
        await exited(client, session_id)
        # It answers still, so it has not gone; and nothing says that it is over.
        await link.in_step()
        assert not link.ready
        await link.send(frames.Ack(ended.end_offset))
        assert await link.next() == frames.Detached("exited")


async def test_pictures_for_another_size_wait_for_each_other(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=20, cols=60, mode="viewer", ack_window_bytes=WINDOW) as link:
        picture = await link.next_of(frames.Rendered)
        for n in range(5):
            await client.call(terminal.WRITE, session_id=session_id, data=f"<{n}>")
            await until(client, session_id, f"<{n}>")
        await link.in_step()
        assert not link.ready
        await link.send(frames.Ack(picture.offset))
        assert b"<4>" in (await link.next_of(frames.Rendered)).data


async def test_a_window_is_checked(client: Client) -> None:
    session_id = await raw_cat(client)
    async with client.attach(session_id=session_id, rows=30, cols=120, ack_window_bytes=WINDOW) as link:
        # An acknowledgement of what nobody has sent gives no credit for it.
        await link.send(frames.Ack(1 << 60))
        await link.acknowledge()
        await link.write("x" * 2 * WINDOW)
        seen = 0
        while seen < WINDOW:
            seen += len((await link.next_of(frames.Output)).data)
        await link.in_step()
        assert seen + sum(len(one.data) for one in link.ready if isinstance(one, frames.Output)) == WINDOW
