"""Standard input on its way into a session, for `run` away from a terminal.

How it works: a piece is read when the one before has been accepted. Accepted is not read: what the program has not
taken waits in the daemon, where the position in its queue tells of how much that is true. A daemon that hands over
hands that on; with one that is killed it is gone. Then the user is told how much that may be, because a program that
misses a part of its input comes to a wrong result, and its input is ended again, or it would wait for ever.
"""

import os
import time
from base64 import b64encode
from collections import deque
from typing import Final

from ptybridge.api.terminal import WRITE, Write
from ptybridge.cli.app import note
from ptybridge.errors import ConnectionLost, InputClosed, InputFull, SessionExited, SessionNotFound
from ptybridge.sdk.resume import Client

READ_BYTES: Final = 64 * 1024
# How long to wait before trying again when the queue is full.
RETRY_SECONDS: Final = 0.05
# When to ask whether what waits has been read, at first and at last.
ASK_SECONDS: Final = (0.25, 8.0)


class Feeder:
    """Reads standard input and sends it, until its end or until the program wants no more."""

    def __init__(self, client: Client, session_id: str) -> None:
        self._client = client
        self._session_id = session_id
        self._open = True
        self._pending = b""
        self._next_try = 0.0
        # The sizes of the pieces that the program may not have been given; the end of input has none.
        self._waiting: deque[int] = deque()
        self._ask_after, self._ask_at = ASK_SECONDS[0], 0.0

    @property
    def hungry(self) -> bool:
        """Whether more can be read."""
        return self._open and not self._pending

    def seconds(self, now: float) -> float | None:
        """Return in how many seconds `attend` has something to do; None for never."""
        due = self._next_try if self._pending else self._ask_at if self._waiting else None
        return None if due is None else max(0.0, due - now)

    def read(self) -> None:
        """Read a piece, or the end, when it is there."""
        try:
            self._pending = os.read(0, READ_BYTES)
        except OSError:
            pass  # closed, or a terminal that is gone
        if not self._pending:
            self._open = False
            self._end()

    def attend(self) -> None:
        """Send what has been read as soon as there is room, and ask what has become of it."""
        now = time.monotonic()
        if self._pending:
            if now >= self._next_try and self._send(self._pending):
                self._pending = b""
        elif self._waiting and now >= self._ask_at:
            self._ask()

    def replaced(self) -> None:
        """There is another daemon: find out whether it has what waited."""
        doubt, ended = sum(self._waiting), not self._open
        if not self._waiting or not self._ask() or self._waiting:
            return
        if doubt:
            _tell(doubt)
        if ended:
            self._end()

    # -- inside ---------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> bool:
        try:
            position = self._write(data)
        except InputFull:
            self._next_try = time.monotonic() + RETRY_SECONDS
            return False
        except ConnectionLost:
            _tell(len(data))  # input is never sent twice
        else:
            self._waiting.append(len(data))
            self._keep(position + 1)
        return True

    def _end(self) -> None:
        try:
            position = self._write(eof=True)
        except ConnectionLost:
            position = self._write(eof=True)  # ending it twice does no harm
        self._waiting.append(0)
        self._keep(position + 1 if position else 0)

    def _ask(self) -> bool:
        self._ask_after = min(2 * self._ask_after, ASK_SECONDS[1])
        self._ask_at = time.monotonic() + self._ask_after
        try:
            position = self._write()
        except ConnectionLost:
            return False  # there will be another daemon, and we shall be told
        self._waiting_at_most(position)
        return True

    def _keep(self, count: int) -> None:
        self._ask_after = ASK_SECONDS[0]
        self._ask_at = time.monotonic() + self._ask_after
        self._waiting_at_most(count)

    def _waiting_at_most(self, count: int) -> None:
        while len(self._waiting) > count:
            self._waiting.popleft()

    def _write(self, data: bytes = b"", *, eof: bool = False) -> int:
        """Send input; return how many pieces wait before it. Raises `ConnectionLost`, `InputFull`."""
        params = Write(session_id=self._session_id, data=b64encode(data).decode(), encoding="base64", eof=eof)
        try:
            return self._client.call(WRITE, params).queue_position
        except (InputClosed, SessionExited, SessionNotFound):
            self._open = False  # it wants no more, which is its right
            self._waiting.clear()
            return 0


def _tell(count: int) -> None:
    note(f"the daemon was replaced just now; whether {count} bytes of input arrived is not known")
