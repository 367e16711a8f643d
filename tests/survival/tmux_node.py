"""Daemons without a keeper that share the directory of tmux, as `ptybridge mcp --isolated` has them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60


class Node:
    """A daemon of a name."""

    def __init__(self, directory: Path, name: str, tmux: Path | None = None) -> None:
        home = directory / name
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PTYBRIDGE_", "XDG_"))},
            "PTYBRIDGE_SOCKET": str(home / "s"),
            "PTYBRIDGE_STATE_DIR": str(home),
            "PTYBRIDGE_RUNTIME_DIR": str(home),
            "PTYBRIDGE_TMUX_DIR": str(tmux or directory / "t"),
            "PTYBRIDGE_CONFIG": str(home / "none.toml"),
            "PTYBRIDGE_DAEMON_AUTOSTART": "false",
        }
        home.mkdir(mode=0o700)
        (home / "none.toml").touch()
        command = [sys.executable, "-m", "ptybridge", "serve", "--no-keeper"]
        self.process = subprocess.Popen(
            command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.call("node.info", False) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def call(self, operation: str, check: bool = True, /, **params: object) -> Any:
        command = [sys.executable, "-m", "ptybridge", "call", operation]
        command += [f"{key}:={json.dumps(value)}" for key, value in params.items()]
        done = subprocess.run(
            command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
        if done.returncode:
            assert not check, done.stderr
            return None
        return json.loads(done.stdout)

    def create(self, name: str, **more: object) -> Any:
        return self.call("session.create", True, command=["cat"], backend="tmux", name=name, owner="me", **more)

    def text(self, session_id: str, condition: str) -> str:
        self.call("session.wait", session_id=session_id, until=[{"pattern": condition}], timeout_ms=30_000)
        return str(self.call("session.read", session_id=session_id, offset=0)["data"])

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(PATIENCE_SECONDS)
