"""`file.upload` and `file.download`: files as frames, with credit, so that memory stays flat however large they are.

How it works: disk work happens in threads, one piece at a time, and nobody sends more than a window ahead of what was
acknowledged. An upload fills a partial file that outlives the connection; a download reads the file it has opened
and looks at the end whether that is still the one it was.
"""

import functools
import hashlib
import os
import secrets
import stat
from contextlib import ExitStack
from typing import Final

import trio

from ptybridge.api import transfer as api
from ptybridge.api.endpoint import Channel
from ptybridge.core.files.facts import etag_of, readable_name
from ptybridge.core.files.failures import failing
from ptybridge.core.files.leftovers import Leftovers
from ptybridge.core.files.partial import Partial
from ptybridge.core.files.places import Place, Places
from ptybridge.errors import EtagMismatch, FileFailed, InvalidParams, PtybridgeError
from ptybridge.model import Caller
from ptybridge.service.dispatcher import handles
from ptybridge.service.file import FileThreads, mode_of, still_wanted
from ptybridge.wire import attach as frames

# As much as a fast disk takes while an acknowledgement travels; it bounds what a slow peer costs.
WINDOW_BYTES: Final = 4 << 20
PIECE_BYTES: Final = 256 << 10


class TransferService:
    """Up and down."""

    def __init__(self, places: Places, threads: FileThreads, leftovers: Leftovers) -> None:
        self._places = places
        self._threads = threads
        self._leftovers = leftovers

    @handles(api.UPLOAD)
    async def upload(self, caller: Caller, params: api.Upload, channel: Channel) -> None:
        """Take a file."""
        upload_id = params.upload_id or secrets.token_hex(8)
        with ExitStack() as held:

            def begin() -> Partial:
                place = held.enter_context(
                    self._places.at(caller, params.path, params.cwd, make_parents=params.create_parents)
                )
                partial = Partial(
                    place,
                    upload_id,
                    overwrite=params.overwrite,
                    mode=mode_of(params.mode),
                    if_match=params.if_match,
                )
                held.callback(partial.close)
                if not partial.size:
                    self._leftovers.note(partial.path)
                return partial

            partial = await self._threads.run(begin)
            answer = api.Uploading(
                path=readable_name(partial.place.path)[0],
                upload_id=upload_id,
                offset=partial.size,
                window_bytes=WINDOW_BYTES,
            )
            await channel.opened(answer)
            try:
                await self._take(partial, channel)
            except PtybridgeError as exc:
                await _tell(channel, exc)

    async def _take(self, partial: Partial, channel: Channel) -> None:
        buffer = frames.FrameBuffer()
        while data := await channel.receive():
            for frame in buffer.feed(data):
                match frame:
                    case frames.Data(offset=offset, data=piece):
                        await self._threads.run(functools.partial(partial.add, offset, piece, still_wanted))
                        await channel.send(frames.encode(frames.Ack(offset=partial.size)))
                    case frames.Finish(size=size, sha256=sha256):
                        await self._finish(partial, channel, size, sha256)
                        return
                    case frames.Detach():
                        partial.discard()
                        return
                    case frames.Ping(token=token):
                        await channel.send(frames.encode(frames.Pong(token=token)))
                    case _:
                        pass  # a frame of a newer client

    async def _finish(self, partial: Partial, channel: Channel, size: int, sha256: str) -> None:
        found = await self._threads.run(lambda: partial.finish(size, sha256, still_wanted))
        path = readable_name(partial.place.path)[0]
        await channel.send(
            frames.encode(frames.Stored(path=path, size=found.st_size, etag=etag_of(found), sha256=sha256))
        )

    @handles(api.DOWNLOAD)
    async def download(self, caller: Caller, params: api.Download, channel: Channel) -> None:
        """Give a file."""
        with ExitStack() as held:

            def begin() -> _Source:
                place = held.enter_context(self._places.at(caller, params.path, params.cwd))
                source = _Source(place)
                held.callback(source.close)
                source.check(params.if_match)
                if params.offset > source.found.st_size:
                    raise InvalidParams(f"offset {params.offset} lies beyond the end, {source.found.st_size}")
                return source

            source = await self._threads.run(begin)
            found = source.found
            answer = api.Downloading(
                path=readable_name(source.place.path)[0],
                size=found.st_size,
                mode=f"{stat.S_IMODE(found.st_mode):04o}",
                modified_ms=found.st_mtime_ns // 1_000_000,
                etag=etag_of(found),
                offset=params.offset,
                window_bytes=WINDOW_BYTES,
            )
            await channel.opened(answer)
            try:
                await self._give(source, params.offset, channel)
            except PtybridgeError as exc:
                await _tell(channel, exc)

    async def _give(self, source: "_Source", offset: int, channel: Channel) -> None:
        await self._threads.run(lambda: source.skip(offset))
        credit = _Credit(offset)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(credit.receive, channel, nursery.cancel_scope)
            # What is raised in here would come out in a group.
            try:
                await self._send(source, offset, channel, credit)
            except PtybridgeError as exc:
                failed: PtybridgeError | None = exc
            except trio.BrokenResourceError:
                failed = None  # the peer is gone
            else:
                failed = None
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _send(self, source: "_Source", offset: int, channel: Channel, credit: "_Credit") -> None:
        at = offset
        while at < source.found.st_size:
            await credit.wait(at)
            data = await self._threads.run(source.next)
            await channel.send(frames.data_head(at, len(data)), data)
            at += len(data)
        finish = await self._threads.run(source.finish)
        await channel.send(frames.encode(finish))
        # Until everything is acknowledged or the peer goes: it may still have something to ask.
        await credit.wait(at + WINDOW_BYTES - 1)


