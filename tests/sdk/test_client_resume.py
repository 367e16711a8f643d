"""A daemon that is killed and restarted under clients that go on, and transports of a caller's own."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from tests.sdk.conftest import Node, Run, own_node, run_with

from ptybridge import AsyncClient, Client
from ptybridge.sdk.aio.connection import from_socket
from ptybridge.sdk.peer import dial

__all__ = ["own_node"]

COUNT = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); [ $((i % 500)) -eq 0 ] && sleep 0.3; done; cat"


def kill(node: Node) -> None:
    os.kill(node.pid(), signal.SIGKILL)


def test_everything_goes_on_after_the_daemon_was_killed(own_node: Node, flavour: str, tmp_path: Path) -> None:
    async def body(client: Any) -> None:
        session = await client.sessions.create(["sh", "-c", COUNT], max_output_bytes=1 << 20)
        seen = ""
        killed = False
        async with session.follow() as output, client.attach(session.session_id) as terminal:
            async for chunk in output:
                seen += chunk
                if not killed and "line 300\r" in seen:
                    kill(own_node)
                    killed = True
                if "line 1999\r" in seen:
                    break
            assert seen == "".join(f"line {number}\r\n" for number in range(2000))[: len(seen)]
            assert output.resumed == 1
            await terminal.send("typed\n") if terminal.resumed else None
            shown = b""
            while b"line 1999" not in shown:
                shown += await terminal.receive()
            assert terminal.resumed == 1
            # What reads is simply asked again; idle connections to the daemon that has gone are no matter.
            assert (await session.get()).state == "running"
            await session.write("typed\n")
            await session.expect("typed")
        kill(own_node)
        assert (await client.sessions.list()).sessions[0].session_id == session.session_id
        await session.close()

    # With `start`, the daemon whose sessions the keeper has is started by whoever misses it.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own_node.env.items():
            patch.setenv(name, value)
        run_with(flavour, body, reconnect_timeout=60.0)


@pytest.fixture
def relayed(node: Node) -> Any:
    """A transport of the caller's own."""
    return lambda: dial(node.socket, 10.0)


def test_a_transport_of_the_callers_own(node: Node, relayed: Any) -> None:
    with Client.from_transport(relayed) as client:
        assert (client.mode, client.terminal.execute("echo over").output) == ("custom", b"over\n")
        # What is on the other side has another directory and environment.
        assert "OLDPWD" not in client.exec.run("env", env={}).stdout

    async def connect() -> ByteStream:
        return await from_socket(relayed())

    async def main() -> None:
        async with AsyncClient.from_transport(connect) as client:
            async with await client.sessions.create(["cat"]) as session:
                await session.write_line("hello")
                assert (await session.expect("hello")).index == 0

    for backend in ("asyncio", "trio"):
        anyio.run(main, backend=backend)


def test_a_transport_that_is_no_socket(node: Node) -> None:
    class Wrapped(ByteStream):
        """A stream that has nothing but bytes."""

        def __init__(self, inner: ByteStream) -> None:
            self.inner = inner

        async def receive(self, max_bytes: int = 65536) -> bytes:
            return await self.inner.receive(max_bytes)

        async def send(self, item: bytes) -> None:
            await self.inner.send(item)

        async def send_eof(self) -> None:
            await self.inner.send_eof()

        async def aclose(self) -> None:
            await self.inner.aclose()

    async def connect() -> ByteStream:
        return Wrapped(await from_socket(dial(node.socket, 10.0)))

    async def main() -> None:
        async with AsyncClient.from_transport(connect) as client:
            assert (await client.exec.run("echo bytes")).stdout == "bytes\n"
            assert (await client.exec.run("echo again")).stdout == "again\n"

    anyio.run(main)


def test_the_client_starts_a_daemon(flavour: str, runtime_dir: Path) -> None:
    async def body(client: Any) -> None:
        assert (await client.node.info()).sessions == 0
        await client.node.shutdown()

    run_with(flavour, body)


def test_socketpairs_serve_as_transports(run: Run) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        client = Client.from_transport(lambda: ours, keepalive_interval=0, request_timeout=0.05)
        with pytest.raises(Exception, match="did not answer"):
            client.node.limits()
        client.close()
