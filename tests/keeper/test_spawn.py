"""What a child finds: only what it is meant to have."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.keeper.harness import Daemon, KeeperProcess, eventually

KINDS = pytest.mark.parametrize("kind", ["pty", "pipes"])


def run(daemon: Daemon, kind: str, command: str, **params: object) -> str:
    kept = daemon.spawn(["sh", "-c", command], kind, **params)
    return kept.wait_eof().decode().replace("\r\n", "\n")


@KINDS
def test_child_ignores_and_blocks_no_signal(daemon: Daemon, kind: str) -> None:
    lines = run(daemon, kind, "grep -E '^Sig(Ign|Blk)' /proc/self/status").splitlines()
    found = {name: int(mask, 16) for name, mask in (line.split(":\t") for line in lines)}
    # The C library keeps signals 32 and 33 to itself: its posix_spawn, with which a keeper may have been started,
    # ignores them, and lets nobody change that.
    internal = 3 << 31
    assert (found["SigBlk"], found["SigIgn"] & ~internal) == (0, 0)


@KINDS
def test_child_inherits_no_descriptor(daemon: Daemon, kind: str) -> None:
    daemon.spawn(["sleep", "1000"])
    daemon.spawn(["cat"], "pipes")
    # The last one is that of the directory being listed.
    assert run(daemon, kind, "ls /proc/self/fd").split() == ["0", "1", "2", "3"]


@KINDS
def test_child_has_the_limit_on_descriptors_the_keeper_started_with(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon], kind: str
) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    keeper = start_keeper(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard)))
    daemon = connect_daemon(keeper)
    assert resource.prlimit(keeper.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 20)
    assert run(daemon, kind, "ulimit -Sn").strip() == "300"


@KINDS
def test_child_gets_the_directory_and_exactly_the_environment(daemon: Daemon, kind: str, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "ODD": "a=b \udcff"}
    kept = daemon.spawn(["env", "-0"], kind, cwd=str(tmp_path), env=env)
    lines = {line for line in os.fsdecode(kept.wait_eof()).split("\0") if line}
    assert lines == {f"{name}={value}" for name, value in env.items()}
    assert run(daemon, kind, "pwd", cwd=str(tmp_path)).strip() == str(tmp_path)
    kept = daemon.spawn(["/usr/bin/env"], kind, env={})
    assert kept.wait_eof() == b""


@KINDS
def test_argv_is_executed_as_it_is(daemon: Daemon, kind: str) -> None:
    kept = daemon.spawn(
        ["sh", "-c", 'printf "%s|" "$0" "$@"; cat /proc/$$/cmdline | tr "\\0" "|"', "zero", "a b", ""], kind
    )
    assert kept.wait_eof().decode().startswith("zero|a b||sh|-c|")


@KINDS
def test_child_leads_its_own_session(daemon: Daemon, kind: str) -> None:
    session, group = run(daemon, kind, "ps -o sid=,pgid= -p $$").split()
    pid = daemon.kept[1].pid
    assert (int(session), int(group)) == (pid, pid)


def test_terminal_is_the_controlling_one_and_has_the_size_asked_for(daemon: Daemon) -> None:
    assert run(daemon, "pty", "stty size </dev/tty", rows=37, cols=131).strip() == "37 131"


@pytest.mark.parametrize("echo", [True, False])
def test_echo_is_as_asked_for(daemon: Daemon, echo: bool) -> None:
    kept = daemon.spawn(["cat"], echo=echo)
    os.write(kept.fds["pty"], b"word\n\x04")
    assert kept.wait_eof() == (b"word\r\n" * 2 if echo else b"word\r\n")


def test_pipes_child_has_no_terminal_and_reads_eof_when_both_ends_are_closed(daemon: Daemon) -> None:
    kept = daemon.spawn(["sh", "-c", "cat; (: </dev/tty) 2>/dev/null || echo no terminal >&2"], "pipes")
    os.write(kept.fds["stdin"], b"typed")
    os.close(kept.fds.pop("stdin"))
    daemon.call("close_input", sid=kept.sid)
    kept.wait_eof()
    assert kept.segments is not None
    assert kept.segments.read_stream(kept.ring, 0, 0, 100)[1] == b"typed"
    assert kept.segments.read_stream(kept.ring, 1, 0, 100)[1] == b"no terminal\n"


@KINDS
@pytest.mark.parametrize(
    ("argv", "cwd", "error"),
    [
        (["/no/such/program"], "/", FileNotFoundError),
        (["no-such-program"], "/", FileNotFoundError),
        ([""], "/", FileNotFoundError),
        (["/etc/passwd"], "/", PermissionError),
        (["/etc"], "/", IsADirectoryError),
        (["true"], "/no/such/directory", FileNotFoundError),
        (["true"], "/etc/passwd", NotADirectoryError),
    ],
)
def test_failure_to_start_is_told_with_the_systems_reason(
    daemon: Daemon, kind: str, argv: list[str], cwd: str, error: type[OSError]
) -> None:
    with pytest.raises(error):
        daemon.spawn(argv, kind, cwd=cwd)


@KINDS
def test_failures_to_start_leave_no_descriptor_and_no_zombie(
    daemon: Daemon, keeper: KeeperProcess, kind: str, tmp_path: Path
) -> None:
    program = tmp_path / "not-executable-format"
    program.write_bytes(b"\0\0\0\0")
    program.chmod(0o755)
    before = keeper.fds()
    for _ in range(20):
        with pytest.raises(OSError, match="Exec format error"):
            daemon.spawn([str(program)], kind)
        with pytest.raises(FileNotFoundError):
            daemon.spawn(["no-such-program"], kind)
    eventually(lambda: keeper.fds() == before)
    assert Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text() == ""


def test_failure_to_get_a_terminal_leaks_nothing(
    start_keeper: Callable[..., KeeperProcess], connect_daemon: Callable[..., Daemon]
) -> None:
    fail = "import os, pty\ndef fork(): raise OSError(28, 'No space left on device')\npty.fork = fork"
    keeper = start_keeper(prelude=fail)
    daemon = connect_daemon(keeper)
    before = keeper.fds()
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            daemon.spawn(["true"])
    eventually(lambda: keeper.fds() == before)


def test_program_is_looked_up_in_the_childs_path(daemon: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "only-here"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert daemon.spawn(["only-here"], env={"PATH": f"/nowhere:{program.parent}"}).wait_eof() == b"found\r\n"
    assert daemon.spawn(["bin/only-here"], cwd=str(tmp_path), env={}).wait_eof() == b"found\r\n"


def test_ctrl_c_and_broken_pipes_end_a_child_as_usual(daemon: Daemon) -> None:
    # Python forgets an interrupt that comes between its look and a system call, or in a callback of an import.
    waits = "import time; print('up', flush=True)\nwhile True: time.sleep(0.01)"
    kept = daemon.spawn([sys.executable, "-S", "-c", waits])
    eventually(lambda: b"up" in kept.output())
    os.write(kept.fds["pty"], b"\x03")
    assert daemon.wait_exit(kept.sid).status == -signal.SIGINT
    kept = daemon.spawn(["sh", "-c", "(trap - PIPE; yes; echo $? >&2) | true"], "pipes")
    assert kept.wait_eof().strip() == b"141"
