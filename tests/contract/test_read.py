"""`session.read`: offsets, positions, gaps, characters, streams, the end."""

import base64
import random
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, exited, is_waited_on, output, raw_cat, script, start, until

from ptybridge.api import session, terminal
from ptybridge.daemon import Daemon
from ptybridge.errors import InvalidParams


async def test_a_new_clients_position_is_the_start_of_what_is_kept(connect: Connect) -> None:
    client, other = await connect(), await connect()
    session_id = await script(client, "echo one; read x; echo two; read x")
    await until(client, session_id, "one\r\n", offset=0)
    first = await client.call(terminal.READ, session_id=session_id)
    assert (first.offset, first.data.rstrip()) == (0, "one")
    again = await client.call(terminal.READ, session_id=session_id)
    assert (again.data, again.offset, again.eof) == ("", first.next_offset, False)
    # Another connection and another name have positions of their own.
    assert (await other.call(terminal.READ, session_id=session_id)).offset == 0
    named = await client.call(terminal.READ, session_id=session_id, client_id="me", max_bytes=4)
    assert named.next_offset == 4
    # A name's position belongs to whoever uses the name.
    assert (await other.call(terminal.READ, session_id=session_id, client_id="me")).offset == 4


async def test_an_explicit_offset_moves_no_position(client: Client) -> None:
    session_id = await script(client, "printf 0123456789")
    await exited(client, session_id)
    read = await client.call(terminal.READ, session_id=session_id, offset=4, max_bytes=3)
    assert (read.data, read.offset, read.next_offset, read.missed_bytes) == ("456", 4, 7, 0)
    assert (await client.call(terminal.READ, session_id=session_id)).offset == 0


async def test_end_of_file_only_when_closed_and_read_out(client: Client) -> None:
    session_id = await script(client, "printf 0123456789")
    await exited(client, session_id)
    half = await client.call(terminal.READ, session_id=session_id, max_bytes=5)
    assert (half.data, half.eof) == ("01234", False)
    rest = await client.call(terminal.READ, session_id=session_id, max_bytes=5)
    assert (rest.data, rest.eof) == ("56789", True)
    after = await client.call(terminal.READ, session_id=session_id, timeout_ms=PATIENCE_MS)
    assert (after.data, after.eof, after.offset) == ("", True, 10)


async def test_a_read_waits_for_output_or_its_time_out(client: Client) -> None:
    session_id = await start(client, "cat", echo=False)
    nothing = await client.call(terminal.READ, session_id=session_id, timeout_ms=20)
    assert (nothing.data, nothing.eof) == ("", False)
    await client.call(terminal.WRITE, session_id=session_id, data="there\n")
    some = await client.call(terminal.READ, session_id=session_id, timeout_ms=PATIENCE_MS)
    assert some.data.startswith("t")


async def test_a_read_in_flight_ends_with_the_session(connect: Connect, daemon: Daemon) -> None:
    client, other = await connect(), await connect()
    session_id = await start(client, "cat")
    async with trio.open_nursery() as nursery:
        ends: list[terminal.Output] = []

        async def read() -> None:
            ends.append(await client.call(terminal.READ, session_id=session_id, timeout_ms=PATIENCE_MS))

        nursery.start_soon(read)
        await is_waited_on(daemon, session_id)
        await other.call(session.CLOSE, session_id=session_id)
    assert ends[0].eof


async def test_what_the_ring_has_dropped_is_counted_and_never_an_error(client: Client) -> None:
    session_id = await script(client, "seq 1 50000", max_output_bytes=65536)
    done = await exited(client, session_id)
    assert done.start_offset > 0
    assert done.end_offset - done.start_offset <= 65536
    old = await client.call(terminal.READ, session_id=session_id, offset=10, max_bytes=1 << 20)
    assert old.offset == done.start_offset
    assert old.missed_bytes == done.start_offset - 10
    assert old.next_offset == done.end_offset
    assert old.data.endswith("50000\r\n")
    # A new client begins at what is kept, and has missed nothing.
    fresh = await client.call(terminal.READ, session_id=session_id, max_bytes=16)
    assert (fresh.offset, fresh.missed_bytes) == (done.start_offset, 0)


async def test_a_position_the_ring_has_overtaken_is_told_so(client: Client) -> None:
    session_id = await script(client, "echo first; read x; seq 1 50000", max_output_bytes=65536)
    await until(client, session_id, "first\r\n")
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    done = await exited(client, session_id)
    read = await client.call(terminal.READ, session_id=session_id)
    assert read.missed_bytes == done.start_offset - len("first\r\n")


async def test_an_offset_beyond_the_end_waits_there(client: Client) -> None:
    session_id = await raw_cat(client)
    early = await client.call(terminal.READ, session_id=session_id, offset=5)
    assert (early.data, early.offset, early.next_offset, early.missed_bytes) == ("", 5, 5, 0)
    await client.call(terminal.WRITE, session_id=session_id, data="0123")
    late = await client.call(terminal.READ, session_id=session_id, offset=5, timeout_ms=PATIENCE_MS)
    assert late.offset == 5
    assert late.data[0] == "2"


# -- characters ----------------------------------------------------------------------------------------------


async def test_r10_a_character_is_never_split(client: Client) -> None:
    session_id = await raw_cat(client)
    for byte in "€".encode()[:2]:
        data = base64.b64encode(bytes([byte])).decode()
        await client.call(terminal.WRITE, session_id=session_id, data=data, encoding="base64")
    await until(client, session_id, "up\n", offset=0)
    with trio.fail_after(PATIENCE_MS / 1000):
        while True:
            if (await client.call(session.GET, session_id=session_id)).end_offset >= 5:
                break
    # 100 ms after the last byte half a character is given out as it is, so a busy machine may come too late.
    polled = await client.call(terminal.READ, session_id=session_id, offset=3)
    assert (polled.data, polled.next_offset) == ("", 3) or polled.lossy


