"""`ptybridge mcp` as a child, spoken to by hand; and daemons of a test's own for it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

PATIENCE_SECONDS = 60.0
T = TypeVar("T")
PROGRAM = [sys.executable, "-m", "ptybridge"]


def eventually(condition: Callable[[], T | None], what: str) -> T:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


def run(*arguments: str) -> str:
    """Run a command of ptybridge; return what it prints."""
    done = subprocess.run(
        [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def daemon_pid() -> int:
    """The pid of the test's daemon."""
    return int(json.loads(run("status", "--json"))["pid"])


class Stdio:
    """One `ptybridge mcp`."""

    def __init__(self, *options: str, headers: bool = False, env: dict[str, str] | None = None, **more: Any) -> None:
        self._headers = headers
        self.process = subprocess.Popen(
            [*PROGRAM, "mcp", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            **more,
        )
        self._unread = b""
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def send(self, message: object) -> None:
        """Send a message, or bytes as they are."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body) if self._headers else body + b"\n")
        self.process.stdin.flush()

    def next(self) -> Any:
        """Return the next message."""
        while True:
            head, found, rest = self._unread.partition(b"\r\n\r\n" if self._headers else b"\n")
            if found and not self._headers:
                self._unread = rest
                return json.loads(head)
            if found:
                length = int(head.removeprefix(b"Content-Length: "))
                if len(rest) >= length:
                    self._unread = rest[length:]
                    return json.loads(rest[:length])
            assert self.process.stdout is not None
            assert select.select([self.process.stdout], [], [], PATIENCE_SECONDS)[0], "no answer"
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            assert data, "standard output has ended"
            self._unread += data

    def answer(self, message_id: object) -> Any:
        """Return the answer to a request; other messages are passed over."""
        while True:
            message = self.next()
            if message.get("id") == message_id and "method" not in message:
                return message

    def ask(self, method: str, **params: Any) -> Any:
        """Make a request; return the answer."""
        self._count += 1
        self.send({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        return self.answer(self._count)

    def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool; return its result."""
        return self.ask("tools/call", name=tool, arguments=arguments)["result"]

    def initialize(self, version: str = "2025-06-18") -> Any:
        """Shake hands."""
        hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        found = self.ask("initialize", **hello)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return found["result"]

    def leave(self) -> int:
        """Close standard input; return the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)

    def signalled(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def stderr(self) -> str:
        """Everything it has said, once it has ended."""
        assert self.process.stderr is not None
        said: bytes = self.process.stderr.read()
        return said.decode()


def private_directories(where: Path) -> list[Path]:
    """What isolated daemons have made."""
    return sorted(where.glob("ptybridge-mcp-*"))
