"""Peers that come in drops, or take nothing, over TLS as well: none is kept for ever, and none holds up another."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.web.conftest import Connect, OpenGate
from tests.web.http import PATIENCE_SECONDS, Http, eventually
from tests.web.proofs import UPGRADE

from ptybridge import config
from ptybridge.daemon import Daemon
from ptybridge.web import server
from ptybridge.web.certificates import Certificate, ensure
from ptybridge.web.takeover import ServerConfig


@pytest.fixture
def gate() -> Any:
    return OpenGate


async def drop_by_drop(stream: trio.abc.Stream, data: bytes) -> None:
    """Send a byte at a time, until the peer has had enough of it."""
    over = trio.Event()

    async def listen() -> None:
        try:
            while await stream.receive_some(4096):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # that is a door, too
        over.set()

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            at = 0
            while not over.is_set():
                try:
                    await stream.send_all(data[at : at + 1])
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
                at = (at + 1) % len(data)
                with trio.move_on_after(0.2):
                    await over.wait()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("idle_seconds", [ServerConfig.keep_alive_timeout])
async def test_s11_a_handshake_that_trickles_is_cut_off(connect: Connect, daemon: Daemon) -> None:
    slow, other = await connect(), await connect()
    head = "".join(f"{name}: {value}\r\n" for name, value in [("host", slow.host), *UPGRADE])
    # It would take minutes to the end, if there were one.
    drops = f"GET /v1/sessions/x/attach HTTP/1.1\r\n{head}x: {'y' * 4000}".encode()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drop_by_drop, slow.stream, drops)
        assert (await other.get("/health")).status == 200


class TestOverTls:
    @pytest.fixture
    def made(self, tmp_path: Path) -> Certificate:
        return ensure(tmp_path / "tls", ())

    @pytest.fixture
    def web_settings(self, made: Certificate) -> config.Web:
        # Longer than a busy machine stands still, in the middle of an answer to who does take it.
        return config.Web(enabled=True, port=0, tls_cert=made.cert, tls_key=made.key, send_timeout_ms=5000)

    async def secured(self, daemon: Daemon, made: Certificate) -> Http:
        address = daemon.web.addresses[0]
        context = ssl.create_default_context(cafile=made.authority)
        plain = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
        stream = trio.SSLStream(plain, context, server_hostname="127.0.0.1", https_compatible=True)
        with trio.fail_after(PATIENCE_SECONDS):
            await stream.do_handshake()
        return Http(stream, address)

    async def test_r25_who_takes_nothing_is_given_up_and_the_others_are_served(
        self, daemon: Daemon, made: Certificate
    ) -> None:
        http, stalled = await self.secured(daemon, made), await self.secured(daemon, made)
        command = ["sh", "-c", "exec yes 0123456789012345678901234567890123456789"]
        session_id = (await http.post("/v1/sessions", {"command": command})).json()["session_id"]
        await stalled.send("GET", f"/v1/sessions/{session_id}/events?offset=0")
        await stalled.head()
        for _ in range(20):
            assert (await http.get("/v1/node")).status == 200
        await trio.aclose_forcefully(http.stream)
        await eventually(lambda: daemon.web.connections == 0)
        await trio.aclose_forcefully(stalled.stream)

    async def test_s11_half_a_handshake_is_cut_off(
        self, daemon: Daemon, made: Certificate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(daemon.web._server._config, "ssl_handshake_timeout", 2.0)
        port = int(daemon.web.addresses[0].rpartition(":")[2])
        assert server.HANDSHAKE_SECONDS <= PATIENCE_SECONDS
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            # A record of 512 bytes is announced (RFC 8446, section 5.1), and comes in drops.
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
            await eventually(lambda: daemon.web.connections == 1)
            # Only for that one: who is slow because the machine is busy must get through.
            monkeypatch.setattr(daemon.web._server._config, "ssl_handshake_timeout", PATIENCE_SECONDS)
            other = await self.secured(daemon, made)
            assert (await other.get("/health")).status == 200
            await drop_by_drop(stream, b"\x00")
            await trio.aclose_forcefully(other.stream)
