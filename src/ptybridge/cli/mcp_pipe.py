"""The pipe of `ptybridge mcp`: an MCP client's standard input and output on one side, the daemon on the other.

How it works: one loop over poll(2), nothing but the standard library. Bytes that one side does not take yet are held,
and beyond a limit the other side is not read, so memory is bounded and neither side can block the other. When the
daemon goes away, the client notices nothing but a pause: see `mcp_requests`. What the client says meanwhile waits.
"""

import json
import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ptybridge.cli.mcp_framing import BadHeader, Framing, Oversized
from ptybridge.cli.mcp_requests import LOST, Conversation, Request
from ptybridge.errors import PtybridgeError

READ_BYTES: Final = 256 * 1024
HELD_BYTES: Final = 1 << 20
# A pipe that poll(2) calls writable takes this much without blocking: pipe(7), PIPE_BUF.
PIPE_BYTES: Final = 4096
# After the client's last word: how long answers that are just being made may take.
FAREWELL_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 10.0

# Marks what is said to a new daemon on our own account; no JSON text is empty.
AGAIN: Final = ""

Say = Callable[[str, str], None]


class Source(Protocol):
    """Where there is a daemon to speak to."""

    def open(self, *, start: bool) -> tuple[socket.socket, bytes, list[str]]:
        """Return a channel, what has come behind its opening, and the tools that only look.

        Starts a daemon only if told so, or if one is missed. Raises `PtybridgeError`.
        """
        ...


