"""Peers that take nothing, say nothing, or come in crowds hold nobody up, and the end least of all."""

import resource
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from tests.web.conftest import Connect, OpenGate
from tests.web.http import PATIENCE_SECONDS, Http, eventually

from ptybridge import config
from ptybridge.daemon import Daemon
from ptybridge.web.takeover import ServerConfig

CROWD = 1000
# The server's own.
IDLE_SECONDS = ServerConfig.keep_alive_timeout


@pytest.fixture
def gate() -> Any:
    return OpenGate


async def stall(http: Http, connect: Connect) -> Http:
    """Return a connection whose peer asks for a flood and reads none of it, once the daemon has nowhere to put it."""
    command = ["sh", "-c", "exec yes 0123456789012345678901234567890123456789"]
    session_id = (await http.post("/v1/sessions", {"command": command})).json()["session_id"]
    stalled = await connect()
    await stalled.send("GET", f"/v1/sessions/{session_id}/events?offset=0")
    await stalled.head()
    return stalled


class TestStalled:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(enabled=True, port=0, send_timeout_ms=3_600_000, grace_ms=300)

    async def test_the_end_does_not_wait_for_it(self, http: Http, connect: Connect, daemon: Daemon) -> None:
        await stall(http, connect)
        await stuck(daemon)
        with trio.fail_after(PATIENCE_SECONDS):
            await daemon.web.close(for_good=True)
        assert daemon.web._ended.is_set()
        assert daemon.web.connections == 0

    async def test_others_are_served(self, http: Http, connect: Connect, daemon: Daemon) -> None:
        await stall(http, connect)
        await stuck(daemon)
        for _ in range(20):
            assert (await http.get("/v1/node")).status == 200


class TestGivenUp:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(enabled=True, port=0, send_timeout_ms=200)

    async def test_who_takes_nothing_for_too_long_is_given_up(
        self, http: Http, connect: Connect, daemon: Daemon
    ) -> None:
        await stall(http, connect)
        await eventually(lambda: daemon.web.connections == 1)
        assert (await http.get("/v1/node")).status == 200


async def stuck(daemon: Daemon) -> None:
    """Wait until a send has been under way for a while."""
    sends = daemon.web._server._sends
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            before = set(sends._under_way)
            await trio.sleep(0.3)
            if before & sends._under_way:
                return


NOT_TO_THE_POINT = (b"", b"GET /health HTTP/1.1\r\nhost: ", b"GET / HTTP/1.1\r\nx: " + b"y" * 4000, b"\x16\x03\x01")


@pytest.mark.parametrize("idle_seconds", [IDLE_SECONDS])
async def test_s11_who_does_not_come_to_the_point_is_shown_the_door(connect: Connect, daemon: Daemon) -> None:
    slow = [await connect() for _ in NOT_TO_THE_POINT]
    for one, said in zip(slow, NOT_TO_THE_POINT, strict=True):
        await one.stream.send_all(said)
    assert (await (await connect()).get("/health")).status == 200
    for one in slow:
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                while await one.stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass  # that is a door, too


async def test_s11_who_has_asked_something_does_not_stay_for_ever(
    connect: Connect, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = await connect()
    for _ in range(3):
        assert (await http.get("/health")).status == 200
    monkeypatch.setattr(ServerConfig, "between_timeout", 0.05)
    assert (await http.get("/health")).status == 200
    await eventually(lambda: daemon.web.connections == 0)


@pytest.mark.parametrize(
    "head", ["GET /health HTTP/1.1\r\nconnection: close\r\n", "GET /health HTTP/1.0\r\n", "GET /v1/node HTTP/1.0\r\n"]
)
async def test_a_connection_ends_with_its_last_answer(http: Http, connect: Connect, daemon: Daemon, head: str) -> None:
    last = await connect()
    await last.stream.send_all(f"{head}host: {http.host}\r\n\r\n".encode())
    seen = bytearray()
    with trio.fail_after(PATIENCE_SECONDS):
        while data := await last.stream.receive_some():
            seen += data
    assert seen.startswith(b"HTTP/1.1 200 ")
    assert seen.endswith(b"}")
    await eventually(lambda: daemon.web.connections == 1)


@pytest.mark.parametrize("path", ["/health", "/v1/node"])
async def test_s11_who_asks_much_at_once_and_leaves_is_forgotten(connect: Connect, daemon: Daemon, path: str) -> None:
    for _ in range(3):
        http = await connect()
        await http.stream.send_all(f"GET {path} HTTP/1.1\r\nhost: {http.host}\r\n\r\n".encode() * 100)
        await http.stream.aclose()
    await eventually(lambda: daemon.web.connections == 0)


async def test_a_head_without_end_is_refused(connect: Connect) -> None:
    http = await connect()
    with trio.fail_after(PATIENCE_SECONDS):
        try:
            await http.stream.send_all(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000)
            assert bytes(await http.stream.receive_some()).startswith(b"HTTP/1.1 4")
        except trio.BrokenResourceError:
            pass  # it was closed while we were still talking


@pytest.fixture
def many_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 8192), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("idle_seconds", [IDLE_SECONDS])
async def test_s11_a_thousand_who_say_nothing_are_no_trouble(connect: Connect, daemon: Daemon) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    idle = [await connect() for _ in range(CROWD)]
    http = await connect()
    for _ in range(20):
        assert (await http.get("/health")).status == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024
    # Nobody who says nothing is kept for long.
    for one in idle:
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                assert await one.stream.receive_some() == b""
            except trio.BrokenResourceError:
                pass


class TestFull:
    @pytest.fixture
    def web_settings(self) -> config.Web:
        return config.Web(enabled=True, port=0, max_connections=2)

    async def test_more_than_fit_are_sent_away_at_once(self, connect: Connect, daemon: Daemon) -> None:
        first, second = await connect(), await connect()
        assert (await first.get("/health")).status == 200
        assert (await second.get("/health")).status == 200
        third = await connect()
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                assert await third.stream.receive_some() == b""
            except trio.BrokenResourceError:
                pass
        await first.stream.aclose()
        await eventually(lambda: daemon.web.connections == 1)
        assert (await (await connect()).get("/health")).status == 200