class _Source:
    """A file that is read from its beginning to its end, for its checksum, and sent from an offset on."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._fd = place.open_file()
        self.found = os.fstat(self._fd)
        self._digest = hashlib.sha256()
        self._at = 0

    def check(self, if_match: str | None) -> None:
        """Raise `EtagMismatch` when it is another file than the caller has seen."""
        with failing(self.place.path):
            if self.found.st_size == 0 and os.pread(self._fd, 1, 0):
                raise FileFailed(
                    f"{self.place.path} does not say how large it is, as files of the kernel do",
                    hint="`file.read` reads it",
                    path=self.place.path,
                )
        if if_match is not None and etag_of(self.found) != if_match:
            raise EtagMismatch(f"{self.place.path} has changed", hint="get it from the beginning", path=self.place.path)

    def skip(self, offset: int) -> None:
        """Read what the caller has."""
        while self._at < offset:
            self._read(min(PIECE_BYTES, offset - self._at))
            still_wanted()

    def next(self) -> bytes:
        """Return the next piece."""
        return self._read(min(PIECE_BYTES, self.found.st_size - self._at))

    def finish(self) -> frames.Finish:
        """Tell the checksum of it all. Raises `EtagMismatch` when the file has changed under us."""
        if etag_of(os.fstat(self._fd)) != etag_of(self.found):
            raise self._changed()
        return frames.Finish(size=self._at, sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _read(self, count: int) -> bytes:
        with failing(self.place.path):
            data = os.pread(self._fd, count, self._at)
        if not data:
            raise self._changed()
        self._digest.update(data)
        self._at += len(data)
        return data

    def _changed(self) -> EtagMismatch:
        return EtagMismatch(f"{self.place.path} has changed while it was being read", hint="get it again")


class _Credit:
    """How far the peer has come."""

    def __init__(self, offset: int) -> None:
        self._acked = offset
        self._moved = trio.Event()

    async def wait(self, at: int) -> None:
        """Wait until less than a window lies between the acknowledged offset and `at`."""
        while at - self._acked >= WINDOW_BYTES:
            await self._moved.wait()

    async def receive(self, channel: Channel, scope: trio.CancelScope) -> None:
        """Take acknowledgements until the peer goes, and then end everything."""
        buffer = frames.FrameBuffer()
        try:
            while data := await channel.receive():
                for frame in buffer.feed(data):
                    if isinstance(frame, frames.Ack):
                        self._acked = max(self._acked, frame.offset)
                        self._moved.set()
                        self._moved = trio.Event()
                    elif isinstance(frame, frames.Detach):
                        scope.cancel()
                        return
                    elif isinstance(frame, frames.Ping):
                        await channel.send(frames.encode(frames.Pong(token=frame.token)))
        except PtybridgeError as exc:
            await _tell(channel, exc)  # where its next frame would begin is not known any more
        except trio.BrokenResourceError:
            pass  # it is gone
        scope.cancel()


async def _tell(channel: Channel, exc: PtybridgeError) -> None:
    await channel.send(frames.encode(frames.Error(code=exc.code, message=exc.message, hint=exc.hint)))
