"""Frames on a bare socket: none is torn, whatever is cancelled in the middle of it."""

import socket

import trio
from tests.web.http import PATIENCE_SECONDS, eventually
from wsproto import events
from wsproto.connection import Connection, ConnectionType

from ptybridge.web.fastsocket import FastSocket


async def test_r29_a_cancelled_send_tears_no_frame() -> None:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    async with (
        trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as near,
        trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as far,
    ):
        sender = FastSocket(near)
        async with trio.open_nursery() as impatient:
            impatient.start_soon(sender.send, b"first", bytes(8 << 20))
            await eventually(lambda: sender._tail)
            impatient.cancel_scope.cancel()
        assert not sender.offer_nowait(b"not", b"taken")

        async def go_on() -> None:
            await sender.send(b"second")
            await sender.close(1000, "over")

        peer = Connection(ConnectionType.CLIENT)
        messages, parts, code = [], bytearray(), 0
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on)
                while not code:
                    peer.receive_data(bytes(await far.receive_some(65536)))
                    for event in peer.events():
                        if isinstance(event, events.BytesMessage):
                            parts += event.data
                            if event.message_finished:
                                messages.append(bytes(parts))
                                parts.clear()
                        elif isinstance(event, events.CloseConnection):
                            code = event.code
                            await far.send_all(peer.send(event.response()))
        assert messages == [b"first" + bytes(8 << 20), b"second"]
        assert code == 1000
