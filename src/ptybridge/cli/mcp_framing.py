"""How an MCP client cuts its messages: a line each, or with `Content-Length` headers as language servers do.

The first bytes tell which, and it is answered in kind. Standard library only: `ptybridge mcp` starts with this.
"""

import re
from typing import Final

# As `wire.lines.MAX_LINE_BYTES`, which is what the daemon takes; a test compares them.
MAX_MESSAGE_BYTES: Final = 24 << 20
_HEADER: Final = b"content-length:"
_LENGTH: Final = re.compile(rb"^content-length:[ \t]*([0-9]{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_HEADERS_END: Final = re.compile(rb"\r?\n\r?\n")


class Oversized(Exception):
    """A message was larger than the daemon takes; it has been skipped."""


class BadHeader(Exception):
    """Headers without a length; they have been skipped."""


class Framing:
    """Cuts what a client sends into messages without line breaks, and frames what is sent to it."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._skip = 0  # bytes of an oversized body that are still to come
        self._skipping_line = False
        self.headers: bool | None = None

    def feed(self, data: bytes) -> None:
        """Take what has been read."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next whole message, None when there is none yet. Raises `Oversized` and `BadHeader`."""
        if self.headers is None and not self._detect():
            return None
        return self._next_body() if self.headers else self._next_line()

    def encode(self, message: bytes) -> bytes:
        """Frame a message (without a line break at its end) for the client."""
        if self.headers:
            return b"Content-Length: %d\r\n\r\n%b" % (len(message), message)
        return message + b"\n"

    def _detect(self) -> bool:
        start = bytes(self._buffer[:64]).lstrip().lower()
        if not start or (len(start) < len(_HEADER) and _HEADER.startswith(start)):
            return False
        self.headers = start.startswith((_HEADER, b"content-type:"))
        return True

    def _next_line(self) -> bytes | None:
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                if self._searched > self._limit:
                    self._clear()
                    if not self._skipping_line:
                        self._skipping_line = True
                        raise Oversized
                return None
            line = bytes(memoryview(self._buffer)[:end]).strip()
            del self._buffer[: end + 1]
            self._searched = 0
            if self._skipping_line:
                self._skipping_line = False
            elif line:
                return line

    def _next_body(self) -> bytes | None:
        if self._skip:
            gone = min(self._skip, len(self._buffer))
            del self._buffer[:gone]
            self._skip -= gone
            if self._skip:
                return None
        head = _HEADERS_END.search(self._buffer)
        if head is None:
            if len(self._buffer) > 64 * 1024:
                self._clear()
                raise BadHeader
            return None
        found = _LENGTH.search(self._buffer, 0, head.start() + 1)
        if found is None:
            del self._buffer[: head.end()]
            raise BadHeader
        length = int(found[1])
        if length > self._limit:
            del self._buffer[: head.end()]
            self._skip = length
            raise Oversized
        if len(self._buffer) < head.end() + length:
            return None
        body = bytes(memoryview(self._buffer)[head.end() : head.end() + length])
        del self._buffer[: head.end() + length]
        # In JSON a line break can only stand between tokens; the daemon wants one line.
        return body.replace(b"\r", b" ").replace(b"\n", b" ").strip() or b"null"

    def _clear(self) -> None:
        self._buffer.clear()
        self._searched = 0
