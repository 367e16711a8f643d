"""A session's log goes on with the next daemon, without a gap and without anything twice."""

import json
from pathlib import Path

from tests.survival.harness import Node, eventually

LINES = 60_000


def finished(directory: Path) -> bool:
    path = directory / "events.jsonl"
    return path.exists() and any(json.loads(line)["event"] == "exit" for line in path.read_text().splitlines())


def check(node: Node, session_id: str, directory: Path) -> None:
    eventually(lambda: finished(directory), "the exit in the log")
    node.call("session.close", session_id=session_id)
    assert (directory / "transcript.log").read_text().split() == [str(n) for n in range(1, LINES + 1)]
    begun = [line for line in (directory / "events.jsonl").read_text().splitlines() if '"spawn"' in line]
    assert len(begun) == 1


def test_killed_in_the_middle_it_is_complete_and_nothing_is_doubled(node: Node, tmp_path: Path) -> None:
    node.start()
    script = f"for i in $(seq 1 20 {LINES}); do seq $i $((i+19)); done"
    session_id = node.create(["bash", "-c", script], log_dir=str(tmp_path / "logs"))
    directory = tmp_path / "logs" / session_id
    transcript = directory / "transcript.log"
    for size in (1000, 50_000):
        eventually(lambda size=size: transcript.exists() and transcript.stat().st_size > size, "a part of the log")  # type: ignore[misc]
        node.kill()
        node.start()
    check(node, session_id, directory)


def test_handed_over_it_is_complete_and_nothing_is_doubled(node: Node, tmp_path: Path) -> None:
    node.start()
    script = f"for i in $(seq 1 20 {LINES}); do seq $i $((i+19)); done"
    session_id = node.create(["bash", "-c", script], log_dir=str(tmp_path / "logs"))
    directory = tmp_path / "logs" / session_id
    transcript = directory / "transcript.log"
    eventually(lambda: transcript.exists() and transcript.stat().st_size > 1000, "a part of the log")
    old = node.pid
    node.call("node.restart")
    node.reap(old)
    node.wait_serving()
    check(node, session_id, directory)
