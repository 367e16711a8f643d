"""Input that a program has not read yet when its daemon is replaced."""

import base64
import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.survival.harness import PATIENCE_SECONDS, Node, eventually, wait_gone
from tests.survival.test_restart import BROKEN, as_installed, broken_copy, successors

from ptybridge.errors import Unavailable

# More than a pipe holds and than one note of it at the keeper.
SIZE = 3_000_000


def restart(node: Node) -> None:
    old = node.pid
    node.call("node.restart")
    node.reap(old)
    node.wait_serving()
    assert node.pid != old


def end_and_start(node: Node) -> None:
    os.kill(node.pid, signal.SIGTERM)
    node.reap(node.pid)
    node.start()


def restart_and_lose_the_keeper(node: Node) -> None:
    restart(node)
    old = node.kill_keeper()
    wait_gone(old)
    node.wait_kept(1, old)
    restart(node)


def open_gate(gate: Path) -> None:
    with gate.open("w") as opened:
        opened.write("go\n")


def ended(node: Node, session: str) -> bytes:
    """Wait for the end of the program; return its output."""
    patience = int(PATIENCE_SECONDS * 1000)
    answer = node.call("session.wait", session_id=session, until=[{"exit": True}], timeout_ms=patience)
    assert answer["reason"] == "exited"
    return node.read_all(session)


def in_files(data: bytes, *places: Path) -> list[Path]:
    """Return the files in which `data` stands, as it is or as base64, wherever in it that begins."""
    forms = [data, *(base64.b64encode(data[at : at + 54]) for at in range(3))]
    found = []
    for path in (path for place in places for path in place.rglob("*") if path.is_file()):
        with contextlib.suppress(FileNotFoundError):  # such as a journal of the index, which comes and goes
            held = path.read_bytes()
            if any(form in held for form in forms):
                found.append(path)
    return found


@pytest.mark.parametrize("replace", [restart, end_and_start, restart_and_lose_the_keeper])
def test_what_waits_for_the_program_and_the_end_of_input_go_to_the_next_daemon(
    node: Node, tmp_path: Path, replace: Callable[[Node], None]
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    data = os.urandom(SIZE)
    node.start()
    session = node.create(["sh", "-c", f"read go < {gate}; sha256sum"], backend="pipes")
    for at in range(0, SIZE, 100_000):
        piece = base64.b64encode(data[at : at + 100_000]).decode()
        node.call("session.write", session_id=session, data=piece, encoding="base64", eof=at + 100_000 == SIZE)
    replace(node)
    assert (node.state / "daemon.log").stat().st_size
    assert in_files(data[SIZE // 2 : SIZE // 2 + 60], node.state, node.directory) == []
    open_gate(gate)
    assert ended(node, session).split()[0] == hashlib.sha256(data).hexdigest().encode()
    node.kill()


@pytest.mark.parametrize("how", ["ends at the word", "ends once it has claimed the keeper"])
def test_a_daemon_whose_successor_fails_goes_on_with_what_waits(linked: Node, tmp_path: Path, how: str) -> None:
    node = linked
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    old = node.start()
    session = node.create(["sh", "-c", f"read go < {gate}; wc -c"], backend="pipes")
    node.call("session.write", session_id=session, data="x" * 200_000, eof=True)
    copy = broken_copy(node.directory.parent / "broken", *BROKEN[how])
    with as_installed(node, copy):
        with contextlib.suppress(Unavailable):
            node.call("node.restart")
        node.wait_serving()
        eventually(lambda: not successors(old), "the end of the new daemon")
    open_gate(gate)
    assert ended(node, session) == b"200000\n"
    node.kill()


def test_run_says_what_a_killed_daemon_may_have_lost_and_the_program_sees_the_end(node: Node, tmp_path: Path) -> None:
    """What waited in the daemon is gone with it; what the pipe held is not."""
    gate, given = tmp_path / "gate", tmp_path / "given"
    os.mkfifo(gate)
    given.write_bytes(b"x" * 200_000)
    node.start()
    command = [sys.executable, "-m", "ptybridge", "run", "--", "sh", "-c", f"read go < {gate}; wc -c"]
    with given.open("rb") as stdin:
        run = subprocess.Popen(command, env=node.env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        eventually(lambda: node.call("session.list")["sessions"], "the session")
        session = node.call("session.list")["sessions"][0]["session_id"]

        def all_waits() -> bool:
            # Of four pieces and the end a pipe holds the first at most.
            return bool(node.call("session.write", session_id=session, data="")["queue_position"] >= 4)

        eventually(all_waits, "the input to wait")
        node.kill()
        node.wait_serving()  # what looks for it starts it
        open_gate(gate)
        output, errors = run.communicate(timeout=PATIENCE_SECONDS)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0
    told = re.search(rb"whether (\d+) bytes of input arrived is not known", errors)
    assert told is not None
    assert int(output) + int(told[1]) >= 200_000
    node.kill()
