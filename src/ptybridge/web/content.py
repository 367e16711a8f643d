"""Files as the bodies of HTTP: `PUT` and `GET /v1/files/content`, of any size and in constant memory.

How it works: each request is a channel between the operation's handler and the peer. What comes is read from the peer
only when the handler asks for it, and what goes is acknowledged to the handler once the peer has taken it, so a side
that stops, stops the other. `Range` and `Content-Range` go on with what was begun; `Repr-Digest` (RFC 9530) is checked.
"""

import base64
import binascii
import hashlib
import re
from typing import Any, Final
from urllib.parse import quote

import msgspec
import trio

from ptybridge.api.registry import AnyOperation
from ptybridge.errors import Conflict, InvalidRequest, PtybridgeError
from ptybridge.model import Caller
from ptybridge.web.answers import answer
from ptybridge.web.context import Receive, Scope, Send, Web
from ptybridge.web.parameters import Disconnected, headers_of
from ptybridge.wire import attach as frames

# A peer that sends nothing for so long has gone.
SILENCE_SECONDS: Final = 60.0
_RANGE: Final = re.compile(rb"bytes=(\d{1,18})-")
_CONTENT_RANGE: Final = re.compile(rb"bytes (\d{1,18})-\d{0,18}/(\d{1,18}|\*)")
_DIGEST: Final = re.compile(rb"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):")


