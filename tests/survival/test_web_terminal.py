"""A browser's terminal across daemons that are killed: the same login, the same port, and every byte once."""

import contextlib
import http.client
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.survival.follower import Follower
from tests.survival.harness import PATIENCE_SECONDS, Node, generate, reserved_port
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

from ptybridge.wire import attach as frames

KILLS = 12


class WebSocket:
    """A WebSocket that looks like the socket under it."""

    def __init__(self, at: str, target: str, key: str) -> None:
        """Raises `OSError` when nobody answers."""
        host, _, port = at.rpartition(":")
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._sock = socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)
        self._messages: list[bytes] = []
        self._open = self._over = False
        headers = [(b"authorization", f"Bearer {key}".encode())]
        request = Request(host=at, target=target, subprotocols=["ptybridge.v1"], extra_headers=headers)
        self._sock.sendall(self._ws.send(request))
        while not self._open and not self._over:
            self._read()
        if not self._open:
            self._sock.close()
            raise ConnectionResetError("no upgrade")

    def _read(self) -> None:
        try:
            data = self._sock.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            self._over = True
            return
        self._ws.receive_data(data)
        for event in self._ws.events():
            match event:
                case AcceptConnection():
                    self._open = True
                case RejectConnection(status_code=status):
                    assert status >= 500, f"refused with {status}"
                    self._over = True
                case BytesMessage(data=piece):
                    self._messages.append(bytes(piece))
                case TextMessage(data=text):
                    assert "attached" in text or '"retryable":true' in text, text
                case Ping():
                    self._sock.sendall(self._ws.send(event.response()))
                case CloseConnection():
                    self._over = True

    def recv(self, size: int) -> bytes:
        while not self._messages and not self._over:
            self._read()
        return self._messages.pop(0) if self._messages else b""

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(self._ws.send(BytesMessage(data=data)))

    def settimeout(self, seconds: float) -> None:
        self._sock.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(self, *exc: object) -> None:
        self._sock.close()


class WebFollower(Follower):
    """Stays on a session as a browser's page does."""

    def __init__(self, at: str, key: str, session_id: str) -> None:
        super().__init__("", session_id)
        self._at, self._key = at, key

    def _take(self, frame: frames.Frame) -> None:
        super()._take(frame)
        if isinstance(frame, frames.Snapshot) and self._socket is not None:
            with contextlib.suppress(OSError):  # what has arrived before the end can still be read
                self._socket.sendall(frames.encode(frames.Ack(offset=frame.offset)))

    def _follow_once(self) -> None:
        lost_at = time.monotonic()
        target = f"/v1/sessions/{self._session_id}/attach?mode=viewer&rows=30&cols=120&offset={self.offset}"
        while not self._over.is_set():
            assert time.monotonic() - lost_at < PATIENCE_SECONDS, "nobody serves"
            try:
                link: Any = WebSocket(self._at, target, self._key)
            except OSError:
                time.sleep(0.002)
                continue
            self.connections += 1
            self._socket = link
            self.attached.set()
            with link:
                self._receive(link, b"", lost_at)
            return


@pytest.fixture
def port() -> Iterator[str]:
    """A port that stays the daemon's while it is killed and started again."""
    with reserved_port() as it:
        yield it


@pytest.mark.timeout(600)
def test_r25_a_killed_daemon_is_no_gap_in_a_browsers_terminal(node: Node, port: str) -> None:
    chance = random.Random(25)
    node.env["PTYBRIDGE_WEB_PORT"] = port
    node.fork()
    at = str(node.call("web.open")["addresses"][0])
    key = str(node.call("key.create", name="page", level="full")["value"])
    session = node.create(generate(0, 1), overflow="pause", echo=False, max_output_bytes=1 << 20)
    follower = WebFollower(at, key, session)
    follower.start()
    assert follower.attached.wait(PATIENCE_SECONDS)
    node.call("session.write", session_id=session, data="g")
    follower.wait_past(0)
    for _ in range(KILLS):
        follower.wait_past(follower.offset + (1 << 16))
        time.sleep(chance.uniform(0, 0.1))
        node.kill()
        follower.check()
        node.fork()
    follower.wait_past(follower.offset + (1 << 16))
    follower.stop()
    assert follower.gaps == 0
    assert follower.connections > KILLS // 2
    # Who was let in before is let in still.
    with contextlib.closing(http.client.HTTPConnection(at, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", "/v1/sessions", headers={"authorization": f"Bearer {key}"})
        assert connection.getresponse().status == 200


def test_a_key_made_while_a_daemon_hands_over_is_good_afterwards(node: Node) -> None:
    """Whichever of the two makes it, and whichever looks."""
    node.start(env={"PTYBRIDGE_WEB_PORT": "0"})
    at = str(node.call("web.open")["addresses"][0])
    values = []
    for turn in range(3):
        old = node.pid
        node.call("node.restart")
        values.append(str(node.call("key.create", name=f"k{turn}", level="read")["value"]))
        node.wait_serving()
        assert node.pid != old
    for value in values:
        with contextlib.closing(http.client.HTTPConnection(at, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("GET", "/v1/sessions", headers={"authorization": f"Bearer {value}"})
            assert connection.getresponse().status == 200