class Pipe:
    """One client's conversation, from its first byte to its last."""

    def __init__(self, source: Source, say: Say, stdin: int = 0, stdout: int = 1) -> None:
        self._source = source
        self._say = say
        self._stdin = stdin
        self._stdout = stdout
        self._is_socket = stat.S_ISSOCK(os.fstat(stdout).st_mode)
        self._framing = Framing()
        self._conversation = Conversation()
        self._sock: socket.socket | None = None
        self._received = bytearray()
        self._searched = 0
        self._to_client = bytearray()
        self._to_daemon: deque[tuple[str | None, bytes]] = deque()
        self._held = 0
        self._sent_of_first = 0
        self._lost_at = 0.0
        self._farewell: float | None = None
        self._client_gone = False
        self._poll = select.poll()
        self._wanted: dict[int, int] = {}
        self._client_takes = select.poll()
        self._client_takes.register(stdout, select.POLLOUT)

    def run(self) -> int:
        """Relay until the client has gone; return the exit code. Raises `PtybridgeError` when it cannot begin."""
        self._connect(start=True)
        while not self._finished():
            self._step()
        if self._sock is not None:
            self._sock.close()
        return 0

    def _finished(self) -> bool:
        if self._client_gone:
            return True
        if self._farewell is None:
            return False
        done = not self._conversation.in_flight and not self._to_client
        return done or self._sock is None or time.monotonic() >= self._farewell

    def _step(self) -> None:
        for fd, events in self._wanted_events().poll(self._patience_ms()):
            if fd == self._stdin:
                self._read_client()
            elif fd == self._stdout:
                self._flush_client()
            elif events & select.POLLOUT and self._sock is not None:
                self._flush_daemon()
            if self._sock is not None and fd == self._sock.fileno() and events & ~select.POLLOUT:
                self._read_daemon()
        if self._sock is None and not self._client_gone:
            self._look_for_daemon()

    def _wanted_events(self) -> select.poll:
        """Return what to wait for; mostly it is the same as before."""
        wanted = {}
        if self._farewell is None and self._held < HELD_BYTES:
            wanted[self._stdin] = select.POLLIN
        if self._to_client:
            wanted[self._stdout] = select.POLLOUT
        if self._sock is not None:
            taking = select.POLLIN if len(self._to_client) < HELD_BYTES else 0
            wanted[self._sock.fileno()] = taking | (select.POLLOUT if self._to_daemon else 0)
        if wanted != self._wanted:
            self._wanted, self._poll = wanted, select.poll()
            for fd, events in wanted.items():
                self._poll.register(fd, events)
        return self._poll

    def _patience_ms(self) -> float | None:
        if self._farewell is not None:
            return max(0.0, (self._farewell - time.monotonic()) * 1000)
        if self._sock is None and not self._is_parked():
            return RETRY_SECONDS * 1000
        return None

    # -- the client -----------------------------------------------------------------------------------------

    def _read_client(self) -> None:
        try:
            data = os.read(self._stdin, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # A last line may lack its newline.
            data = b"\n" if not self._framing.headers else b""
            self._farewell = time.monotonic() + FAREWELL_SECONDS
        self._framing.feed(data)
        while True:
            try:
                message = self._framing.next()
            except Oversized:
                self._refuse(-32600, "this message is larger than 24 MiB")
                continue
            except BadHeader:
                self._refuse(-32700, "headers without a Content-Length")
                continue
            if message is None:
                break
            request = self._conversation.sent(message)
            self._queue(request.key if request is not None else None, message)
        self._flush_daemon()

    def _refuse(self, code: int, text: str) -> None:
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}}
        self._tell_client(json.dumps(error).encode())

    def _tell_client(self, message: bytes) -> None:
        self._to_client += self._framing.encode(message)

    def _flush_client(self) -> None:
        """Write what the client takes now."""
        while self._to_client and self._client_takes.poll(0):
            try:
                if self._is_socket:
                    view = memoryview(self._to_client)[:READ_BYTES]
                    sent = _send_now(self._stdout, view)
                    view.release()
                else:
                    sent = os.write(self._stdout, bytes(self._to_client[:PIPE_BYTES]))
            except BlockingIOError:
                return
            except OSError:
                self._client_gone = True
                return
            del self._to_client[:sent]

    # -- the daemon -----------------------------------------------------------------------------------------

    def _queue(self, key: str | None, message: bytes) -> None:
        self._to_daemon.append((key, message + b"\n"))
        self._held += len(message) + 1

    def _flush_daemon(self) -> None:
        while self._to_daemon and self._sock is not None:
            _, line = self._to_daemon[0]
            try:
                sent = self._sock.send(memoryview(line)[self._sent_of_first :], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                self._lose()
                return
            self._sent_of_first += sent
            if self._sent_of_first == len(line):
                self._to_daemon.popleft()
                self._held -= len(line)
                self._sent_of_first = 0

    def _read_daemon(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\n", self._searched)) >= 0:
            line = bytes(memoryview(self._received)[:end])
            del self._received[: end + 1]
            self._searched = 0
            if self._conversation.is_for_client(line):
                self._tell_client(line)
        self._searched = len(self._received)
        self._flush_client()

    # -- without a daemon -----------------------------------------------------------------------------------

    def _lose(self) -> None:
        """The daemon has gone; half an answer is none, and half a message was never understood."""
        assert self._sock is not None
        self._sock.close()
        self._sock = None
        self._lost_at = time.monotonic()
        self._received.clear()
        self._searched = self._sent_of_first = 0
        self._to_daemon = deque(one for one in self._to_daemon if one[0] != AGAIN)
        self._held = sum(len(line) for _, line in self._to_daemon)
        self._say("info", "the daemon has gone away; waiting for the next one")

    def _is_parked(self) -> bool:
        return time.monotonic() - self._lost_at > PATIENCE_SECONDS

    def _look_for_daemon(self) -> None:
        """Go on with the next daemon, if there is one; when there is none for long, start it for the next request."""
        parked = self._is_parked()
        if parked and not self._conversation.in_flight:
            return
        try:
            self._connect(start=parked)
        except (PtybridgeError, OSError) as exc:
            if not parked:
                return
            text = exc.message if isinstance(exc, PtybridgeError) else str(exc)
            self._say("error", text)
            self._fail_all(f"there is no daemon: {text}")

    def _connect(self, *, start: bool) -> None:
        sock, rest, repeatable = self._source.open(start=start)
        undelivered = {key for key, _ in self._to_daemon if key is not None}
        self._conversation.repeatable = set(repeatable)
        again, failed = self._conversation.begin_again(undelivered)
        self._sock = sock
        for request in failed:
            self._tell_client(request.failed(LOST))
        for line in reversed(again):
            self._to_daemon.appendleft((AGAIN, line + b"\n"))
            self._held += len(line) + 1
        if self._lost_at:
            self._say("info", "a daemon is there again")
        if rest:
            self._take(rest)
        self._flush_daemon()
        self._flush_client()

    def _fail_all(self, text: str) -> None:
        waiting: list[Request] = list(self._conversation.in_flight.values())
        self._conversation.in_flight.clear()
        self._to_daemon.clear()
        self._held = 0
        for request in waiting:
            self._tell_client(request.failed(text))
        self._flush_client()


def _send_now(fd: int, data: memoryview) -> int:
    """Send on a socket that others may want blocking."""
    sock = socket.socket(fileno=fd)
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    finally:
        sock.detach()
