"""The daemon starts when a command needs it: once, detached, and with a reason when it cannot."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptybridge.config import Config, load
from ptybridge.errors import DaemonUnreachable, UnsafePath
from ptybridge.sdk.autostart import ensure_daemon

PATIENCE = 60


@pytest.fixture
def config() -> Iterator[Config]:
    yield load(os.environ).config
    ptybridge("stop")


def ptybridge(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ptybridge", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def fields_of(pid: int) -> list[str]:
    """Return /proc/PID/stat behind the name: state, ppid, pgrp, session, tty …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def test_it_starts_one_daemon_and_says_so_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_SESSION_ID", "inside")
    said: list[str] = []
    ensure_daemon(config, announce=said.append).close()
    ensure_daemon(config, announce=said.append).close()
    assert len(said) == 1
    assert said[0].startswith("started the daemon (pid ")
    pid = int(said[0].rpartition(" ")[2].rstrip(")"))
    _, parent, group, session, terminal, *_ = fields_of(pid)
    assert int(parent) != os.getpid()
    assert int(session) != os.getsid(0)
    assert (group, terminal) == (session, "0")
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/1") == config.paths.log_file
    assert b"PTYBRIDGE_SESSION_ID=" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_daemon_inherits_no_descriptor(config: Config) -> None:
    mine, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    target = os.readlink(f"/proc/self/fd/{theirs}")
    said: list[str] = []
    try:
        ensure_daemon(config, announce=said.append).close()
    finally:
        os.close(mine)
        os.close(theirs)
    pid = int(said[0].rpartition(" ")[2].rstrip(")"))
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        # The daemon lives: what it has closed meanwhile was its own.
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    assert found
    assert target not in found


def test_the_log_is_for_its_owner_only(config: Config) -> None:
    ensure_daemon(config, announce=lambda line: None).close()
    assert os.stat(config.paths.log_file).st_mode & 0o777 == 0o600
    assert os.stat(config.paths.state_dir).st_mode & 0o777 == 0o700


def test_r16_commands_that_race_start_one_daemon(config: Config) -> None:
    command = [sys.executable, "-m", "ptybridge", "ls", "--json"]
    racing = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        for _ in range(6)
    ]
    answers = [one.communicate(timeout=PATIENCE) for one in racing]
    assert [(one.returncode, out) for one, (out, _) in zip(racing, answers, strict=True)] == [(0, "[]\n")] * 6
    assert sum("started the daemon" in err for _, err in answers) == 1
    assert all(err == "" or err.startswith("ptybridge: started the daemon (pid ") for _, err in answers)


def test_without_autostart_it_says_how_to_start(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_DAEMON_AUTOSTART", "0")
    with pytest.raises(DaemonUnreachable) as caught:
        ensure_daemon(load(os.environ).config, announce=lambda line: None)
    assert caught.value.hint
    assert "ptybridge serve" in caught.value.hint


def test_why_it_cannot_start_comes_back(config: Config, runtime_dir: Path) -> None:
    (runtime_dir / "ptybridge").mkdir(mode=0o700)
    Path(config.paths.socket).mkdir()
    with pytest.raises(UnsafePath):
        ensure_daemon(config, announce=lambda line: None)
    Path(config.paths.socket).rmdir()
    lock = Path(config.paths.socket + ".lock")
    lock.symlink_to("/etc/passwd")
    with pytest.raises(UnsafePath, match="symbolic link"):
        ensure_daemon(config, announce=lambda line: None)
    lock.unlink()


def test_s15_a_log_that_is_a_link_is_refused(config: Config, tmp_path: Path) -> None:
    Path(config.paths.state_dir).mkdir(parents=True, mode=0o700)
    Path(config.paths.log_file).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath, match="cannot write the log"):
        ensure_daemon(config, announce=lambda line: None)
    Path(config.paths.log_file).unlink()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("command", [["ls"], ["serve"], ["run", "true"], ["new", "-d", "true"]])
def test_a_state_directory_that_cannot_be_made_is_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """As for a user without a home of its own."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PTYBRIDGE_STATE_DIR", str(tmp_path / "file" / "far" / "state"))
    done = ptybridge(*command)
    assert done.returncode == 5
    told, hint = done.stderr.splitlines()
    assert told == f"ptybridge: cannot make the directory {tmp_path}/file/far/state: Not a directory"
    assert "hint: set " in hint
    monkeypatch.undo()


def test_a_relative_pythonpath_still_finds_the_program(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).parent.parent.parent / "src"
    monkeypatch.chdir(source.parent)
    monkeypatch.setenv("PYTHONPATH", "src")
    said: list[str] = []
    ensure_daemon(config, announce=said.append).close()
    assert said


def test_a_daemon_serves_on_though_who_started_it_was_interrupted(config: Config) -> None:
    ready, report = os.pipe()
    command = [sys.executable, "-m", "ptybridge", "serve", "--daemonize", "--ready-fd", str(report)]
    pipe = f"pipe:[{os.fstat(report).st_ino}]"
    launcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(report,), start_new_session=True)
    os.close(report)
    assert launcher.wait(PATIENCE) == 0
    pid = int(os.read(ready, 64))
    os.close(ready)
    deadline = time.monotonic() + PATIENCE
    # Until it has tried to tell that it is ready.
    while pipe in open_files(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    with ensure_daemon(config, announce=lambda line: pytest.fail(line)) as connection:
        assert connection.call_raw("node.info", {}, timeout=PATIENCE)["pid"] == pid


def open_files(pid: int) -> list[str]:
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(fd.readlink()))
    return found
