"""Sending files up and down: constant memory, progress, taken up again after a lost connection."""

import hashlib
import os
import secrets
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ptybridge.api.transfer import DOWNLOAD, UPLOAD, Download, Downloading, Upload
from ptybridge.errors import ChecksumMismatch, ConnectionLost, PtybridgeError, TransferRunning
from ptybridge.sdk.aio.connection import AsyncFrames, in_thread, now, sleep
from ptybridge.sdk.aio.link import POLL_SECONDS, AsyncLink
from ptybridge.wire import attach as frames

# Called with (bytes done, bytes in all).
Progress = Callable[[int, int], None]

PIECE_BYTES = 256 << 10
# How often a transfer is taken up again without having got any further.
FRUITLESS_TRIES = 3


async def upload(link: AsyncLink, source: int, params: Upload, progress: Progress | None = None) -> frames.Stored:
    """Send what the descriptor `source` (a regular file) holds; return what is stored. Raises `PtybridgeError`."""
    if params.upload_id is None:
        # Ours to choose, so that it is known even when the first answer is lost.
        params = replace(params, upload_id=secrets.token_hex(8))
    sending = _Sending(link, source, params, progress or _silent)
    fruitless, before = 0, -1
    lost_at: float | None = None
    while True:
        try:
            return await sending.run()
        except ConnectionLost:
            fruitless = 0 if sending.acked > before else fruitless + 1
            before = sending.acked
            lost_at = now()
            if fruitless >= FRUITLESS_TRIES or link.closed:
                raise
        except TransferRunning:
            # The daemon may not have noticed yet that the connection before this one is gone.
            if lost_at is None or now() - lost_at > link.settings.reconnect_timeout:
                raise
            await sleep(POLL_SECONDS)


async def download(link: AsyncLink, target: int, params: Download, progress: Progress | None = None) -> Downloading:
    """Write a file into the descriptor `target`, whose first `params.offset` bytes are there; return what it was."""
    receiving = _Receiving(link, target, params, progress or _silent)
    fruitless, before = 0, -1
    while True:
        try:
            return await receiving.run()
        except ConnectionLost:
            fruitless = 0 if receiving.at > before else fruitless + 1
            before = receiving.at
            if fruitless >= FRUITLESS_TRIES or link.closed:
                raise


class _Sending:
    def __init__(self, link: AsyncLink, source: int, params: Upload, progress: Progress) -> None:
        self.acked = 0
        self._link = link
        self._source = source
        self._params = params
        self._progress = progress
        self._size = 0

    async def run(self) -> frames.Stored:
        answer, channel = await self._link.open(UPLOAD, self._params)
        try:
            self._size = os.fstat(self._source).st_size
            if answer.offset > self._size:
                await channel.send(frames.encode(frames.Detach()))
                raise ChecksumMismatch(
                    f"what was sent of {answer.path} before is longer than the file", hint="try again"
                )
            digest = hashlib.sha256()
            at = await in_thread(_hash_until, digest, self._source, answer.offset)
            self.acked = answer.offset
            self._progress(at, self._size)
            while data := await in_thread(os.pread, self._source, PIECE_BYTES, at):
                while at - self.acked >= answer.window_bytes:
                    self._take(await self._next(channel))
                await self._send(channel, frames.data_head(at, len(data)), data)
                digest.update(data)
                at += len(data)
            await self._send(channel, frames.encode(frames.Finish(size=at, sha256=digest.hexdigest())))
            while not isinstance(frame := await self._next(channel), frames.Stored):
                self._take(frame)
            self._progress(at, at)
            return frame
        finally:
            await channel.aclose()  # noqa: ASYNC102 - closing does not wait

    async def _send(self, channel: AsyncFrames, head: bytes, payload: bytes = b"") -> None:
        try:
            await channel.send(head, payload)
        except ConnectionLost:
            while True:  # the daemon has said why before it closed
                self._take(await self._next(channel))  # noqa: ASYNC120 - what it says is what is raised

    async def _next(self, channel: AsyncFrames) -> frames.Frame:
        frame = await channel.next()
        if isinstance(frame, frames.Error):
            raise PtybridgeError.restore(frame.message, {"code": frame.code, "hint": frame.hint})
        return frame

    def _take(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Ack):
            self.acked = frame.offset
            self._progress(frame.offset, self._size)


class _Receiving:
    def __init__(self, link: AsyncLink, target: int, params: Download, progress: Progress) -> None:
        self.at = params.offset
        self._link = link
        self._target = target
        self._params = params
        self._progress = progress
        self._digest: Any = None

    async def run(self) -> Downloading:
        if self._digest is None:
            self._digest = hashlib.sha256()
            await in_thread(_hash_until, self._digest, self._target, self.at)
        answer, channel = await self._link.open(DOWNLOAD, self._params)
        try:
            while True:
                frame = await channel.next()
                if isinstance(frame, frames.Data):
                    await in_thread(_write_at, self._target, frame.data, self.at)
                    self._digest.update(frame.data)
                    self.at += len(frame.data)
                    self._params = replace(self._params, offset=self.at, if_match=answer.etag)
                    await self._acknowledge(channel)
                    self._progress(self.at, answer.size)
                elif isinstance(frame, frames.Error):
                    raise PtybridgeError.restore(frame.message, {"code": frame.code, "hint": frame.hint})
                elif isinstance(frame, frames.Finish):
                    if (frame.size, frame.sha256) != (self.at, self._digest.hexdigest()):
                        raise ChecksumMismatch(f"what came of {answer.path} is not what was sent", hint="get it again")
                    return answer
        finally:
            await channel.aclose()  # noqa: ASYNC102 - closing does not wait

    async def _acknowledge(self, channel: AsyncFrames) -> None:
        try:
            await channel.send(frames.encode(frames.Ack(offset=self.at)))
        except ConnectionLost:
            pass  # after the last piece the daemon closes; what is missing the next wait finds out


def _hash_until(digest: Any, descriptor: int, offset: int) -> int:
    at = 0
    while at < offset and (data := os.pread(descriptor, min(PIECE_BYTES, offset - at), at)):
        digest.update(data)
        at += len(data)
    return at


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _silent(done: int, size: int) -> None:
    """Show nothing."""
