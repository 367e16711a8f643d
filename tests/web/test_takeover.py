"""What the take-over relies on in Hypercorn 0.18; when one of these fails, look at `web/takeover.py` first."""

import inspect
from collections.abc import AsyncIterator
from typing import Any

import hypercorn.trio.run
import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import raw_cat
from tests.web.http import PATIENCE_SECONDS, connected
from tests.web.terminals import Front, ended, path_of
from tests.web.test_terminal import certificate, handshake, web_settings

from ptybridge.daemon import Daemon
from ptybridge.web.takeover import Takeover, install

__all__ = ["certificate", "web_settings"]

IDLE = {"keep_alive_timeout": 1.0, "read_timeout": 1.0}
PATIENT = {"keep_alive_timeout": 600.0, "read_timeout": 600.0}


@pytest.fixture
def timeouts() -> dict[str, float]:
    """Hypercorn's; a test in which a connection waits for others needs longer ones."""
    return IDLE


@pytest.fixture(params=["plain", "tls"])
async def front(
    request: pytest.FixtureRequest,
    daemon: Daemon,
    certificate: tuple[str, str],
    timeouts: dict[str, float],
    nursery: trio.Nursery,
) -> AsyncIterator[Front]:
    front = Front(daemon.web.web)
    front.certificate = certificate if request.param == "tls" else None
    front.settings = timeouts
    await nursery.start(front.serve)
    yield front
    front.stopping.set()
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await front.stopped.wait()


@pytest.fixture
def client(daemon: Daemon) -> LocalClient:
    return LocalClient(daemon)


def test_hypercorn_is_as_expected() -> None:
    parameters: list[Any] = list(inspect.signature(TCPServer.__init__).parameters)
    assert parameters == ["self", "app", "config", "context", "state", "stream"]
    for name in ("run", "protocol_send", "_read_data"):
        assert inspect.iscoroutinefunction(getattr(TCPServer, name))
    install()
    module: Any = hypercorn.trio.run
    assert module.TCPServer is Takeover


async def test_the_handler_gets_the_stream_and_nothing_follows_the_close(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        await link.write("hello")
        await link.output(b"hello")
        assert front.kinds == [True]
    if front.tls is not None:
        return
    # By hand, to see every byte: after the answer to our close comes the end, and no HTTP.
    async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
        await stream.send_all(handshake(front.port, path_of(session_id, mode="viewer")))
        seen = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            while b"attached" not in seen:
                seen += await stream.receive_some(65536)
            await stream.send_all(b"\x88\x82\0\0\0\0\x03\xe8")
            while data := await stream.receive_some(65536):
                seen += data
        assert seen.startswith(b"HTTP/1.1 101 ")
        assert seen.endswith(b"\x88\x02\x03\xe8")
        assert seen.count(b"HTTP/1.1") == 1


async def test_it_outlives_hypercorns_own_timeouts(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        await trio.sleep(2.5)
        await link.write("still here")
        await link.output(b"still here")


async def test_stopping_ends_open_terminals_within_the_grace_time(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.attach(session_id) as link:
        await link.acknowledge()
        front.stopping.set()
        assert await ended(link.connection) == (1001, "the server stops")
        with trio.fail_after(PATIENCE_SECONDS):
            await front.stopped.wait()


@pytest.mark.parametrize("timeouts", [PATIENT])
@pytest.mark.parametrize("front", ["plain"], indirect=True)
async def test_ordinary_requests_go_on_before_and_beside_it(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with connected(f"127.0.0.1:{front.port}") as http:
        async with front.attach(session_id) as link:
            await link.acknowledge()
            assert (await http.request("GET", "/")).status == 200
            assert (await http.request("GET", "/")).status == 200
            # The upgrade as a later request of a connection that was kept alive.
            await http.stream.send_all(handshake(front.port, path_of(session_id, mode="viewer")))
            with trio.fail_after(PATIENCE_SECONDS):
                answer = bytes(await http.stream.receive_some(65536))
            assert answer.startswith(b"HTTP/1.1 101 ")
            await link.write("x")
            await link.output(b"x")


@pytest.mark.parametrize("front", ["tls"], indirect=True)
async def test_a_connection_that_is_no_http_1_1_is_not_taken(front: Front) -> None:
    context = front.tls
    assert context is not None
    context.set_alpn_protocols(["h2"])
    tcp = await trio.open_tcp_stream("127.0.0.1", front.port)
    stream: trio.SSLStream[trio.SocketStream] = trio.SSLStream(tcp, context, server_hostname="localhost")
    await stream.do_handshake()
    assert stream.selected_alpn_protocol() == "h2"
    await extended_connect(stream, front)
    await trio.aclose_forcefully(stream)


async def extended_connect(stream: trio.abc.Stream, front: Front) -> None:
    """Open a WebSocket over HTTP/2 (RFC 8441), see the refusal of an unknown session, and its close."""
    import h2.config
    import h2.connection
    import h2.events
    from wsproto import events
    from wsproto.connection import Connection, ConnectionType

    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    http.initiate_connection()
    await stream.send_all(http.data_to_send())
    websocket = Connection(ConnectionType.CLIENT)
    asked = False
    status, code, text = "", 0, ""
    with trio.fail_after(PATIENCE_SECONDS):
        while not code:
            for event in http.receive_data(bytes(await stream.receive_some(65536))):
                if isinstance(event, h2.events.RemoteSettingsChanged) and not asked:
                    asked = True
                    head = [
                        (":method", "CONNECT"),
                        (":protocol", "websocket"),
                        (":scheme", "https"),
                        (":authority", f"localhost:{front.port}"),
                        (":path", path_of("nobody")),
                        ("sec-websocket-version", "13"),
                    ]
                    http.send_headers(1, head)
                elif isinstance(event, h2.events.ResponseReceived):
                    status = str(event.headers[0][1])
                elif isinstance(event, h2.events.DataReceived):
                    websocket.receive_data(event.data)
                    for message in websocket.events():
                        if isinstance(message, events.TextMessage):
                            text += message.data
                        elif isinstance(message, events.CloseConnection):
                            code = int(message.code)
            await stream.send_all(http.data_to_send())
    assert status == "200"
    assert "session_not_found" in text
    assert code == 4404
    assert not front.kinds