async def test_r10_an_unfinished_character_is_held_back_but_not_for_ever(client: Client) -> None:
    session_id = await raw_cat(client)
    data = base64.b64encode(b"a\xe2\x82").decode()
    await client.call(terminal.WRITE, session_id=session_id, data=data, encoding="base64")
    first = await until(client, session_id, "a", offset=3)
    rest = await client.call(terminal.READ, session_id=session_id, offset=first.next_offset, timeout_ms=PATIENCE_MS)
    assert (rest.data, rest.lossy) == ("\ufffd", True)


async def test_an_unfinished_character_at_the_end_is_told_as_lossy(client: Client) -> None:
    session_id = await script(client, r"printf 'a\342\202'")
    await exited(client, session_id)
    read = await client.call(terminal.READ, session_id=session_id, timeout_ms=PATIENCE_MS)
    assert (read.data, read.lossy, read.eof, read.next_offset) == ("a\ufffd", True, True, 3)


async def test_bytes_come_whole_as_base64(client: Client) -> None:
    session_id = await script(client, r"printf '\377\000\342'")
    await exited(client, session_id)
    read = await client.call(terminal.READ, session_id=session_id, encoding="base64")
    assert base64.b64decode(read.data) == b"\xff\x00\xe2"
    assert (read.encoding, read.lossy) == ("base64", False)


CHARACTERS = "aß€😀\n"


@pytest.mark.parametrize("seed", range(8))
async def test_r10_reads_of_any_size_make_up_the_text(client: Client, seed: int) -> None:
    # Hypothesis cannot be used: its examples would have to share one daemon.
    dice = random.Random(seed)
    sizes = [dice.randint(1, 9) for _ in range(dice.randint(1, 20))]
    text = "".join(dice.choices(CHARACTERS, k=40))
    session_id = await start(client, "printf", "%s", text, backend="pipes")
    await exited(client, session_id)
    seen, offset, turn = "", 0, 0
    while True:
        limit = sizes[turn % len(sizes)]
        read = await client.call(terminal.READ, session_id=session_id, offset=offset, max_bytes=limit)
        assert not read.lossy
        assert len(read.data.encode()) <= max(limit, 4)
        seen += read.data
        offset = read.next_offset
        turn += 1
        if read.eof:
            break
        assert read.data
    assert seen == text


# -- pipes ---------------------------------------------------------------------------------------------------

WAIT = "while ! [ -e %s ]; do sleep 0.01; done"
BOTH = f"printf out1; {WAIT % 'go'}; printf err1 >&2; {WAIT % 'gone'}; printf out2"


async def test_pipes_have_streams_with_offsets_of_their_own(client: Client, tmp_path: Path) -> None:
    session_id = await script(client, BOTH, backend="pipes", cwd=str(tmp_path))
    await until(client, session_id, "out1")
    (tmp_path / "go").touch()
    await until(client, session_id, "err1")
    (tmp_path / "gone").touch()
    done = await exited(client, session_id)
    assert done.streams is not None
    assert {name: (one.start_offset, one.end_offset) for name, one in done.streams.items()} == {
        "stdout": (0, 8),
        "stderr": (0, 4),
    }
    merged = await client.call(terminal.READ, session_id=session_id, offset=0)
    assert merged.data == "out1err1out2"
    out = await client.call(terminal.READ, session_id=session_id, stream="stdout")
    assert (out.data, out.offset, out.next_offset, out.eof) == ("out1out2", 0, 8, True)
    err = await client.call(terminal.READ, session_id=session_id, stream="stderr", offset=1)
    assert (err.data, err.offset, err.next_offset, err.eof) == ("rr1", 1, 4, True)
    # Each stream has a position of its own.
    assert (await client.call(terminal.READ, session_id=session_id, stream="stdout")).data == ""
    assert (await client.call(terminal.READ, session_id=session_id, stream="stderr")).data == "err1"


async def test_an_overtaken_stream_counts_its_own_missed_bytes(client: Client) -> None:
    text = "seq 1 20000 >&2; printf '%0100d' 0"
    session_id = await script(client, text, backend="pipes", max_output_bytes=65536)
    done = await exited(client, session_id)
    assert done.streams is not None
    err = await client.call(terminal.READ, session_id=session_id, stream="stderr", offset=0, max_bytes=1 << 20)
    assert err.missed_bytes == done.streams["stderr"].start_offset > 0
    assert err.next_offset == done.streams["stderr"].end_offset
    assert err.data.endswith("20000\n")
    out = await client.call(terminal.READ, session_id=session_id, stream="stdout", offset=0)
    assert (out.missed_bytes, out.data) == (0, "0" * 100)


async def test_a_terminal_has_no_separate_streams(client: Client) -> None:
    session_id = await script(client, "echo x")
    with pytest.raises(InvalidParams, match="pipes"):
        await client.call(terminal.READ, session_id=session_id, stream="stderr")
    assert await output(client, session_id) == "x\r\n"


@pytest.mark.parametrize(
    "params",
    [{"offset": -1}, {"max_bytes": 0}, {"timeout_ms": -1}, {"encoding": "hex"}, {"stream": "stdin"}, {"offset": 2**64}],
)
async def test_wrong_parameters_are_refused(client: Client, params: dict[str, object]) -> None:
    session_id = await script(client, "echo x")
    with pytest.raises(InvalidParams):
        await client.call_raw("session.read", {"session_id": session_id} | params)
