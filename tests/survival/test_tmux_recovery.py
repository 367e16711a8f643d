"""Sessions in tmux whose daemon is gone are found again: real daemons, each with a socket of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import NeedTool
from tests.survival.tmux_node import PATIENCE_SECONDS, Node


@pytest.fixture
def directory(need_tool: NeedTool) -> Iterator[Path]:
    need_tool("tmux")
    path = Path(tempfile.mkdtemp(prefix="tr."))
    yield path
    for server in (path / "t").glob("*.tmux"):
        subprocess.run(["tmux", "-S", server, "kill-server"], check=False, capture_output=True)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def node(directory: Path) -> Iterator[Any]:
    made: list[Node] = []

    def make(name: str) -> Node:
        made.append(Node(directory, name))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_row49_a_session_is_recovered_after_a_crash_and_after_a_normal_end(node: Any, number: int) -> None:
    """Defect 12 of the reference: after a normal end there was nothing to recover."""
    first = node("a")
    made = first.create("one")
    session_id = made["session_id"]
    first.call("session.write", session_id=session_id, data="before\n")
    first.text(session_id, "before\r\nbefore")
    end = first.call("session.get", session_id=session_id)["end_offset"]
    first.end(number)
    second = node("b")
    found = second.call("session.recover", name="one", owner="me")
    assert (found["already_live"], found["session"]["session_id"]) == (False, session_id)
    assert found["session"]["pid"] == made["pid"]
    assert found["session"]["clients"] == []
    # Whoever has read everything sees a gap, never bytes he has had.
    assert found["session"]["start_offset"] > end
    assert "before" in second.text(session_id, "before")
    second.call("session.write", session_id=session_id, data="after\n")
    second.text(session_id, "after\r\nafter")


def test_row51_a_live_session_is_said_to_be_live(node: Any) -> None:
    only = node("a")
    made = only.create("one")
    found = only.call("session.recover", name="one", owner="me")
    assert found["already_live"]
    assert found["recovery_group_session_ids"] is None
    assert found["session"]["session_id"] == made["session_id"]
    other = node("b")
    assert other.call("session.recover", False, name="one", owner="me") is None
    assert other.call("session.recover", False, name="none", owner="me") is None


def test_row50_a_workspace_is_recovered_as_a_whole_or_not_at_all(node: Any) -> None:
    first = node("a")
    made = [first.create(name, workspace="w") for name in ("one", "two", "three")]
    first.end(signal.SIGKILL)
    second = node("b")
    found = second.call("session.recover", name="two", owner="me")
    assert found["recovery_group_session_ids"] == sorted(one["session_id"] for one in made)
    assert found["recovery_group_key"].startswith("workspace:w-")
    second.end(signal.SIGKILL)
    os.kill(made[2]["pid"], signal.SIGKILL)
    third = node("c")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while os.path.exists(f"/proc/{made[2]['pid']}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert third.call("session.recover", False, name="one", owner="me") is None
    assert third.call("session.list")["sessions"] == []


def test_row52_the_index_is_private_and_holds_no_secret(node: Any, directory: Path) -> None:
    """Defect 26 of the reference: its manifests held the environment, for everybody to read."""
    first = node("a")
    made = first.create("one", env={"TOKEN": "hunter2"})
    index = directory / "t" / "index.sqlite"
    assert index.stat().st_mode & 0o077 == 0
    assert index.parent.stat().st_mode & 0o077 == 0
    assert all(b"hunter2" not in file.read_bytes() for file in index.parent.glob("index*"))
    first.call("session.close", session_id=made["session_id"])
    first.end(signal.SIGTERM)
    second = node("b")
    assert second.call("session.recover", False, name="one", owner="me") is None
