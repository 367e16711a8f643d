"""S11: what a peer may do to a WebSocket and to the server that has it."""

import os
import struct
from collections.abc import AsyncIterator

import psutil
import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import raw_cat, script
from tests.web.http import PATIENCE_SECONDS
from tests.web.terminals import Front, path_of
from tests.web.test_terminal import clients, handshake, web_settings

from ptybridge.daemon import Daemon
from ptybridge.wire import attach as frames

__all__ = ["web_settings"]

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


@pytest.fixture
async def front(daemon: Daemon, nursery: trio.Nursery) -> AsyncIterator[Front]:
    front = Front(daemon.web.web)
    front.settings = {"keep_alive_timeout": 1, "read_timeout": 2}
    await nursery.start(front.serve)
    yield front
    front.stopping.set()
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await front.stopped.wait()


@pytest.fixture
def client(daemon: Daemon) -> LocalClient:
    return LocalClient(daemon)


class Raw:
    """A WebSocket whose bytes the test makes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.seen = bytearray()

    async def send(self, opcode: int, data: bytes = b"", *, fin: bool = True, size: int | None = None) -> None:
        await self.stream.send_all(frame(opcode, data, fin=fin, size=size))

    async def close_code(self) -> int:
        """Read to the end; return the code of the close before it."""
        with trio.fail_after(PATIENCE_SECONDS):
            while data := await self.stream.receive_some(65536):
                self.seen += data
        for size in range(2, 126):
            if self.seen[-size - 2 :][:2] == bytes((0x88, size)):
                code: int = struct.unpack(">H", self.seen[-size:][:2])[0]
                return code
        raise AssertionError(f"no close in {bytes(self.seen[-200:])!r}")


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, size: int | None = None) -> bytes:
    """A masked frame; the mask is zero, which is one like any other."""
    size = len(data) if size is None else size
    head = bytes((opcode | (0x80 if fin else 0),))
    if size < 126:
        head += bytes((0x80 | size,))
    else:
        head += struct.pack(">BH", 0xFE, size) if size < 65536 else struct.pack(">BQ", 0xFF, size)
    return head + bytes(4) + data


@pytest.fixture
async def raw(front: Front, client: LocalClient) -> AsyncIterator[Raw]:
    session_id = await raw_cat(client)
    async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
        await stream.send_all(handshake(front.port, path_of(session_id)))
        raw = Raw(stream)
        with trio.fail_after(PATIENCE_SECONDS):
            while b"attached" not in raw.seen:
                raw.seen += await stream.receive_some(65536)
        yield raw


async def test_s11_a_message_has_a_largest_size(raw: Raw) -> None:
    await raw.send(BINARY, bytes(65536), fin=False)
    for _ in range(16):
        await raw.send(0, bytes(65536), fin=False)
    assert await raw.close_code() == 1009


async def test_s11_a_frame_that_claims_to_be_huge_gets_no_memory(raw: Raw) -> None:
    before = psutil.Process().memory_info().rss
    await raw.stream.send_all(frame(BINARY, b"", size=1 << 40))
    for _ in range(16):
        await raw.stream.send_all(bytes(65536))
    await raw.stream.send_all(b"x")
    assert await raw.close_code() == 1009
    assert psutil.Process().memory_info().rss - before < 32 << 20


async def test_s11_a_bomb_of_empty_fragments_is_refused(raw: Raw) -> None:
    await raw.send(BINARY, b"x", fin=False)
    await raw.stream.send_all(frame(0, fin=False) * 5000)
    assert await raw.close_code() == 1008


async def test_s11_a_flood_of_pings_is_refused(raw: Raw) -> None:
    await raw.stream.send_all(frame(PING, b"p" * 100) * 5000)
    assert await raw.close_code() == 1008


async def test_s11_pings_of_one_who_never_reads_are_answered_once(front: Front, client: LocalClient) -> None:
    """Answers that cannot be sent do not pile up: the last one counts."""
    session_id = await script(client, "yes", echo=False)
    async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
        await stream.send_all(handshake(front.port, path_of(session_id, window=0, client_id="deaf")))
        await clients(client, session_id, {"deaf"})
        before = psutil.Process().memory_info().rss
        for _ in range(20):
            await stream.send_all(frame(PING, b"p" * 125) * 40)
            await trio.sleep(0.1)
        await clients(client, session_id, {"deaf"})
        assert psutil.Process().memory_info().rss - before < 16 << 20


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", 1002),  # not masked
        (frame(BINARY | 0x40, b"x"), 1002),  # a reserved bit: compression, which was declined
        (frame(3, b"x"), 1002),  # no such opcode
        (frame(PING, b"x" * 126), 1002),  # a control frame is short
        (frame(PING, b"x", fin=False), 1002),  # and whole
        (frame(0, b"x"), 1002),  # nothing to continue
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"{}"), 1003),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack(">H", 1000)), 1000),
    ],
)
async def test_s11_broken_rules_are_named(raw: Raw, data: bytes, code: int) -> None:
    await raw.stream.send_all(data)
    assert await raw.close_code() == code


async def test_s11_compression_is_declined(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        await stream.send_all(handshake(front.port, path_of(session_id), offer))
        head = b""
        with trio.fail_after(PATIENCE_SECONDS):
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some(65536)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in head.partition(b"\r\n\r\n")[0].lower()


async def test_s11_a_handshake_in_drops_is_cut_off(front: Front) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
        request = handshake(front.port, path_of("nobody"))
        with trio.fail_after(PATIENCE_SECONDS):
            await stream.send_all(request[:10])
            # It says nothing more: the connection is not kept for it.
            while await stream.receive_some(1000):
                pass


async def test_s11_frames_byte_by_byte_are_frames(raw: Raw) -> None:
    for byte in frame(BINARY, frames.encode(frames.Input(b"drop by drop"))):
        await raw.stream.send_all(bytes([byte]))
    with trio.fail_after(PATIENCE_SECONDS):
        while b"drop by drop" not in raw.seen:
            raw.seen += await raw.stream.receive_some(65536)


async def test_s11_a_peer_that_vanishes_leaves_nothing(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "yes", echo=False)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        stream = await trio.open_tcp_stream("127.0.0.1", front.port)
        await stream.send_all(handshake(front.port, path_of(session_id, window=0)))
        await stream.receive_some(1000)
        # With something unread a close is a reset.
        await trio.aclose_forcefully(stream)
    await clients(client, session_id, set())
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if len(os.listdir("/proc/self/fd")) <= before:
                return
            await trio.sleep(0.02)
