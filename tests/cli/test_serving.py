"""`ptybridge serve -c CMD --public` as a process: its link, and how it ends."""

import fcntl
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 60


class Served:
    """The process, and a visitor who has its link."""

    def __init__(self, home: Path, *options: str) -> None:
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PTYBRIDGE_", "XDG_"))},
            "PTYBRIDGE_SOCKET": str(home / "d" / "daemon.sock"),
            "PTYBRIDGE_STATE_DIR": str(home / "s"),
            "PTYBRIDGE_RUNTIME_DIR": str(home / "d"),
            "XDG_CONFIG_HOME": str(home / "c"),
        }
        command = [sys.executable, "-m", "ptybridge", "serve", "--no-keeper", "--port", "0", *options]
        self.process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.said = ""

    def link(self) -> str:
        """Wait for the link for visitors."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line.decode()
            found = re.search(r"for visitors: (\S+)", self.said)
            if found:
                return found[1]
        raise AssertionError(self.said)

    def open(self, path: str, body: object = None) -> Any:
        """Ask with the link's key."""
        if not hasattr(self, "base"):
            link = self.link()
            self.base, self.key = link.partition("/login")[0], link.partition("#")[2]
        request = urllib.request.Request(
            self.base + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        return urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)

    def join(self) -> str:
        with self.open("/v1/share/join", {}) as answer:
            return str(json.load(answer)["session_id"])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def wait(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def serve(runtime_dir: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*options: str) -> Served:
        started.append(Served(runtime_dir, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_once_ends_with_the_status_of_the_program(serve: Callable[..., Served]) -> None:
    served = serve("-c", "read line; exit 7", "--public", "--once")
    session_id = served.join()
    served.open(f"/v1/sessions/{session_id}/input", {"data": "go\n"}).close()
    assert served.wait() == 7


def test_once_ends_when_the_first_visitor_leaves(serve: Callable[..., Served]) -> None:
    # As long as a busy machine may take from joining to the visitor's being there.
    served = serve("-c", "exec cat", "--public", "--once", "--grace", "5s")
    session_id = served.join()
    with served.open(f"/v1/sessions/{session_id}/events") as stream:
        assert b"retry" in stream.readline()
        assert served.process.poll() is None
    assert served.wait() == 0


def test_a_keyword_that_needs_public_says_so(serve: Callable[..., Served]) -> None:
    served = serve("-c", "cat", "--web", "--read-only")
    assert served.wait() == 2
    assert served.process.stderr is not None
    assert b"--public" in served.process.stderr.read()
    assert serve("--public").wait() == 2


def test_who_finds_another_daemon_is_told_how_to_call_us(runtime_dir: Path) -> None:
    directory = runtime_dir / "ptybridge"
    directory.mkdir(mode=0o700)
    command = [sys.executable, "-m", "ptybridge", "serve"]
    with (directory / "daemon.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert "stop it with its sessions (`python -m ptybridge stop`)" in done.stderr
