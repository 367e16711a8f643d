"""Runs in namespaces of its own, under a service manager of its own; `test_live` starts it. Fails by assertion."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 60
DAEMON, KEEPER, SOCKET = "ptybridge.service", "ptybridge-keeper.service", "ptybridge.socket"


def run(*command: str, code: int = 0) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=False
    )
    print("$", *command, f"→ {done.returncode}\n{done.stdout}{done.stderr}", flush=True)
    assert done.returncode == code, command
    return done.stdout.strip()


def ptybridge(*arguments: str, code: int = 0) -> str:
    return run(sys.executable, "-m", "ptybridge", *arguments, code=code)


def info() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ptybridge("call", "node.info"))
    return found


def unit(name: str, what: str) -> str:
    return run("systemctl", "--user", "show", "--value", f"--property={what}", name)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_another_keeper(pid: int) -> None:
    eventually(lambda: info()["keeper_pid"] != pid)


def cgroup(pid: int) -> str:
    with open(f"/proc/{pid}/cgroup") as file:
        return file.read().rpartition("::")[2]


class Counting:
    """A session that counts; `goes_on` tells that it is the same one and still does."""

    def __init__(self) -> None:
        script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"
        self.session_id = ptybridge("new", "-d", "--", "/bin/sh", "-c", script)
        self.pid = self.get()["pid"]

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(ptybridge("call", "session.get", f"session_id={self.session_id}"))
        return found

    def goes_on(self) -> None:
        before = self.get()
        assert (before["pid"], before["state"]) == (self.pid, "running")
        eventually(lambda: self.get()["end_offset"] > before["end_offset"])
        numbers = [int(line) for line in ptybridge("read", self.session_id).split()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def main() -> None:
    ptybridge("service", "status", code=1)
    ptybridge("service", "install", "--now")
    eventually(lambda: unit(DAEMON, "ActiveState") == "active")
    ptybridge("service", "status")
    assert "ptybridge.service" in cgroup(info()["pid"])
    assert "ptybridge-keeper.service" in cgroup(info()["keeper_pid"])
    assert info()["pid"] == int(unit(DAEMON, "MainPID"))
    session = Counting()
    assert "ptybridge-keeper.service" in cgroup(session.pid)
    ptybridge("doctor")

    print("== the daemon is killed", flush=True)
    before = info()
    os.kill(before["pid"], signal.SIGKILL)
    session.goes_on()
    assert info()["pid"] == int(unit(DAEMON, "MainPID")) != before["pid"]

    print("== it hands over, and the manager follows", flush=True)
    for command in (["restart"], ["upgrade", "--force"]):
        before = info()
        ptybridge(*command)
        session.goes_on()
        assert info()["pid"] == int(unit(DAEMON, "MainPID")) != before["pid"]
        assert info()["keeper_pid"] == before["keeper_pid"]
    for name in (DAEMON, KEEPER):
        before = info()
        run("systemctl", "--user", "reload", name)
        session.goes_on()
        assert info()["keeper_pid"] == before["keeper_pid"] == int(unit(KEEPER, "MainPID"))
    before = info()
    run("systemctl", "--user", "restart", DAEMON)
    session.goes_on()
    assert info()["keeper_pid"] == before["keeper_pid"]

    print("== the keeper is killed, then stopped", flush=True)
    for end in ("kill", "stop"):
        before = info()
        run(
            "systemctl",
            "--user",
            *(["kill", "--kill-who=main", "--signal=KILL"] if end == "kill" else ["stop"]),
            KEEPER,
        )
        wait_for_another_keeper(before["keeper_pid"])
        session.goes_on()
        assert info()["pid"] == before["pid"]
        assert info()["keeper_pid"] == int(unit(KEEPER, "MainPID"))

    print("== stopped, and started by the next client", flush=True)
    ptybridge("service", "uninstall", code=5)
    ptybridge("stop")
    eventually(lambda: unit(KEEPER, "ActiveState") == unit(DAEMON, "ActiveState") == "inactive")
    assert not os.path.exists(f"/proc/{session.pid}")
    assert unit(SOCKET, "ActiveState") == "active"
    assert ptybridge("ls", "--json") == "[]"
    assert info()["pid"] == int(unit(DAEMON, "MainPID"))

    ptybridge("stop")
    eventually(lambda: unit(KEEPER, "ActiveState") == unit(DAEMON, "ActiveState") == "inactive")
    ptybridge("service", "uninstall")
    assert unit(DAEMON, "LoadState") == "not-found"
    print("all is well", flush=True)


if __name__ == "__main__":
    main()
