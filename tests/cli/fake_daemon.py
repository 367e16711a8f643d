"""A daemon that says what the test says, on a real socket: one line in, as many lines out as the test gives."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]

SESSION: dict[str, Any] = {
    "session_id": "s1", "name": "build", "owner": None, "created_by": "uid:0", "tags": [], "access": "admin",
    "backend": "pty", "command": ["make", "test"], "cwd": "/", "pid": 10, "pgid": 10, "state": "running",
    "exit_code": None, "exit_signal": None, "exit_reason": None, "output_closed": False, "rows": 24, "cols": 80,
    "window_size_policy": "latest", "title": "", "created_at_ms": 0, "last_active_at_ms": 0, "exited_at_ms": None,
    "start_offset": 0, "end_offset": 0, "bytes_read": 0, "bytes_written": 0, "waiting_for_input": False,
    "foreground": None, "clients": [], "streams": None, "overflow": "drain", "max_output_bytes": 65536,
    "idle_timeout_ms": None, "max_runtime_ms": None, "linger_ms": 500, "input_bytes_per_second": None,
    "output_bytes_per_second": None,
    "keep_ms": None,
    "profile": None,
    "shell_integration": "off",
    "current_cwd": None,
    "running_command": None,
    "log_dir": None,
    "workspace": None,
    "recovered_at_ms": None,
    "lease": None,
    "unattended_timeout_ms": None,
    "max_clients": None,
    "shared": False,
}  # fmt: skip


def session(**changes: Any) -> dict[str, Any]:
    """Return a session object as the daemon sends it."""
    return {**SESSION, **changes}


class FakeDaemon:
    """Answers by method name; `requests` is what it was asked. A method without an answer gets an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._answers: dict[str, Answer] = {}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def result(self, method: str, result: Any) -> None:
        """Answer a call with a result."""
        self._answers[method] = lambda request: [{"jsonrpc": "2.0", "id": request["id"], "result": result}]

    def error(self, method: str, code: str, message: str, **data: Any) -> None:
        """Answer a call with an error."""
        error = {"code": -32000, "message": message, "data": {"code": code, "retryable": False, **data}}
        self._answers[method] = lambda request: [{"jsonrpc": "2.0", "id": request["id"], "error": error}]

    def stream(self, method: str, opened: dict[str, Any], events: list[dict[str, Any]], end: dict[str, Any]) -> None:
        """Answer with a stream."""

        def lines(request: dict[str, Any]) -> list[dict[str, Any]]:
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": {"stream_id": "x", **opened}}
            notes = [("stream.event", {"stream_id": "x", "event": one}) for one in events]
            notes.append(("stream.end", {"stream_id": "x", **end}))
            return [answer, *({"jsonrpc": "2.0", "method": name, "params": params} for name, params in notes)]

        self._answers[method] = lines

    def raw(self, method: str, answer: Answer) -> None:
        """Answer with whatever lines `answer` gives."""
        self._answers[method] = answer

    def close(self) -> None:
        """Stop listening."""
        # Else the thread that waits in accept(2) would wait for ever, and keep a number of a descriptor for itself.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        # Who is killed leaves answers unread, and that resets the connection.
        with contextlib.suppress(ConnectionError), peer, peer.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                self.requests.append((request["method"], request.get("params") or {}))
                answer = self._answers.get(request["method"], _unknown)
                try:
                    for reply in answer(request):
                        peer.sendall(json.dumps(reply).encode() + b"\n")
                except OSError:
                    return


def _unknown(request: dict[str, Any]) -> list[dict[str, Any]]:
    data = {"code": "method_not_found", "retryable": False}
    return [{"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no", "data": data}}]


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    """A fake daemon where the commands of this test look for one."""
    fake = FakeDaemon(Path(os.environ["XDG_RUNTIME_DIR"], "ptybridge", "daemon.sock"))
    yield fake
    fake.close()
