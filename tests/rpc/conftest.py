"""The contract's daemon, and a peer that speaks bytes to it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from tests.contract.conftest import confirm, daemon, files, rules, settings, socket_path
from tests.contract.endpoints import PATIENCE_SECONDS

from ptybridge.daemon import Daemon

__all__ = ["Peer", "confirm", "daemon", "files", "rules", "settings", "socket_path"]


class Peer:
    """A connection that sends what a test wants and reads lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def send(self, *messages: object) -> None:
        """Send messages, a line each, in one piece; `bytes` go as they are, other values as JSON."""
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in messages]
        await self.stream.send_all(b"".join(lines))

    async def line(self) -> bytes:
        """Return the next line, b"" at the end."""
        with trio.fail_after(PATIENCE_SECONDS):
            while b"\n" not in self.buffer:
                try:
                    data = await self.stream.receive_some()
                except trio.BrokenResourceError:
                    data = b""
                if not data:
                    assert not self.buffer, "the last line lacks its newline"
                    return b""
                self.buffer += data
        line, _, rest = bytes(self.buffer).partition(b"\n")
        self.buffer[:] = rest
        return line

    async def next(self) -> Any:
        """Return the next message. Raises `EOFError` at the end."""
        line = await self.line()
        if not line:
            raise EOFError
        return json.loads(line)

    async def ask(self, method: str, params: dict[str, Any] | None = None, request_id: object = "ask") -> Any:
        """Call and return the whole answer, which must be the next message."""
        await self.send(request(request_id, method, params))
        answer = await self.next()
        assert answer["id"] == request_id, answer
        return answer

    async def result(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Call and return the result."""
        answer = await self.ask(method, params)
        assert "result" in answer, answer
        return answer["result"]

    async def lives(self) -> None:
        """Check that the connection still works."""
        assert (await self.ask("node.info"))["result"]["protocol"] >= 1


Dial = Callable[[], Awaitable[Peer]]


def request(request_id: object, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a request."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method} | ({} if params is None else {"params": params})


def notification(method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make a notification."""
    return {"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params})


@pytest.fixture
async def dial(daemon: Daemon) -> AsyncIterator[Dial]:
    """`await dial()` makes one more connection; all are closed after the test."""
    peers: list[Peer] = []

    async def make() -> Peer:
        peers.append(Peer(await trio.open_unix_socket(daemon.config.paths.socket)))
        return peers[-1]

    yield make
    with trio.CancelScope(shield=True):
        for peer in peers:
            await peer.stream.aclose()


@pytest.fixture
async def peer(dial: Dial) -> Peer:
    return await dial()
