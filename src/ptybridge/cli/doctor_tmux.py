"""What `doctor` finds of tmux: the program, and this daemon's private server. Nothing is started."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Final

from ptybridge.cli.doctor_checks import Finding

ANSWER_SECONDS: Final = 5.0
# Holds the place of the first window while it is being made.
_NO_SESSION: Final = "(placeholder)"
_INSTALL: Final = "only `--backend tmux` needs it: install tmux 3.2 or later"


def look(path: str) -> Iterator[Finding]:
    """Say which tmux there is, and what runs in the server at `path`, which need not exist."""
    program = shutil.which("tmux")
    if program is None:
        yield Finding("tmux", "ok", f"not installed; {_INSTALL}")
        return
    version = _ask([program, "-V"])
    if version is None:
        yield Finding("tmux", "warn", f"{program} cannot be run", _INSTALL)
        return
    what = f"{version[0] if version else 'of no version'} ({program})"
    if not _serves(path):
        yield Finding("tmux", "ok", f"{what}; no session in it, so no server at {path}")
        return
    # -N: never start one.
    windows = _ask([program, "-N", "-S", path, "list-windows", "-a", "-F", "#{window_id} #{window_name}"])
    if windows is None:
        yield Finding(
            "tmux",
            "fail",
            f"{what}; the server at {path} does not answer",
            f"its sessions hang with it; `tmux -S {path} kill-server` ends them, else kill the process",
        )
        return
    # Those of workspaces are in two tmux sessions.
    count = len({line.partition(" ")[0] for line in windows if not line.endswith(f" {_NO_SESSION}")})
    yield Finding("tmux", "ok", f"{what}; the server at {path} answers, sessions in it: {count}")


def _serves(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ANSWER_SECONDS)
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def _ask(command: list[str]) -> list[str] | None:
    environment = {name: value for name, value in os.environ.items() if name not in {"TMUX", "TMUX_PANE"}}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").splitlines()
