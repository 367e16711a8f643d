"""Sending files up and down from a blocking client: constant memory, progress, resumed after a lost connection."""

import hashlib
import os
import secrets
import select
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec.structs import replace

from ptybridge.api.transfer import DOWNLOAD, UPLOAD, Download, Downloading, Upload
from ptybridge.errors import ChecksumMismatch, ConnectionLost, PtybridgeError
from ptybridge.sdk.blocking import Connection
from ptybridge.wire import attach as frames

T = TypeVar("T")
Progress = Callable[[int, int], None]
Connect = Callable[[], Connection]

PIECE_BYTES: Final = 256 << 10
READ_BYTES: Final = 256 << 10
# How often a transfer is taken up again without having got any further.
FRUITLESS_TRIES: Final = 3


def upload(
    connect: Connect, source: int, params: Upload, progress: Progress | None = None, reconnect: Connect | None = None
) -> frames.Stored:
    """Send what the descriptor `source` (a regular file) holds; return what is stored.

    `progress` gets (bytes done, bytes in all). A lost connection is made anew by `reconnect` and goes on where it was.
    Raises `PtybridgeError`.
    """
    state = _Sending(source, params, progress or _silent)
    return _repeated(connect, reconnect, state.run, lambda: state.acked)


def download(
    connect: Connect, target: int, params: Download, progress: Progress | None = None, reconnect: Connect | None = None
) -> Downloading:
    """Write a file into the descriptor `target`, whose first `params.offset` bytes are there; return what it was.

    Raises `ChecksumMismatch` when what came is not what the daemon has read.
    """
    state = _Receiving(target, params, progress or _silent)
    return _repeated(connect, reconnect, state.run, lambda: state.at)


def _repeated(
    connect: Connect, reconnect: Connect | None, run: Callable[[Connection], T], done: Callable[[], int]
) -> T:
    fruitless = 0
    before = -1
    make = connect
    while True:
        try:
            with make() as connection:
                return run(connection)
        except ConnectionLost:
            fruitless = 0 if done() > before else fruitless + 1
            if reconnect is None or fruitless >= FRUITLESS_TRIES:
                raise
            before = done()
            make = reconnect


class _Frames:
    """Frames over the socket of a channel."""

    def __init__(self, sock: socket.socket, received: bytes) -> None:
        self._sock = sock
        self._buffer = frames.FrameBuffer()
        self._ready = self._buffer.feed(received)

    def send(self, head: bytes, payload: bytes = b"") -> None:
        """Send a frame; when the daemon has ended the channel its reason is raised instead."""
        try:
            self._sock.sendall(head)
            # Even sending nothing fails when the daemon has closed, as it does after the last acknowledgement.
            if payload:
                self._sock.sendall(payload)
        except ConnectionError:
            while True:
                self.next()  # raises

    def waiting(self) -> bool:
        """Tell whether a frame can be had at once."""
        return bool(self._ready) or bool(select.select([self._sock], [], [], 0)[0])

    def next(self) -> frames.Frame:
        """Wait for a frame. Raises `ConnectionLost` at the end, and what an ERROR says."""
        while not self._ready:
            try:
                data = self._sock.recv(READ_BYTES)
            except ConnectionError as exc:
                raise ConnectionLost("the connection was lost in the middle of a file") from exc
            if not data:
                raise ConnectionLost("the connection ended in the middle of a file")
            self._ready = self._buffer.feed(data)
        frame = self._ready.pop(0)
        if isinstance(frame, frames.Error):
            raise PtybridgeError.restore(frame.message, {"code": frame.code, "hint": frame.hint})
        return frame


class _Sending:
    def __init__(self, source: int, params: Upload, progress: Progress) -> None:
        self.source = source
        self.params = params
        self.progress = progress
        self.acked = 0

    def run(self, connection: Connection) -> frames.Stored:
        if self.params.upload_id is None:
            # Ours to choose, so that it is known even when the first answer is lost.
            self.params = replace(self.params, upload_id=secrets.token_hex(8))
        answer, sock, first = connection.open(UPLOAD, self.params)
        link = _Frames(sock, first)
        size = os.fstat(self.source).st_size
        if answer.offset > size:
            link.send(frames.encode(frames.Detach()))
            raise ChecksumMismatch(f"what was sent of {answer.path} before is longer than the file", hint="try again")
        digest = hashlib.sha256()
        at = self._hash_until(digest, answer.offset)
        self.acked = answer.offset
        self.progress(at, size)
        while data := os.pread(self.source, PIECE_BYTES, at):
            while at - self.acked >= answer.window_bytes or link.waiting():
                self._take(link.next(), size)
            link.send(frames.data_head(at, len(data)), data)
            digest.update(data)
            at += len(data)
        link.send(frames.encode(frames.Finish(size=at, sha256=digest.hexdigest())))
        while True:
            frame = link.next()
            if isinstance(frame, frames.Stored):
                self.progress(at, at)
                return frame
            self._take(frame, size)

    def _take(self, frame: frames.Frame, size: int) -> None:
        if isinstance(frame, frames.Ack):
            self.acked = frame.offset
            self.progress(frame.offset, size)

    def _hash_until(self, digest: "hashlib._Hash", offset: int) -> int:
        at = 0
        while at < offset and (data := os.pread(self.source, min(PIECE_BYTES, offset - at), at)):
            digest.update(data)
            at += len(data)
        return at


class _Receiving:
    def __init__(self, target: int, params: Download, progress: Progress) -> None:
        self.target = target
        self.params = params
        self.progress = progress
        self.at = params.offset
        self.digest = hashlib.sha256()
        at = 0
        while at < params.offset and (data := os.pread(target, min(PIECE_BYTES, params.offset - at), at)):
            self.digest.update(data)
            at += len(data)

    def run(self, connection: Connection) -> Downloading:
        answer, sock, first = connection.open(DOWNLOAD, self.params)
        link = _Frames(sock, first)
        while True:
            frame = link.next()
            if isinstance(frame, frames.Data):
                view = memoryview(frame.data)
                while view:
                    view = view[os.pwrite(self.target, view, self.at + len(frame.data) - len(view)) :]
                self.digest.update(frame.data)
                self.at += len(frame.data)
                self.params = replace(self.params, offset=self.at, if_match=answer.etag)
                link.send(frames.encode(frames.Ack(offset=self.at)))
                self.progress(self.at, answer.size)
            elif isinstance(frame, frames.Finish):
                if (frame.size, frame.sha256) != (self.at, self.digest.hexdigest()):
                    raise ChecksumMismatch(f"what came of {answer.path} is not what was sent", hint="get it again")
                return answer


def _silent(done: int, size: int) -> None:
    """Show nothing."""