class Content:
    """The handlers, for `Api`."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def upload(
        self,
        caller: Caller,
        operation: AnyOperation,
        params: dict[str, object],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Store the body under `path`; the answer tells what is stored. Raises `PtybridgeError`."""
        _take_etag(params, scope)
        body = _Upload(scope, receive, resumable="upload_id" in params)
        await self._web.endpoint.open(caller, operation.name, _raw(params), body)
        if body.problem is not None:
            raise body.problem
        if body.stored is None:
            raise Disconnected
        found = msgspec.to_builtins(body.stored)
        await answer(send, 200, msgspec.json.encode(found), headers=[(b"etag", f'"{body.stored.etag}"'.encode())])

    async def download(
        self,
        caller: Caller,
        operation: AnyOperation,
        params: dict[str, object],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer with the file's content. One that changes meanwhile ends the answer before its end."""
        _take_etag(params, scope)
        ranged = headers_of(scope).get(b"range")
        if ranged is not None:
            found = _RANGE.fullmatch(ranged.replace(b" ", b""))
            if found is None:
                raise InvalidRequest("only a range to the end is understood: `Range: bytes=START-`")
            params["offset"] = int(found[1])
        file = _Download(scope, receive, send, ranged=ranged is not None)
        await self._web.endpoint.open(caller, operation.name, _raw(params), file)


def _raw(params: dict[str, object]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(params))


def _take_etag(params: dict[str, object], scope: Scope) -> None:
    wanted = headers_of(scope).get(b"if-match")
    if wanted is not None and wanted.strip() != b"*":
        params["if_match"] = wanted.strip().strip(b'"').decode("ascii", "replace")


class _Upload:
    """The channel of an upload; the handler asks and acknowledges in turns, so nothing needs to run beside it."""

    def __init__(self, scope: Scope, receive: Receive, *, resumable: bool) -> None:
        self.stored: frames.Stored | None = None
        self.problem: PtybridgeError | None = None
        self._receive = receive
        self._resumable = resumable
        headers = headers_of(scope)
        ranged = headers.get(b"content-range")
        found = None if ranged is None else _CONTENT_RANGE.fullmatch(ranged.strip())
        if ranged is not None and found is None:
            raise InvalidRequest("Content-Range is not understood; say `bytes START-LAST/SIZE`")
        self._at = int(found[1]) if found is not None else 0
        self._digest = _digest_of(headers)
        if self._at and self._digest is None:
            raise InvalidRequest("a part needs `Repr-Digest: sha-256=:…:`, the checksum of the whole file")
        self._hash = hashlib.sha256()
        self._ended = False

    async def opened(self, answer: Any) -> None:
        """See whether the peer begins where the file does."""
        await trio.lowlevel.checkpoint()
        if answer.offset != self._at:
            raise Conflict(
                f"{answer.offset} bytes of this upload are here, and this would begin at {self._at}",
                hint=f"send `Content-Range: bytes {answer.offset}-LAST/SIZE`",
                offset=answer.offset,
            )

    async def receive(self) -> bytes:
        """Return the next frame, made of what the peer has sent."""
        while not self._ended:
            with trio.move_on_after(SILENCE_SECONDS) as patience:
                message = await self._receive()
            if patience.cancelled_caught or message["type"] == "http.disconnect":
                self._ended = True
                # What has arrived is kept for who can name it.
                return b"" if self._resumable else frames.encode(frames.Detach())
            data: bytes = message.get("body", b"")
            at = self._at
            self._at += len(data)
            self._hash.update(data)
            if not message.get("more_body"):
                self._ended = True
                tail = frames.data_head(at, len(data)) + data if data else b""
                digest = self._digest or self._hash.hexdigest()
                return tail + frames.encode(frames.Finish(size=self._at, sha256=digest))
            if data:
                return frames.data_head(at, len(data)) + data
        return b""

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        """Hear what has become of it."""
        await trio.lowlevel.checkpoint()
        for frame in frames.FrameBuffer().feed(head + payload):
            if isinstance(frame, frames.Stored):
                self.stored = frame
            elif isinstance(frame, frames.Error):
                self.problem = PtybridgeError.restore(frame.message, {"code": frame.code, "hint": frame.hint})

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        """Take nothing: only terminals are in such a hurry."""
        return False


def _digest_of(headers: dict[bytes, bytes]) -> str | None:
    found = _DIGEST.search(headers.get(b"repr-digest", b""))
    if found is None:
        return None
    try:
        return base64.b64decode(found[1], validate=True).hex()
    except binascii.Error as exc:
        raise InvalidRequest("Repr-Digest is no checksum") from exc


class _Download:
    """The channel of a download."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, ranged: bool) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._ranged = ranged
        self._left = 0
        self._at = 0
        self._told = 0
        self._moved = trio.Event()
        self._over = False

    async def opened(self, answer: Any) -> None:
        """Begin the response."""
        self._at = self._told = answer.offset
        self._left = answer.size - answer.offset
        name = quote(answer.path.rpartition("/")[2])
        headers = [
            # Nothing of somebody's files is shown as a page of ours.
            (b"content-type", b"application/octet-stream"),
            (b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()),
            (b"content-length", b"%d" % self._left),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"private, no-cache"),
            (b"etag", f'"{answer.etag}"'.encode()),
        ]
        if self._ranged:
            span = f"bytes {answer.offset}-{max(answer.offset, answer.size - 1)}/{answer.size}"
            headers.append((b"content-range", span.encode()))
        status = 206 if self._ranged else 200
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        if self._left == 0 or self._scope["method"] == "HEAD":
            await self._end()

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        """Pass a piece on; what is no piece of the file says nothing that HTTP could tell."""
        if not payload or self._over:
            await trio.lowlevel.checkpoint()
            return
        await self._send({"type": "http.response.body", "body": payload, "more_body": True})
        self._at += len(payload)
        self._left -= len(payload)
        if self._left == 0:
            await self._end()
        self._move()

    async def receive(self) -> bytes:
        """Return the next acknowledgement, b"" when it is over or the peer has gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while self._told == self._at and not self._over:
                await self._moved.wait()
            nursery.cancel_scope.cancel()
        if self._over:
            return b""
        self._told = self._at
        return frames.encode(frames.Ack(self._told))

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        """Take nothing: only terminals are in such a hurry."""
        return False

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._over = True
        self._move()

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._over = True
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
