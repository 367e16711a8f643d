"""The keeper's place: directory, lock, sockets, systemd, and what it imports."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.keeper.harness import SOURCE, Daemon, KeeperProcess

from ptybridge.keeper.runtime import AlreadyRunningError, is_locked, listen, prepare_directory, take_lock


def test_second_keeper_of_a_directory_gives_up_and_leaves_the_first_alone(
    daemon: Daemon, start_keeper: Callable[..., KeeperProcess]
) -> None:
    second = start_keeper(stderr=subprocess.PIPE)
    _, complaint = second.process.communicate(timeout=60)
    assert second.process.returncode == os.EX_TEMPFAIL
    assert b"another keeper" in complaint
    assert daemon.call("list").body["sessions"] == []


def test_lock_tells_whether_a_keeper_lives(daemon: Daemon, keeper: KeeperProcess) -> None:
    directory = str(keeper.directory)
    daemon.spawn(["sleep", "1000"])
    assert is_locked(directory)
    keeper.kill()
    assert not is_locked(directory)
    assert not is_locked(str(keeper.directory / "nowhere"))


def test_lock_is_held_by_one_only(run_dir: Path) -> None:
    fd = take_lock(str(run_dir))
    with pytest.raises(AlreadyRunningError):
        take_lock(str(run_dir), patience=0.05)
    os.close(fd)
    os.close(take_lock(str(run_dir)))


def test_sockets_are_for_their_owner_only(daemon: Daemon, keeper: KeeperProcess) -> None:
    assert [os.stat(path).st_mode & 0o777 for path in (keeper.path, keeper.listen_path)] == [0o600, 0o600]


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o702])
def test_directory_others_can_enter_is_refused(
    run_dir: Path, start_keeper: Callable[..., KeeperProcess], mode: int
) -> None:
    run_dir.chmod(mode)
    keeper = start_keeper(stderr=subprocess.PIPE)
    assert b"must be a directory of ours" in keeper.process.communicate(timeout=60)[1]
    assert keeper.process.returncode == 1
    assert list(run_dir.iterdir()) == []


def test_missing_directory_is_made_private(tmp_path: Path) -> None:
    prepare_directory(str(tmp_path / "a"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_clients_can_connect_while_no_daemon_runs(daemon: Daemon, keeper: KeeperProcess) -> None:
    daemon.close()
    clients = []
    for _ in range(50):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(60)
        client.connect(keeper.listen_path)
        client.sendall(b"hello")
        clients.append(client)
    successor = Daemon(keeper.path)
    with socket.socket(fileno=os.dup(successor.fds[0])) as listener:
        listener.settimeout(60)
        for client in clients:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(5) == b"hello"
                connection.sendall(b"hi")
            assert client.recv(2) == b"hi"
            client.close()
    successor.close()


def test_sockets_of_systemd_are_taken_and_readiness_is_told(run_dir: Path) -> None:
    control = listen(str(run_dir / "control"), socket.SOCK_SEQPACKET)
    listener = listen(str(run_dir / "clients"), socket.SOCK_STREAM)
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(run_dir / "notify"))
    notified.settimeout(60)
    # systemd sets LISTEN_PID to the pid of the new process; here it is left out, as by a daemon that starts a keeper.
    command = f'exec 3<&{listener.fileno()} 4<&{control.fileno()}; exec "$0" -m ptybridge.keeper'
    keeper = subprocess.Popen(
        ["bash", "-c", command, sys.executable],
        env={**os.environ, "PYTHONPATH": SOURCE, "LISTEN_FDS": "2", "NOTIFY_SOCKET": str(run_dir / "notify")},
        pass_fds=[control.fileno(), listener.fileno()],
    )
    try:
        assert notified.recv(100) == b"READY=1"
        daemon = Daemon(str(run_dir / "control"))
        kept = daemon.spawn(["sh", "-c", "echo $LISTEN_FDS$NOTIFY_SOCKET."])
        assert kept.wait_eof() == b".\r\n"
        with socket.socket(fileno=os.dup(daemon.fds[0])) as held:
            assert held.getsockname() == str(run_dir / "clients")
        daemon.close()
    finally:
        keeper.terminate()
        keeper.wait()
        for sock in (control, listener, notified):
            sock.close()


def test_without_sockets_the_keeper_says_what_is_missing() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ptybridge.keeper"], env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True
    )
    assert result.returncode == 1
    assert b"--control and --listen" in result.stderr


def test_keeper_imports_only_the_standard_library_and_ptyprocess() -> None:
    code = "import sys, ptybridge.keeper.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[SOURCE, *_site()]!r}; {code}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    foreign = {name for name in found if name not in sys.stdlib_module_names and name != "__main__"}
    assert foreign == {"ptybridge", "ptyprocess"}


def test_keeper_imports_no_other_part_of_ptybridge() -> None:
    code = "import sys, ptybridge.keeper.__main__; print(*[name for name in sys.modules if 'ptybridge.' in name])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert [name for name in found if not name.startswith("ptybridge.keeper")] == []


def _site() -> list[str]:
    import ptyprocess

    assert ptyprocess.__file__ is not None
    return [str(Path(ptyprocess.__file__).parents[1])]
