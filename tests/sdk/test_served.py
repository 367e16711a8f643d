"""A socket without a daemon behind it: the keeper listens on while the daemon is away."""

import fcntl
import socket
from pathlib import Path

import pytest

from ptybridge.errors import DaemonUnreachable
from ptybridge.sdk.blocking import connect


def test_a_keeper_that_listens_is_no_daemon(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o700)
    path = runtime_dir / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as listener, open(f"{path}.lock", "w") as lock:
        listener.bind(str(path))
        listener.listen()
        connect(str(path)).close()  # no keeper: whoever listens will answer, be it systemd
        (runtime_dir / "keeper.sock").touch()
        with pytest.raises(DaemonUnreachable, match="no daemon serves") as caught:
            connect(str(path))
        assert caught.value.data == {"kept": True}
        fcntl.flock(lock, fcntl.LOCK_EX)
        connect(str(path)).close()


def test_without_a_lock_file_nobody_is_turned_away(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o700)
    path = runtime_dir / "daemon.sock"
    (runtime_dir / "keeper.sock").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        connect(str(path)).close()
