"""Files through the blocking SDK and the shell, with a real daemon that is killed in the middle."""

import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ptybridge.api import archive
from ptybridge.api.operation import Operation, Params
from ptybridge.api.transfer import Download, Upload
from ptybridge.errors import ConnectionLost
from ptybridge.sdk.blocking import Connection, connect
from ptybridge.sdk.sync.connection import Connection as SdkConnection
from ptybridge.sdk.sync.connection import Frames
from ptybridge.sdk.transfer import download, upload
from ptybridge.wire.attach import Ack, Finish, encode

MANY = 48 << 20
# Room for buffers, a window both ways and the noise of a Python process; far less than what is sent.
FLAT_BYTES = 48 << 20


class Served:
    """A daemon in a process of its own, started by commands."""

    def __init__(self, tmp_path: Path, runtime_dir: Path) -> None:
        self.home = tmp_path / "home"
        self.env = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.env |= {"XDG_RUNTIME_DIR": str(runtime_dir), "XDG_STATE_HOME": str(tmp_path / "state")}
        self.env |= {"XDG_CONFIG_HOME": str(tmp_path / "config")}
        self.socket = str(runtime_dir / "ptybridge" / "daemon.sock")

    def cli(self, *words: str, data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "ptybridge", *words]
        return subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, timeout=100, input=data)

    def connect(self) -> Connection:
        """Connect, starting the daemon if there is none."""
        done = self.cli("ls")
        assert done.returncode == 0, done.stderr
        return connect(self.socket)

    def pid(self) -> int:
        return int(json.loads(self.cli("status", "--json").stdout)["pid"])

    def peak_bytes(self, pid: int) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024


