"""A WebSocket on a connection taken over from Hypercorn: no task and no copy between the terminal and the socket.

How it works: wsproto parses what comes and knows the rules; frames that go out are a head of a few bytes and the data
as it is (RFC 6455 section 5.2). On a plain socket they are written past Trio's stream straight to the non-blocking
descriptor, because only so a cancelled send can leave the unsent rest in `_tail` (the next one begins with it, so no
frame is torn), and the inline lane can take a small frame without a task switch. Under TLS the stream's own sending
is used, which cannot be interrupted without losing the frame's end: there it is shielded, with a deadline.
Pongs and closes go out between frames. Of several pings that could not be answered yet only the last one is (section
5.5.3), so a peer that pings and never reads is kept at one answer.
"""

import os
import struct
from collections.abc import Iterator
from typing import Any

import trio
from wsproto import events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from ptybridge.web.websocket import (
    CLOSE_SECONDS,
    MAX_MESSAGE_BYTES,
    POLICY,
    SEND_SECONDS,
    TOO_BIG,
)

READ_BYTES = 64 * 1024
# Frames without content (pings, pongs, empty fragments) that a peer may send within a second.
MAX_EMPTY_FRAMES = 1000
# Small enough to let the peers of one loop take turns while one of them sends such frames.
FRAMES_A_TURN = 32

_TEXT, _BINARY = 0x81, 0x82


