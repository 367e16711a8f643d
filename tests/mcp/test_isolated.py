"""Sessions in tmux outlive an isolated daemon, and the user's own daemon takes them up."""

import json
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.mcp.stdio import Stdio, eventually, private_directories, run


@pytest.fixture(autouse=True)
def _tmux(need_tool: NeedTool) -> None:
    need_tool("tmux")


def test_row49_what_has_a_name_and_an_owner_is_recovered_from_an_isolated_daemon(
    daemon: None, runtime_dir: Path
) -> None:
    with Stdio("--isolated", env={"TMPDIR": str(runtime_dir), "PTY_MCP_BACKEND": "tmux"}) as client:
        client.initialize()
        session_id = client.call("pty_spawn", command="cat", owner="t", name="kept")["content"][0]["text"]
        client.call("pty_write", session_id=session_id, owner="t", data="hello\n")
        client.call("pty_read_until", session_id=session_id, owner="t", pattern="hello", timeout_ms=50_000)
        assert client.leave() == 0
    eventually(lambda: not private_directories(runtime_dir), "the private directory to go")
    with Stdio() as client:
        client.initialize()
        found = client.call("pty_recover", owner="t", name="kept")
        assert not found.get("isError"), found
        assert json.loads(found["content"][0]["text"])["session_id"] == session_id
        client.call("pty_write", session_id=session_id, owner="t", data="again\n")
        read = client.call("pty_read_until", session_id=session_id, owner="t", pattern="again", timeout_ms=50_000)
        assert json.loads(read["content"][0]["text"])["matched"] is True
        client.call("pty_close", session_id=session_id, owner="t")
    assert session_id not in run("ls")
