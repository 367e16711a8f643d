"""`tail -f`, `wait`, `run` and `events` outlive the daemon: killed, restarted, and both again under a flood."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 60
COMMAND = [sys.executable, "-m", "ptybridge"]
# Held back until the file is there, so that the daemon goes away in the middle for certain.
FLOOD = (
    "import sys,os,time\n"
    "for n in range(20000):\n"
    "    print('%08d' % n)\n"
    "    if n % 5000 == 2500:\n"
    "        sys.stdout.flush()\n"
    "        while not os.path.exists(sys.argv[1] + str(n // 5000)): time.sleep(0.01)\n"
)
EXPECTED = b"".join(b"%08d\n" % n for n in range(20000))


def ptybridge(*arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture(autouse=True)
def stopped() -> Iterator[None]:
    yield
    ptybridge("stop")


def daemon_pid() -> int:
    return int(json.loads(ptybridge("status", "--json"))["pid"])


def kill() -> None:
    """Kill the daemon; whoever still wants it starts the next one."""
    os.kill(daemon_pid(), signal.SIGKILL)


def restart() -> None:
    ptybridge("restart")


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(params=[kill, restart], ids=["kill", "restart"])
def replace(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Take the daemon away, once the next one is there return."""
    take_away: Callable[[], None] = request.param

    def replace() -> None:
        before = daemon_pid()
        take_away()
        # `ls` starts it if nobody else has done so yet.
        ptybridge("ls")
        assert daemon_pid() != before

    return replace


def test_tail_prints_every_byte_once(replace: Callable[[], None], tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    made = json.loads(
        ptybridge("call", "session.create", "backend=pipes",
                  f"command:={json.dumps([sys.executable, '-c', FLOOD, gate])}")
    )  # fmt: skip
    session_id = made.get("session_id") or made["session"]["session_id"]
    tail = start("tail", "-f", "-n", "100000", session_id)
    wait = start("wait", session_id, "--text", "00019999", "--timeout", "60")
    for part in range(4):
        replace()
        Path(gate + str(part)).touch()
    out, err = tail.communicate(timeout=PATIENCE)
    assert (tail.returncode, out) == (0, EXPECTED), err.decode()
    assert wait.wait(PATIENCE) == 0, wait.communicate()
    wait.communicate()


def test_wait_keeps_its_time_out(replace: Callable[[], None]) -> None:
    session_id = ptybridge("new", "-d", "--", "sleep", "1000")
    started = time.monotonic()
    wait = start("wait", session_id, "--timeout", "3")
    replace()
    assert wait.wait(PATIENCE) == 124
    wait.communicate()
    assert time.monotonic() - started > 2.9


def test_run_ends_with_the_output_and_status_of_its_program(replace: Callable[[], None], tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    ptybridge("new", "-d", "--", "sleep", "1000")
    run = start("run", "--", sys.executable, "-c", FLOOD + "sys.exit(7)", gate)
    eventually(lambda: "running" in ptybridge("ls") and len(json.loads(ptybridge("ls", "--json"))) == 2)
    for part in range(4):
        replace()
        Path(gate + str(part)).touch()
    out, err = run.communicate(timeout=PATIENCE)
    assert (run.returncode, out) == (7, EXPECTED), err.decode()
    assert len(json.loads(ptybridge("ls", "--json"))) == 1


def test_events_go_on_behind_the_last_number(replace: Callable[[], None]) -> None:
    session_id = ptybridge("new", "-d", "--", "sleep", "1000")
    events = start("events", "--json")
    assert events.stdout is not None
    number = 0

    def renamed(name: str) -> None:
        nonlocal number
        ptybridge("rename", session_id, name)
        while True:
            event = json.loads(events.stdout.readline())  # type: ignore[union-attr]
            assert event["number"] > number
            number = event["number"]
            if event["type"] == "updated" and event["name"] == name:
                return

    # That it is connected does not say that it follows; what it tells does.
    probes = 0
    told = events.stdout

    def tells() -> bool:
        nonlocal probes
        probes += 1
        ptybridge("rename", session_id, f"probe{probes}")
        return bool(select.select([told], [], [], 0.1)[0])

    eventually(tells)
    for name in ("a", "b", "c"):
        renamed(name)
        replace()
    renamed("last")
    ptybridge("stop")
    _, err = events.communicate(timeout=PATIENCE)
    assert events.returncode == 0
    assert err.endswith(b"ptybridge: the daemon has been stopped\n")
