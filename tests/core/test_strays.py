"""What has left a session is found by the traces it cannot easily lose, and nobody else is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ptybridge.core import procinfo, strays
from ptybridge.core.strays import Stray, signal_stray, strays_of

# Prints its pid and lives until it is ended.
STAY = "import os, time; os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"
# Leaves its parents and its session. Who was left must be gone before anybody looks.
LEAVE = """
import os, sys, time
for leave in (os.setsid, lambda: None):
    parent = os.getpid()
    if os.fork(): os._exit(0)
    while os.getppid() == parent: time.sleep(0.001)
    leave()
os.execv(sys.argv[1], sys.argv[1:])
"""
# All processes are looked at, also those of the same tests in another process.
NAME = f"s{os.getpid()}"


@contextmanager
def session(*wrapper: str, name: str = NAME) -> Iterator[tuple[int, int]]:
    """Yield the pids of a session's child and of what it has started."""
    below = [*wrapper, sys.executable, "-c", STAY]
    program = f"import subprocess, time; subprocess.call({below!r}); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PTYBRIDGE_SESSION_ID": name},
    ) as top:
        assert top.stdout is not None
        pid = int(top.stdout.readline())
        try:
            yield top.pid, pid
        finally:
            os.kill(pid, signal.SIGKILL)
            top.kill()


@pytest.fixture(autouse=True)
def _others_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process itself runs counts for nothing; here the tests are it, and must not be."""
    monkeypatch.setattr(os, "getpid", lambda: 1 << 30)


def found(child: int, name: str = NAME) -> list[int]:
    return [one.pid for one in strays_of(name, [child])]


def test_c13_who_still_has_its_parents_is_found_whatever_its_environment() -> None:
    with session("env", "-i", "setsid", "--wait") as (child, pid):
        assert pid in found(child)
        assert pid in found(child, "another")


def test_c13_who_has_lost_its_parents_is_found_by_the_environment() -> None:
    with session(sys.executable, "-c", LEAVE) as (child, pid):
        assert found(child) == [pid]
        # Also when the session is empty.
        assert {one.pid for one in strays_of(NAME, [])} == {child, pid}
        assert found(child, NAME[:-1]) == []


def test_who_just_becomes_another_program_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(sys.executable, "-c", LEAVE) as (child, pid):
        # As the kernel shows it in the middle of execve(2): it has neither arguments nor environment.
        seen = strays._environment
        monkeypatch.setattr(strays, "_environment", lambda one: b"" if one == pid else seen(one))
        assert found(child) == []
        assert not strays.somebody_begins(60)  # it has arguments, so it was started without an environment
        command = procinfo.process_command
        monkeypatch.setattr(procinfo, "process_command", lambda one: [] if one == pid else command(one))
        assert found(child) == []
        assert strays.somebody_begins(60)
        monkeypatch.undo()
        monkeypatch.setattr(os, "getpid", lambda: 1 << 30)
        assert [one.pid for one in strays_of(NAME, [child], 60)] == []
        strays.somebody_begins(60)
        assert [one.pid for one in strays_of(NAME, [child], 60)] == [pid]


def test_the_kernels_own_processes_and_the_dead_begin_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as dead:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert not strays._begins(dead.pid)
    stats = [stat for stat in procinfo.processes() if stat.ppid == 2 and stat.name.startswith("kworker")]
    assert not any(strays._begins(stat.pid) for stat in stats)


def test_members_are_no_strays() -> None:
    with session("nohup") as (child, pid):
        assert [one.pid for one in strays_of(NAME, [child, pid])] == []


def test_what_the_daemon_runs_itself_for_a_session_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with session() as (child, pid):
        monkeypatch.setattr(os, "getpid", lambda: child)
        assert [one.pid for one in strays_of(NAME, [])] == []
        monkeypatch.setattr(os, "getpid", lambda: 1 << 30)
        assert {child, pid} <= {one.pid for one in strays_of(NAME, [])}


def test_another_process_with_the_number_is_not_signalled() -> None:
    with session() as (_, pid):
        [stray] = [one for one in strays_of(NAME, []) if one.pid == pid]
        assert stray.alive
        other = Stray(pid, stray.start_time + 1)
        assert not other.alive
        signal_stray(other, signal.SIGKILL)
        assert stray.alive
    signal_stray(Stray(1 << 22, 0), signal.SIGKILL)
