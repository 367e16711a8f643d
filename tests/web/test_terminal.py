"""The terminal's WebSocket: attaching as over the daemon's socket; plain, over TLS, and with ASGI's messages."""

import subprocess
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import raw_cat, script, until
from tests.web.http import PATIENCE_SECONDS
from tests.web.terminals import Front, WebLink, ended, path_of

from ptybridge import config
from ptybridge.api import session, terminal
from ptybridge.daemon import Daemon
from ptybridge.model import Caller
from ptybridge.web import terminal as web_terminal
from ptybridge.web.terminal import SUBPROTOCOL
from ptybridge.wire import attach as frames


@pytest.fixture
def web_settings() -> config.Web:
    """The daemon's own front stays closed: these tests serve the terminals alone."""
    return config.Web()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture(params=["plain", "tls", "asgi"])
async def front(
    request: pytest.FixtureRequest, daemon: Daemon, certificate: tuple[str, str], nursery: trio.Nursery
) -> AsyncIterator[Front]:
    front = Front(daemon.web.web)
    front.over_asgi = request.param == "asgi"
    front.certificate = certificate if request.param == "tls" else None
    await nursery.start(front.serve)
    yield front
    front.stopping.set()
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await front.stopped.wait()


@pytest.fixture
def client(daemon: Daemon) -> LocalClient:
    return LocalClient(daemon)


async def test_the_answer_then_the_screen_then_what_follows(front: Front, client: LocalClient) -> None:
    session_id = await script(client, r"printf 'first\r\nsecond'; read x; printf third; exit 3", name="n")
    await until(client, session_id, "second")
    async with front.attach(session_id) as link:
        assert (link.opened["session_id"], link.opened["mode"]) == (session_id, "writer")
        assert link.connection.subprotocol == SUBPROTOCOL
        assert await link.next() == frames.Resized(30, 120)
        snapshot = await link.next_of(frames.Snapshot)
        assert b"second" in snapshot.data
        await link.send(frames.Ack(snapshot.offset))
        await link.write("\n")
        await link.output(b"third")
        exited = await link.next_of(frames.Exited)
        assert exited.exit_code == 3
        await link.send(frames.Ack(exited.end_offset))
        assert await link.next_of(frames.Detached) == frames.Detached("exited")
        assert await ended(link.connection) == (1000, "exited")


async def test_each_message_is_one_frame(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        for text in ("a", "b" * 200, "c" * 70_000):
            await link.write(text)
            seen = b""
            while len(seen) < len(text):
                message = await link.receive_bytes()
                (frame,) = frames.FrameBuffer().feed(message)
                assert isinstance(frame, frames.Output)
                seen += frame.data
            assert seen == text.encode()


async def test_input_of_many_frames_in_a_message_and_of_a_frame_in_many_messages(
    front: Front, client: LocalClient
) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        await link.send(frames.Input(b"one "), frames.Input(b"two "))
        for byte in frames.encode(frames.Input(b"three.")):
            await link.send_bytes(bytes([byte]))
        await link.send_bytes(b"")
        assert await link.output(b".") == b"one two three."


async def test_a_flood_arrives_byte_for_byte(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "read x; seq 1 200000", echo=False, overflow="pause")
    async with front.attach(session_id) as link:
        await link.acknowledge()
        await link.write("\n")
        assert await flood(link) == b"".join(b"%d\r\n" % n for n in range(1, 200_001))


async def flood(link: WebLink) -> bytes:
    """Acknowledge and collect output up to the exit."""
    seen = bytearray()
    with trio.fail_after(PATIENCE_SECONDS):
        while not isinstance(frame := await link.next(), frames.Exited):
            if isinstance(frame, frames.Output):
                seen += frame.data
                await link.send(frames.Ack(frame.offset + len(frame.data)))
    return bytes(seen)


async def test_r25_a_lost_connection_is_resumed_by_offset(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "read x; seq 1 50000; read x; exit 0", echo=False)
    seen, at = bytearray(), 0
    async with front.attach(session_id) as link:
        at = (await link.acknowledge()).offset
        await link.write("\n")
        while len(seen) < 100_000:
            frame = await link.next_of(frames.Output)
            seen += frame.data
            at += len(frame.data)
            await link.send(frames.Ack(at))
        await link.connection._stream.aclose()  # no close frame, no goodbye
    wanted = b"".join(b"%d\r\n" % n for n in range(1, 50_001))
    async with front.attach(session_id, offset=at) as link:
        while len(seen) < len(wanted):
            frame = await link.next_of(frames.Output)
            assert frame.offset == at
            seen += frame.data
            at += len(frame.data)
            await link.send(frames.Ack(at))
    assert bytes(seen) == wanted


async def test_r24_a_tab_that_shows_nothing_for_long_gets_the_present(front: Front, client: LocalClient) -> None:
    """Its browser takes everything at once; only the acknowledgements tell that nothing is drawn."""
    session_id = await script(
        client, "read x; seq 1 400000; echo 'the end'; read x", echo=False, max_output_bytes=65536
    )
    async with front.attach(session_id, window=65536) as hidden, front.attach(session_id) as shown:
        await shown.acknowledge()
        first = await hidden.next_of(frames.Snapshot)
        await shown.write("\n")
        await until(client, session_id, "the end", offset=None, client_id="other")
        await hidden.in_step()
        taken = [one for one in hidden.ready if isinstance(one, frames.Output)]
        hidden.ready.clear()
        assert sum(len(one.data) for one in taken) <= 65536
        info = await client.call(session.GET, session_id=session_id)
        lags = {one.attachment_id: one.lag_bytes for one in info.clients}
        assert lags[hidden.opened["attachment_id"]] > 65536
        await hidden.send(frames.Ack(taken[-1].offset + len(taken[-1].data) if taken else first.offset))
        await hidden.next_of(frames.Gap)
        assert b"the end" in (await hidden.next_of(frames.Snapshot)).data


async def test_two_see_the_same(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as one, front.attach(session_id, mode="viewer") as other:
        await one.acknowledge()
        await other.acknowledge()
        await one.write("both")
        assert await one.output(b"both") == await other.output(b"both") == b"both"
        await other.write("nothing")
        await other.in_step()
        await one.write(".")
        assert await one.output(b".") == b"."


async def test_who_may_only_read_becomes_a_viewer(front: Front, client: LocalClient) -> None:
    front.caller = Caller(principal="key:r", connection_id="w2", scopes=frozenset({"session:read"}))
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        assert link.opened["mode"] == "viewer"
    async with front.open(path_of(session_id, mode="writer")) as connection:
        error = msgspec.json.decode(await connection.get_message())["error"]
        assert error["code"] == "denied"
        assert await ended(connection) == (4403, "denied")


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/v1/sessions/nobody/attach", 4404, "session_not_found"),
        ("/v1/sessions/nobody/attach?rows=0", 4400, "invalid_params"),
        ("/v1/sessions/nobody/attach?colour=red", 4400, "invalid_params"),
        ("/v1/sessions/nobody/attach?mode=text", 4404, "session_not_found"),
    ],
)
async def test_a_refusal_is_told_before_the_close(front: Front, path: str, code: int, reason: str) -> None:
    async with front.open(path, ()) as connection:
        assert msgspec.json.decode(await connection.get_message())["error"]["code"] == reason
        assert await ended(connection) == (code, reason)


