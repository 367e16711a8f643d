"""`doctor`: nothing to say where all is well, and the right advice where it is not."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon

from ptybridge.cli.doctor_checks import Finding, examine, recent_errors, unit_in
from ptybridge.config import load

__all__ = ["daemon"]
COMMAND = [sys.executable, "-m", "ptybridge"]


def doctor(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, "doctor", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def well(*arguments: str) -> str:
    """Ask until the machine has let the daemon run for a second: when it has not, that is not well."""
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [*COMMAND, "doctor", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
        )
        if done.returncode == 1 and "the event loop was blocked" in done.stdout and time.monotonic() < deadline:
            time.sleep(0.2)
            continue
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout


def found(check: str) -> list[Finding]:
    return [one for one in examine(load(os.environ)) if one.check == check]


@pytest.fixture
def running() -> Iterator[dict[str, Any]]:
    subprocess.run([*COMMAND, "new", "-d", "--", "cat"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    status = subprocess.run([*COMMAND, "status", "--json"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    yield json.loads(status.stdout)
    subprocess.run([*COMMAND, "stop"], check=True, capture_output=True, stdin=subprocess.DEVNULL)


def test_the_unit_a_daemon_runs_in_is_recognised() -> None:
    own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ptybridge.service\n"
    systems = "1:name=systemd:/\n0::/system.slice/system-ptybridge.slice/ptybridge@ann.service/sub\n"
    keepers = "0::/system.slice/system-ptybridge\\x2dkeeper.slice/ptybridge-keeper@ann.service\n"
    assert unit_in(own) == "ptybridge.service"
    assert unit_in(systems) == "ptybridge@ann.service"
    assert unit_in(keepers) is unit_in("0::/user.slice/session-1.scope\n") is None


def test_it_starts_nothing() -> None:
    assert "not running; the next command starts it" in doctor()
    assert not Path(load(os.environ).config.paths.socket).exists()


def test_a_daemon_that_is_well(running: dict[str, Any]) -> None:
    said = well()
    assert said.endswith("all is well\n")
    assert f"pid {running['pid']}, version" in said
    assert f"pid {running['keeper_pid']}, version" in said
    assert well("--quiet") == "all is well\n"
    answer = json.loads(well("--json"))
    assert answer["ok"]
    assert {one["level"] for one in answer["findings"]} == {"ok"}


def test_kept_sessions_without_a_daemon(running: dict[str, Any]) -> None:
    os.kill(running["pid"], 9)
    while os.path.exists(f"/proc/{running['pid']}"):
        time.sleep(0.01)
    said = doctor(code=1)
    assert "not running, but its keeper is" in said
    assert "→ any command starts it: `ptybridge ls`" in said
    assert said.endswith("1 thing to do\n")


def test_open_files_and_directories(running: dict[str, Any]) -> None:
    log = load(os.environ).config.paths.log_file
    os.chmod(log, 0o644)
    assert [(one.level, one.advice) for one in found("files") if one.level != "ok"] == [("fail", f"chmod 600 {log}")]


def test_sockets_nobody_serves(runtime_dir: Path) -> None:
    directory = runtime_dir / "ptybridge"
    directory.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(directory / "keeper.sock"))
    assert f"nobody serves {directory}/keeper.sock" in doctor(code=1)


def test_a_file_in_the_place_of_the_socket_is_told_once(runtime_dir: Path) -> None:
    directory = runtime_dir / "ptybridge"
    directory.mkdir(mode=0o700)
    (directory / "daemon.sock").touch(mode=0o644)
    told = [line for line in doctor("-q", code=1).splitlines() if "daemon.sock" in line]
    assert len(told) == 1
    assert "is no socket of yours" in told[0]


def test_errors_in_the_log() -> None:
    log = Path(load(os.environ).config.paths.log_file)
    log.parent.mkdir(parents=True, mode=0o700)
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    log.write_text(
        f"2001-01-01 00:00:00,000 ERROR   a: long ago\n{now},000 INFO    a: fine\n{now},000 ERROR   a: it broke\n"
    )
    log.chmod(0o600)
    assert recent_errors(str(log)) == [f"{now},000 ERROR   a: it broke"]
    assert found("log")[0].level == "warn"


def test_another_version(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_SOCKET", str(daemon.path))
    info = {
        "version": "0.0.9", "protocol": 1, "protocol_min": 1, "pid": os.getpid(), "hostname": "h", "user": "u",
        "platform": "p", "python": "3", "started_at_ms": 0, "uptime_ms": 0, "sessions": 1, "sessions_running": 1,
        "clients": 1, "socket": str(daemon.path), "keeper": True, "keeper_pid": os.getpid(),
        "keeper_version": "0.0.8", "keeper_exact": False,
    }  # fmt: skip
    health = {
        "ok": False, "problems": ["it is slow"], "sessions_running": 1, "open_files": 1, "open_files_limit": 2,
        "loop_lag_ms": 0,
    }  # fmt: skip
    daemon.result("node.info", info)
    daemon.result("node.health", health)
    first, second = found("daemon")
    assert (first.level, first.advice) == ("warn", "`ptybridge upgrade`")
    assert second.message == "it is slow"
    version, exact = found("keeper")
    assert version.advice == "`ptybridge upgrade`"
    assert "cannot splice" in exact.message
    daemon.result("node.info", {**info, "keeper": False, "keeper_pid": None})
    assert "sessions end with the daemon" in found("keeper")[0].message
