"""Newline framing: bytes in, complete lines out, with a limit that costs no memory to enforce."""

from ptybridge.errors import RequestTooLarge

# The largest input a session accepts at once is 16 MiB; as base64 in JSON that is just under 22 MiB.
MAX_LINE_BYTES = 24 << 20


class LineBuffer:
    """Cuts a byte stream into lines. A line over the limit is skipped, unbuffered, up to its newline."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self._ready: list[bytes] = []
        self._oversized = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their newlines; blank lines are left out.

        Raises RequestTooLarge once per oversized line, as soon as it passes the limit and before any line is
        returned. Nothing is lost: `feed(b"")` then returns the good lines around it.
        """
        head, newline, rest = data.partition(b"\n")
        if newline:
            self._extend(head)
            self._end_line()
            whole = rest.split(b"\n")
            tail = whole.pop()
            for line in whole:
                self._extend(line)
                self._end_line()
            self._extend(tail)
        else:
            self._extend(data)
        if self._oversized:
            self._oversized -= 1
            raise RequestTooLarge(f"a line may have {self._limit} bytes")
        ready, self._ready = self._ready, []
        return ready

    @property
    def pending(self) -> bool:
        """Whether there is the beginning of a line that is not complete."""
        return self._size > 0 or self._skipping

    def finish(self) -> bytes:
        """Return the last line, which lacks its newline, and forget it; to be called once the stream has ended."""
        line = b"".join(self._parts)
        self._parts, self._size, self._skipping = [], 0, False
        return line.strip()

    def _extend(self, part: bytes) -> None:
        if self._skipping or not part:
            return
        if self._size + len(part) > self._limit:
            self._parts, self._size = [], 0
            self._skipping = True
            self._oversized += 1
            return
        self._parts.append(part)
        self._size += len(part)

    def _end_line(self) -> None:
        if not self._skipping:
            line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            if line and not line.isspace():
                self._ready.append(line)
        self._parts, self._size, self._skipping = [], 0, False
