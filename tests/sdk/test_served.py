"""A socket without a daemon behind it: the keeper listens on while the daemon is away."""

import fcntl
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptybridge.errors import ConnectionLost, DaemonUnreachable
from ptybridge.sdk.blocking import Connection, connect


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


@pytest.fixture
def kept(runtime_dir: Path) -> Iterator[tuple[str, socket.socket]]:
    """Give the path and the listener of a keeper that has had a daemon when we connected, and has none now."""
    runtime_dir.chmod(0o700)
    path = runtime_dir / "daemon.sock"
    (runtime_dir / "keeper.sock").touch()
    Path(f"{path}.lock").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield str(path), listener


def dying_daemon(path: str) -> Connection:
    with open(f"{path}.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return connect(path)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_daemon_that_dies_before_it_accepts_is_not_waited_for(
    kept: tuple[str, socket.socket], timeout: float | None
) -> None:
    with (
        dying_daemon(kept[0]) as connection,
        pytest.raises(ConnectionLost, match="gone away before it answered; its sessions are kept"),
    ):
        connection.call_raw("node.info", {}, timeout)


def test_the_next_daemon_gets_what_was_sent_and_gets_it_once(kept: tuple[str, socket.socket]) -> None:
    path, listener = kept
    asked = []

    def next_daemon() -> None:
        while True:
            try:
                theirs, _ = listener.accept()
            except OSError:
                return
            with theirs, theirs.makefile("rb") as lines:
                for line in lines:
                    asked.append(json.loads(line)["method"])
                    theirs.sendall(b'{"jsonrpc": "2.0", "id": 1, "result": {"well": true}}\n')

    daemon = threading.Thread(target=next_daemon)
    lock = open(f"{path}.lock")  # noqa: SIM115  # held until the end, as a daemon does

    def revive() -> None:
        fcntl.flock(lock, fcntl.LOCK_EX)
        daemon.start()

    with lock, dying_daemon(path) as connection:
        connection.revive = revive
        assert connection.call_raw("session.write", {}) == {"well": True}
        assert asked == ["session.write"]
        connection.close()
        listener.shutdown(socket.SHUT_RDWR)
        daemon.join()
