"""When descriptors or terminals run out: typed errors, and everything that is there goes on."""

import contextlib
import os
import resource
from collections.abc import Iterator

import pytest
from tests.survival.harness import PATIENCE_SECONDS, Node, eventually

from ptybridge.errors import OutOfDescriptors, Unavailable


@contextlib.contextmanager
def limited(pid: int, free: int) -> Iterator[None]:
    """Leave a process only so many numbers for new descriptors."""
    taken = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    limit = 0
    while free or limit in taken:
        free -= limit not in taken
        limit += 1
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("who", ["daemon", "keeper"])
@pytest.mark.parametrize("backend", ["pty", "pipes"])
def test_r14_without_descriptors_nothing_is_started_and_all_goes_on(node: Node, who: str, backend: str) -> None:
    node.fork()
    session = node.create(["cat"])
    keeper = node.keeper_pid()
    with node.connect() as connection:
        connection.call_raw("node.info", {}, timeout=PATIENCE_SECONDS)  # it is accepted
        for free in range(9):
            with limited(node.pid if who == "daemon" else keeper, free):
                try:
                    created = connection.call_raw(
                        "session.create", {"command": ["cat"], "backend": backend}, timeout=PATIENCE_SECONDS
                    )
                except OutOfDescriptors:
                    pass
                else:
                    connection.call_raw(
                        "session.close", {"session_id": created["session_id"]}, timeout=PATIENCE_SECONDS
                    )
                listed = connection.call_raw("session.list", {}, timeout=PATIENCE_SECONDS)["sessions"]
                assert [one["session_id"] for one in listed] == [session]
                prompt = {"session_id": session, "data": f"n{free}", "until": [{"pattern": f"n{free}\r\nn{free}"}]}
                answer = connection.call_raw("session.prompt", prompt, timeout=PATIENCE_SECONDS)
                assert answer["reason"] == "matched"
    assert node.keeper_pid() == keeper
    node.create(["true"], backend=backend)
    # What was started for nobody is gone.
    eventually(lambda: len(node.look()["sessions"]) == 2)
    assert "Traceback" not in node.log()


def test_r14_a_restart_without_descriptors_is_refused(node: Node) -> None:
    old = node.start()
    session = node.create(["cat"])
    with node.connect() as connection:
        connection.call_raw("node.info", {}, timeout=PATIENCE_SECONDS)
        with limited(old, 3), pytest.raises(Unavailable):
            connection.call_raw("node.restart", {}, timeout=PATIENCE_SECONDS)
        listed = connection.call_raw("session.list", {}, timeout=PATIENCE_SECONDS)["sessions"]
        assert [one["session_id"] for one in listed] == [session]
    assert node.call("node.info")["pid"] == old
    node.kill()


def test_r14_a_keeper_that_dies_while_descriptors_are_short_is_replaced_later(node: Node) -> None:
    node.fork()
    session = node.create(["cat"])
    keeper = node.keeper_pid()
    with node.connect() as connection:
        connection.call_raw("node.info", {}, timeout=PATIENCE_SECONDS)
        with limited(node.pid, 0):
            node.kill_keeper()
            for number in range(3):
                prompt = {
                    "session_id": session,
                    "data": f"n{number}",
                    "until": [{"pattern": f"n{number}\r\nn{number}"}],
                }
                answer = connection.call_raw("session.prompt", prompt, timeout=PATIENCE_SECONDS)
                assert answer["reason"] in {"matched", "timeout"}
        node.wait_kept(1, but=keeper)
        answer = connection.call_raw(
            "session.prompt",
            {"session_id": session, "data": "after", "until": [{"pattern": "after\r\nafter"}]},
            timeout=PATIENCE_SECONDS,
        )
        assert answer["reason"] == "matched"


def test_r13_nothing_is_left_of_many_sessions(node: Node) -> None:
    node.fork()
    kept = node.create(["cat"])
    keeper = node.keeper_pid()

    def counts() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (node.pid, keeper)]

    with node.connect() as connection:
        before: list[int] | None = None
        for _ in range(4):
            for number in range(25):
                created = connection.call_raw(
                    "session.create",
                    {"command": ["sh", "-c", "echo hello"], "backend": "pty" if number % 2 else "pipes"},
                    timeout=PATIENCE_SECONDS,
                )
                parameters = {"session_id": created["session_id"]}
                connection.call_raw("session.wait", {**parameters, "until": [{"exit": True}]}, timeout=PATIENCE_SECONDS)
                connection.call_raw("session.close", parameters, timeout=PATIENCE_SECONDS)
            eventually(lambda: len(node.look()["sessions"]) == 1)
            if before is None:
                before = counts()
        limits = [count + 12 for count in before or []]
        eventually(lambda: all(now <= limit for now, limit in zip(counts(), limits, strict=True)), f"{limits}")
    assert not zombies_of(keeper)
    assert kept == node.call("session.list")["sessions"][0]["session_id"]


def zombies_of(pid: int) -> list[int]:
    """Children that have exited and were not reaped."""
    found = []
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        for child in file.read().split():
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{child}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    found.append(int(child))
    return found
