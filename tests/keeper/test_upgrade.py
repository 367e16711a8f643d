"""The keeper replaces its program while everything goes on."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.keeper.harness import Daemon, KeeperProcess, eventually, expected, generator, raw

from ptybridge import __version__
from ptybridge.keeper.protocol import KeeperError, write_all
from ptybridge.keeper.upgrade import check

MEGABYTE = 1 << 20


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_upgrades_under_a_flood_keep_pid_children_bytes_and_descriptors(daemon: Daemon, keeper: KeeperProcess) -> None:
    total = 150 * MEGABYTE
    kept = daemon.spawn(raw(generator(total)), capacity=MEGABYTE, overflow="pause")
    silent = daemon.spawn(["cat"], "pipes")
    daemon.call("note", sid=kept.sid, data={"name": "flood"})
    descriptors = keeper.fds()
    offset = 0
    for generation in range(1, 6):
        offset = read_on(daemon, offset, 2 * MEGABYTE)
        answer = daemon.call("upgrade").body
        assert (answer["pid"], answer["generation"]) == (keeper.pid, generation)
        eventually(lambda: keeper.fds() == descriptors)
    assert parent_of(kept.pid) == parent_of(silent.pid) == keeper.pid
    assert daemon.call("notes").body["notes"] == [[kept.sid, "", {"name": "flood"}]]
    read_on(daemon, offset, 2 * MEGABYTE)
    daemon.call("kill", sid=kept.sid, signal=signal.SIGTERM)
    assert daemon.event("exit")["status"] == -signal.SIGTERM
    os.write(silent.fds["stdin"], b"still here")
    eventually(lambda: silent.output() == b"still here")
    assert daemon.spawn(["true"]).sid > silent.sid


def read_on(daemon: Daemon, offset: int, size: int) -> int:
    """Read and check `size` bytes of session 1 from `offset`; no gap is allowed. Returns where it stopped."""
    ring = daemon.kept[1].ring
    goal = offset + size

    def read() -> bool:
        nonlocal offset
        found, data = ring.read(offset, 200_000)
        assert (found, data) == (offset, expected(offset, len(data)))
        offset += len(data)
        ring.floor = offset
        if ring.stalled:
            ring.stalled = False
            daemon.call("room", sid=1)
        return offset >= goal

    eventually(read)
    return offset


def test_statuses_of_children_that_exit_around_an_upgrade_are_kept(daemon: Daemon) -> None:
    before = daemon.spawn(["sh", "-c", "exit 11"])
    daemon.wait_exit(before.sid)
    around = [daemon.spawn(["sh", "-c", f"exit {20 + n}"], "pipes") for n in range(10)]
    daemon.call("upgrade")
    assert daemon.info(before.sid).status == 11
    assert [daemon.wait_exit(kept.sid).status for kept in around] == [20 + n for n in range(10)]
    assert daemon.spawn(["sh", "-c", "exit 7"]).wait_eof() == b""


def test_answers_that_were_waiting_come_after_an_upgrade(daemon: Daemon, keeper: KeeperProcess) -> None:
    daemon.call("note", sid=0, data="x" * 50_000)
    count = 60
    for number in range(count):
        daemon.channel.send({"op": "notes", "id": number})
    daemon.channel.send({"op": "upgrade", "id": count})
    for number in range(count):
        message = daemon.channel.receive()
        assert message is not None
        assert message.body["id"] == number
    message = daemon.channel.receive()
    assert message is not None
    assert message.body == {"id": count, "pid": keeper.pid, "generation": 1, "keeper_version": __version__}


def test_epochs_go_on_after_an_upgrade(keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]) -> None:
    first, second = connect_daemon(keeper), connect_daemon(keeper)
    second.call("upgrade")
    with pytest.raises(KeeperError, match="over"):
        connect_daemon(keeper, epoch=first.hello["epoch"])
    third = connect_daemon(keeper)
    assert third.hello["epoch"] == second.hello["epoch"] + 1
    assert second.event("superseded")


def test_forgotten_child_is_reaped_after_an_upgrade(daemon: Daemon, keeper: KeeperProcess) -> None:
    kept = daemon.spawn(["sh", "-c", "trap '' HUP; exec sleep 1000"])
    eventually(lambda: "sleep" in Path(f"/proc/{kept.pid}/comm").read_text())
    daemon.kept.pop(kept.sid).close()
    daemon.call("forget", sid=kept.sid, force=True)
    daemon.call("upgrade")
    assert parent_of(kept.pid) == keeper.pid
    os.kill(kept.pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{kept.pid}"))


@pytest.mark.parametrize("argv", [["/no/such/program"], ["/bin/false"], ["sh", "-c", "kill -9 $$"]])
def test_program_that_fails_the_check_changes_nothing(daemon: Daemon, keeper: KeeperProcess, argv: list[str]) -> None:
    kept = daemon.spawn(["cat"])
    before = keeper.fds()
    with pytest.raises(KeeperError) as caught:
        daemon.call("upgrade", argv=argv)
    assert caught.value.kind == "upgrade"
    still_works(daemon, keeper, kept.sid, before)


def test_program_that_cannot_be_executed_in_the_end_changes_nothing(
    daemon: Daemon, keeper: KeeperProcess, tmp_path: Path
) -> None:
    program = tmp_path / "vanishing"
    program.write_text('#!/bin/sh\nrm "$0"\n')  # passes the check, and is gone when it counts
    program.chmod(0o755)
    kept = daemon.spawn(["cat"])
    before = keeper.fds()
    with pytest.raises(FileNotFoundError):
        daemon.call("upgrade", argv=[str(program)])
    still_works(daemon, keeper, kept.sid, before)
    inherited = daemon.spawn(["ls", "/proc/self/fd"], "pipes")
    assert inherited.wait_eof().split() == [b"0", b"1", b"2", b"3"]


def still_works(daemon: Daemon, keeper: KeeperProcess, sid: int, descriptors: list[str]) -> None:
    eventually(lambda: keeper.fds() == descriptors)
    kept = daemon.kept[sid]
    os.write(kept.fds["pty"], b"x\n")
    eventually(lambda: kept.output() == b"x\r\nx\r\n")
    assert daemon.call("upgrade").body["generation"] == 1


def test_one_upgrade_at_a_time(daemon: Daemon, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    daemon.channel.send({"op": "upgrade", "id": 1, "argv": ["sh", "-c", f"read x <{tmp_path}/go; exit 1"]})
    daemon.channel.send({"op": "upgrade", "id": 2})
    answer = daemon.channel.receive()
    assert answer is not None
    assert (answer.body["id"], answer.body["error"]["kind"]) == (2, "conflict")
    (tmp_path / "go").write_text("\n")
    answer = daemon.channel.receive()
    assert answer is not None
    assert (answer.body["id"], answer.body["error"]["kind"]) == (1, "upgrade")


@pytest.mark.parametrize("state", [{"version": 99}, {"version": 1}, {"version": 1, "sessions": [{"info": {}}]}])
def test_state_that_cannot_be_gone_on_with_is_refused(state: dict[str, object]) -> None:
    fd = os.memfd_create("state")
    write_all(fd, json.dumps(state).encode())
    with pytest.raises((KeeperError, KeyError)):
        check(fd)
    os.close(fd)