async def test_without_a_login_it_closes_with_4401(front: Front, client: LocalClient) -> None:
    front.caller = None
    async with front.open(path_of(await raw_cat(client))) as connection:
        assert await ended(connection) == (4401, "unauthenticated")


async def test_s09_revoking_a_login_ends_its_terminals(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "yes", echo=False)
    async with front.attach(session_id) as link, front.attach(session_id) as stalled:
        await link.acknowledge()
        await stalled.next_of(frames.Snapshot)
        front.authority.revoked.set()
        assert await ended(link.connection) == (4401, "revoked")
        assert await ended(stalled.connection) == (4401, "revoked")


async def test_stopping_says_1001(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        front.stopping.set()
        assert (await ended(link.connection))[0] == 1001
    with trio.fail_after(PATIENCE_SECONDS):
        await front.stopped.wait()


async def test_being_kicked_is_told(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        await client.call(session.KICK, session_id=session_id, attachment_id=link.opened["attachment_id"])
        assert (await link.next_of(frames.Detached)).reason == "kicked"
        assert (await ended(link.connection))[0] == 1000


async def test_text_is_refused_on_a_binary_connection(front: Front, client: LocalClient) -> None:
    async with front.attach(await raw_cat(client)) as link:
        await link.connection.send_message("hello")
        assert (await ended(link.connection))[0] == 1003


async def test_frames_that_make_no_sense_are_told_and_end_it(front: Front, client: LocalClient) -> None:
    async with front.attach(await raw_cat(client)) as link:
        await link.acknowledge()
        await link.send_bytes(b"\x02\x00\x00\x00\x01x")
        assert (await link.next_of(frames.Error)).code == "invalid_request"
        assert await ended(link.connection) == (4400, "protocol_error")


async def test_200_viewers_see_the_same(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    seen: list[bytes] = []
    count = 0
    ready = trio.Event()

    async def watch() -> None:
        nonlocal count
        async with front.attach(session_id, mode="viewer") as link:
            await link.acknowledge()
            count += 1
            if count == 200:
                ready.set()
            seen.append(await link.output(b"end"))

    with trio.fail_after(3 * PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(watch)
            await ready.wait()
            await client.call(terminal.WRITE, session_id=session_id, data="x" * 10_000 + "end")
    assert seen == [b"x" * 10_000 + b"end"] * 200


async def test_r25_a_dead_peer_is_noticed_and_a_quiet_one_is_kept(
    front: Front, client: LocalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_terminal, "PING_SECONDS", 0.05)
    # Longer than a busy machine lets everybody stand still.
    monkeypatch.setattr(web_terminal, "DEAD_SECONDS", 5.0)
    session_id = await raw_cat(client)
    async with front.attach(session_id, client_id="quiet") as quiet:
        await quiet.acknowledge()
        dead = await trio.open_tcp_stream("127.0.0.1", front.port) if front.tls is None else None
        if dead is not None:  # it says hello and never answers a ping
            await dead.send_all(handshake(front.port, path_of(session_id, client_id="dead")))
            await clients(client, session_id, {"quiet", "dead"})
        beating = trio.CancelScope()

        async def answer() -> None:
            with beating:
                while True:
                    frame = await quiet.next()
                    if isinstance(frame, frames.Ping):
                        await quiet.send(frames.Pong(frame.token))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await trio.sleep(5.5)
            await clients(client, session_id, {"quiet"})
            beating.cancel()
        # trio-websocket trips over a ping that comes while it closes.
        monkeypatch.setattr(web_terminal, "PING_SECONDS", 1000.0)
        await trio.sleep(0.2)
        if dead is not None:
            await dead.aclose()


async def clients(client: LocalClient, session_id: str, wanted: set[str]) -> None:
    """Wait until just these are attached."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            info: Any = await client.call(session.GET, session_id=session_id)
            if {one.client_id for one in info.clients} == wanted:
                return
            await trio.sleep(0.02)


def handshake(port: int, path: str, *headers: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()