class FastSocket:
    """See `ptybridge.web.websocket.WebSocket`."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno() if isinstance(stream, trio.SocketStream) else -1
        self._parser = Connection(ConnectionType.SERVER)
        self._events: Iterator[events.Event] = iter(())
        self._message = bytearray()
        self._sending = trio.Lock()
        self._tail = b""
        self._control = b""
        self._stuck = trio.Event()
        self._broken = False
        self._over = False
        self._refused = False
        self._second = 0
        self._empty_frames = 0
        self._turn = 0
        self.heard_at = trio.current_time()

    # -- sending --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what could not be written at once, when nobody else is about to."""
        while not self._broken:
            await self._stuck.wait()
            self._stuck = trio.Event()
            try:
                async with self._sending:
                    await self._flush()
            except trio.BrokenResourceError:
                return

    def offer_nowait(self, head: bytes, payload: bytes) -> bool:
        """Send a binary message at once, or nothing of it."""
        if self._fd < 0 or self._tail or self._broken or self._sending.locked() or not self._open:
            return False
        frame = _head(_BINARY, len(head) + len(payload)) + head
        try:
            sent = os.writev(self._fd, (frame, payload))
        except BlockingIOError:
            return False
        except OSError:
            self._broken = True
            return False
        if sent < len(frame) + len(payload):
            self._tail = (frame + payload)[sent:]
            self._stuck.set()
        return True

    async def send(self, head: bytes, payload: bytes = b"", *, text: bool = False) -> None:
        """Send a message, waiting for the peer."""
        async with self._sending:
            await self._flush()
            if self._broken or not self._open:
                raise trio.BrokenResourceError("the peer is gone")
            frame = _head(_TEXT if text else _BINARY, len(head) + len(payload)) + head
            if self._fd < 0:
                await self._send_stream(frame + payload)
                return
            try:
                sent = os.writev(self._fd, (frame, payload))
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self._broken = True
                raise trio.BrokenResourceError("the peer is gone") from exc
            if sent < len(frame) + len(payload):
                self._tail = (frame + payload)[sent:]
                await self._flush()

    async def _send_stream(self, data: bytes) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_SECONDS) as scope:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                self._broken = True
                raise trio.BrokenResourceError("the peer is gone") from exc
        if scope.cancelled_caught:
            self.abort()
            raise trio.BrokenResourceError("the peer takes nothing")
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _flush(self) -> None:
        """Write what is left of a frame, and control frames behind it. Called with `_sending` held."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._tail or self._control:
            if not self._tail:
                self._tail, self._control = self._control, b""
            if self._fd < 0:
                data, self._tail = self._tail, b""
                await self._send_stream(data)
                continue
            view = memoryview(self._tail)
            try:
                while view:
                    await trio.lowlevel.wait_writable(self._fd)
                    view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                pass  # somebody else's write was in between; wait again
            except (OSError, trio.ClosedResourceError) as exc:
                self._broken = True
                raise trio.BrokenResourceError("the peer is gone") from exc
            finally:
                self._tail = bytes(view)

    def _reply(self, frame: bytes) -> None:
        """Send a control frame once the frame that is going out has gone; it takes the place of an earlier one."""
        self._control = frame
        self._stuck.set()

    # -- receiving ------------------------------------------------------------------------------------------

    @property
    def _open(self) -> bool:
        return self._parser.state is ConnectionState.OPEN

    async def receive(self) -> bytes | str | None:
        """Return the next message; None when the peer has closed, is gone, or has broken the rules."""
        while not self._over:
            event = next(self._events, None)
            if event is None:
                await self._read()
                continue
            match event:
                case events.Message():
                    message = self._collect(event)
                    if message is not None:
                        return message
                case events.Ping():
                    self._count_empty()
                    if self._open:
                        self._reply(self._parser.send(event.response()))
                case events.Pong():
                    self._count_empty()
                case events.CloseConnection():
                    self._end(event)
            self._turn += 1
            if self._turn % FRAMES_A_TURN == 0:
                await trio.lowlevel.checkpoint()
        return None

    async def _read(self) -> None:
        try:
            if self._fd >= 0:
                data = await self._read_fd()
            else:
                data = bytes(await self._stream.receive_some(READ_BYTES))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self._over = self._broken = True
            return
        self.heard_at = trio.current_time()
        try:
            self._parser.receive_data(data)
        except (LocalProtocolError, RemoteProtocolError):
            self._over = True
            return
        self._events = self._parser.events()

    async def _read_fd(self) -> bytes:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(self._fd)
            return os.read(self._fd, READ_BYTES)
        await trio.lowlevel.checkpoint()  # one who always has more to say lets the others speak
        return data

    def _collect(self, event: events.Message[Any]) -> bytes | str | None:
        data = event.data.encode() if isinstance(event.data, str) else event.data
        if len(self._message) + len(data) > MAX_MESSAGE_BYTES:
            self._fail(TOO_BIG, f"a message may have {MAX_MESSAGE_BYTES} bytes")
            return None
        self._message += data
        if not data:
            self._count_empty()
        if not event.message_finished or self._over:
            return None
        message, self._message = bytes(self._message), bytearray()
        return message.decode() if isinstance(event, events.TextMessage) else message

    def _count_empty(self) -> None:
        second = int(self.heard_at)
        if second != self._second:
            self._second, self._empty_frames = second, 0
        self._empty_frames += 1
        if self._empty_frames > MAX_EMPTY_FRAMES:
            self._fail(POLICY, "too many frames without content")

    def _end(self, event: events.CloseConnection) -> None:
        """Answer the peer's close, or tell it which rule it broke (wsproto makes both the same event)."""
        state = self._parser.state
        if state is ConnectionState.REMOTE_CLOSING:
            self._reply(self._parser.send(event.response()))
        elif state is ConnectionState.OPEN:
            self._refused = True
            self._reply(self._parser.send(event))
        self._over = True

    def _fail(self, code: int, reason: str) -> None:
        if self._open:
            self._reply(self._parser.send(events.CloseConnection(code, reason)))
        self._refused = self._over = True

    # -- the end --------------------------------------------------------------------------------------------

    async def ping(self, message: bytes) -> bool:
        """Send a ping unless an earlier one could not be sent yet."""
        if self._open and not self._control:
            self._reply(self._parser.send(events.Ping()))
        await trio.lowlevel.checkpoint()
        return True

    async def close(self, code: int, reason: str = "") -> None:
        """Send what is left and the close, and wait for the peer's: so nothing that was sent is lost (R27)."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                if self._open:
                    frame = self._parser.send(
                        events.CloseConnection(code, reason.encode()[:123].decode("utf-8", "ignore"))
                    )
                    self._control = frame
                async with self._sending:
                    await self._flush()
                while await self.receive() is not None:
                    pass
                async with self._sending:
                    await self._flush()
                if self._refused:
                    await self._linger()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # gone, which is what was wanted
        self._broken = True

    async def _linger(self) -> None:
        """Take what a refused peer still sends: closing with something unread would reset all."""
        if isinstance(self._stream, trio.SocketStream):
            await self._stream.send_eof()
        while await self._stream.receive_some(READ_BYTES):
            pass

    def abort(self) -> None:
        """Cut the connection."""
        self._broken = self._over = True
        stream = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        stream.socket.close()


def _head(first: int, size: int) -> bytes:
    """Return the head of an unmasked frame: opcode with FIN, length in 1, 3 or 9 bytes."""
    if size < 126:
        return bytes((first, size))
    return struct.pack(">BBH", first, 126, size) if size < 65536 else struct.pack(">BBQ", first, 127, size)
