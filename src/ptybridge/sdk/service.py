"""Whether systemd runs this user's daemon, and how it is asked to start it."""

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final

DAEMON_UNIT: Final = "ptybridge.service"
# Where the system's own instances have their sockets; connecting to one starts what is behind it.
SYSTEM_SOCKETS: Final = "/run/ptybridge/"
_DIRECTORIES: Final = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")


def unit_file(socket: str) -> Path | None:
    """Return the file of the unit that is installed for the daemon on `socket`, None if there is none."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    own = os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.config"), "systemd/user")
    for directory in (own, *_DIRECTORIES):
        path = Path(directory, DAEMON_UNIT)
        with contextlib.suppress(OSError):
            text = path.read_text().replace("%t", os.environ.get("XDG_RUNTIME_DIR", "")).replace("%%", "%")
            return path if f"PTYBRIDGE_SOCKET={socket}\n" in text else None
    return None


def start(socket: str, seconds: float) -> bool:
    """Let systemd start the daemon on `socket`, if that is its business; return whether it is, and does so."""
    if socket.startswith(SYSTEM_SOCKETS):
        return True
    if unit_file(socket) is None:
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = ["systemctl", "--user", "start", DAEMON_UNIT]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds).returncode == 0
    return False


def lingers(user: str) -> bool | None:
    """Return whether the user's services outlive the last logout, None where that is not known."""
    if not os.path.isdir("/run/systemd/system"):
        return None
    return os.path.exists(f"/var/lib/systemd/linger/{user}")