@pytest.fixture
def served(tmp_path: Path, runtime_dir: Path) -> Iterator[Served]:
    served = Served(tmp_path, runtime_dir)
    yield served
    served.cli("stop")
    # Shown when the test has failed.
    print((tmp_path / "state/ptybridge/daemon.log").read_text())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    block = hashlib.sha256(b"ptybridge").digest() * 2048
    with path.open("wb") as out:
        for number in range(MANY // len(block)):
            out.write(number.to_bytes(8, "big") + block[8:])
    return path


def kill(pid: int) -> None:
    """Kill a daemon; returns once none of its threads can write any more."""
    pidfd = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        assert select.select([pidfd], [], [], 60)[0]
    finally:
        os.close(pidfd)


def test_a_daemon_killed_in_the_middle_of_an_upload_leaves_no_half_file(
    served: Served, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    before = served.connect()
    before.close()
    pid = served.pid()
    killed = False

    def kill_half_way(done: int, size: int) -> None:
        nonlocal killed
        if done > size // 2 and not killed:
            os.kill(pid, signal.SIGKILL)
            killed = True

    begun: list[int] = []
    params = Upload(path=str(target), upload_id="abcdefgh")
    with source.open("rb") as opened:
        with pytest.raises(ConnectionLost):
            upload(served.connect, opened.fileno(), params, kill_half_way)
        assert target.read_text() == "old"
        stored = upload(served.connect, opened.fileno(), params, lambda done, _: begun.append(done))
    assert begun[0] > MANY // 2, "it goes on where it was"
    assert stored.size == MANY
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kind", ["archive", "extract"])
def test_what_a_killed_daemon_leaves_half_made_is_tidied_up_by_the_next(
    served: Served, tmp_path: Path, kind: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with (work / "zeros.tar").open("wb") as tar:
        info = tarfile.TarInfo("large")
        info.size = 1 << 40
        tar.write(info.tobuf(tarfile.GNU_FORMAT))
        tar.truncate((1 << 40) + 2048)
    operation: Operation[Any, Any] = archive.ARCHIVE
    params: Params = archive.Archive(sources=["zeros.tar"], destination="made.tar.zst", cwd=str(work))
    if kind == "extract":
        operation = archive.EXTRACT
        params = archive.Extract(source="zeros.tar", destination="made", cwd=str(work), max_bytes=1 << 50)
    with served.connect() as connection:
        pid = served.pid()
        # The first may be told before the thread has begun.
        assert next(one for one in connection.stream(operation, params) if one.done_bytes)
        kill(pid)
    (begun,) = set(os.listdir(work)) - {"zeros.tar"}
    os.utime(work / begun, (1, 1))
    served.connect().close()
    while (work / begun).exists():
        time.sleep(0.01)
    assert os.listdir(work) == ["zeros.tar"]


def test_a_transfer_survives_its_daemon(served: Served, source: Path, tmp_path: Path) -> None:
    pids: list[int] = []

    def progress(done: int, size: int) -> None:
        if done > size // 3 and not pids:
            pids.append(served.pid())
            os.kill(pids[0], signal.SIGKILL)

    with source.open("rb") as opened:
        stored = upload(served.connect, opened.fileno(), Upload(path=str(tmp_path / "up")), progress, served.connect)
    assert pids
    assert stored.size == MANY
    assert (tmp_path / "up").read_bytes() == source.read_bytes()
    pids.clear()
    with (tmp_path / "down").open("w+b") as target:
        download(served.connect, target.fileno(), Download(path=str(source)), progress, served.connect)
    assert pids
    assert (tmp_path / "down").read_bytes() == source.read_bytes()
    assert not [name for name in os.listdir(tmp_path) if ".ptybridge-" in name]


def stream_sparse(served: Served, tmp_path: Path, size: int) -> None:
    """Send a sparse file down and a part of it up, and see that the daemon does not grow."""
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as out:
        out.truncate(size)
    served.connect().close()
    pid = served.pid()
    # Buffers and threads are made once.
    before = 0
    for warm in (1 << 20, None):
        if warm is not None:
            os.truncate(sparse, warm)
        else:
            os.truncate(sparse, size)
        before = served.peak_bytes(pid)
        with open(os.devnull, "r+b") as nowhere:
            answer = download(served.connect, nowhere.fileno(), Download(path=str(sparse)))
        assert answer.size == (warm or size)
    assert served.peak_bytes(pid) - before < FLAT_BYTES


def test_a_large_file_is_streamed_with_flat_memory(served: Served, tmp_path: Path) -> None:
    stream_sparse(served, tmp_path, 1 << 30)


@pytest.mark.soak
def test_soak_five_gigabytes_are_streamed_with_flat_memory(served: Served, tmp_path: Path) -> None:
    stream_sparse(served, tmp_path, 5 << 30)


class ClosingSocket(socket.socket):
    """Its other end closes as soon as it has got something."""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        super().sendall(data, flags)
        self.shutdown(socket.SHUT_WR)


def test_what_is_there_is_read_although_the_daemon_has_closed_after_the_last_acknowledgement() -> None:
    ours, theirs = socket.socketpair()
    with ClosingSocket(fileno=ours.detach()) as sock, theirs:
        finish = Finish(size=1, sha256="x")
        link = Frames(SdkConnection(sock), sock, encode(finish), None)
        link.send(encode(Ack(1)))
        assert link.next() == finish


def test_the_shell(served: Served, source: Path) -> None:
    home = served.home
    (home / "here").write_bytes(b"here\n")
    assert served.cli("cp", "-p", "here", ":~/a/b").returncode == 0
    assert served.cli("file", "cat", "a/b").stdout == b"here\n"
    assert served.cli("cp", "-n", "here", ":a/b").returncode == 5
    (home / "d").mkdir()
    assert served.cli("cp", str(source), ":d").returncode == 0
    assert (home / "d" / "source").read_bytes() == source.read_bytes()
    assert served.cli("cp", ":d/source", "back").returncode == 0
    assert (home / "back").read_bytes() == source.read_bytes()
    assert served.cli("cp", ":a/b", ":a/c").returncode == 0
    assert served.cli("cp", "here", "there").returncode == 2
    assert served.cli("cp", ":none", "there").returncode == 3
    assert served.cli("cp", "none", ":there").returncode == 3
    assert served.cli("file", "write", "w", data=b"one\n").returncode == 0
    assert served.cli("file", "write", "--append", "w", data=b"two\n").returncode == 0
    assert (home / "w").read_bytes() == b"one\ntwo\n"
    found = json.loads(served.cli("file", "info", "--sha256", "w", "--json").stdout)
    assert found["sha256"] == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert served.cli("file", "write", "--if-match", "other", "w", data=b"x").returncode == 5
    names = [one["name"] for one in json.loads(served.cli("file", "ls", "a", "--json").stdout)]
    assert names == ["b", "c"]
    listed = served.cli("file", "ls", "-a", "--sort", "size", "-r")
    assert listed.stdout.split(b"\n")[0].split() == [b"MODE", b"SIZE", b"MODIFIED", b"NAME"]
    assert served.cli("file", "mkdir", "-p", "m/n").returncode == 0
    assert served.cli("file", "mv", "w", "m/n/w").returncode == 0
    assert served.cli("file", "cp", "-r", "m", "m2").returncode == 0
    assert (home / "m2/n/w").read_bytes() == b"one\ntwo\n"
    found = served.cli("file", "find", "-e", "^tw", "m")
    assert (found.returncode, found.stdout) == (0, f"{home}/m/n/w:2:two\n".encode())
    assert served.cli("file", "find", "-g", "none").returncode == 1
    assert served.cli("file", "rm", "m").returncode == 5
    assert json.loads(served.cli("file", "rm", "-r", "m", "m2", "--json").stdout) == {"deleted": 6}
    assert served.cli("file", "rm", "m").returncode == 3
    assert served.cli("file", "rm", "-f", "m").returncode == 0
    assert served.cli("file", "cat", "none").returncode == 3
    assert served.cli("file", "nonsense").returncode == 2
    assert [name for name in os.listdir(home) if "ptybridge" in name] == []
