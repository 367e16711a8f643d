"""Tool calls through the real `ptybridge mcp`: side by side, cancelled, lost with the daemon, refused."""

import json
import os
import signal

import pytest
from tests.mcp.stdio import Stdio, daemon_pid

LONG_MS = 50_000


def spawn(client: Stdio, command: str) -> str:
    """Start a session; return its bare id."""
    result = client.call("pty_spawn", command=command, owner="t")
    assert not result.get("isError"), result
    return str(result["content"][0]["text"])


def begin(client: Stdio, message_id: object, tool: str, **arguments: object) -> None:
    """Send a call without waiting for its answer."""
    params = {"name": tool, "arguments": arguments}
    client.send({"jsonrpc": "2.0", "id": message_id, "method": "tools/call", "params": params})


def test_c1_calls_do_not_wait_for_each_other_and_can_be_cancelled(daemon: None) -> None:
    with Stdio() as client:
        client.initialize()
        session_id = spawn(client, "cat")
        begin(client, "long", "pty_wait", session_id=session_id, owner="t", timeout_ms=LONG_MS)
        assert client.ask("ping")["result"] == {}
        assert client.call("pty_write", session_id=session_id, owner="t", data="hello\n")["content"][0]["text"] == "ok"
        found = client.call("pty_read_until", session_id=session_id, owner="t", pattern="hello", timeout_ms=LONG_MS)
        assert json.loads(found["content"][0]["text"])["matched"] is True
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "long"}})
        assert client.ask("ping")["result"] == {}
        # It has been cancelled, so leaving has nothing to wait for.
        assert client.leave() == 0


def test_a_call_lost_with_the_daemon_says_so_and_the_session_goes_on(daemon: None) -> None:
    with Stdio() as client:
        client.initialize()
        session_id = spawn(client, "cat")
        begin(client, "prompt", "pty_prompt", session_id=session_id, owner="t", data="x\n", patterns=["never"],
              timeout_ms=LONG_MS)  # fmt: skip
        client.call("pty_read_until", session_id=session_id, owner="t", pattern="x", timeout_ms=LONG_MS)
        os.kill(daemon_pid(), signal.SIGKILL)
        result = client.answer("prompt")["result"]
        assert result["isError"] is True
        assert "restarted" in result["content"][0]["text"]
        status = client.call("pty_status", session_id=session_id, owner="t")
        assert json.loads(status["content"][0]["text"])["running"] is True


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("pty_spawn", {"command": "cat", "owner": "t", "cols": "wide"}, "cols"),
        ("pty_spawn", {"command": "cat", "owner": "t", "colour": 1}, "colour"),
        ("pty_read_until_any", {"session_id": "x", "owner": "t", "patterns": "OK"}, "patterns"),
        ("pty_status", {"session_id": "nosuch", "owner": "t"}, "nosuch"),
        ("pty_signal", {"session_id": "x", "owner": "t", "sig": "INT"}, "switched off"),
    ],
)
def test_c23_failures_are_results_that_help(daemon: None, tool: str, arguments: dict[str, object], words: str) -> None:
    with Stdio() as client:
        client.initialize()
        result = client.call(tool, **arguments)
        assert result["isError"] is True
        assert words in result["content"][0]["text"]
        assert "Traceback" not in json.dumps(result)


def test_every_tool_has_schemas_and_annotations_and_gates_open(daemon: None) -> None:
    with Stdio(env={"PTY_MCP_ENABLE_CONTROL_TOOLS": "1", "PTYBRIDGE_MCP_ENABLE_ADMIN_TOOLS": "1"}) as client:
        client.initialize()
        tools = client.ask("tools/list")["result"]["tools"]
    assert {"pty_spawn", "pty_signal", "pty_health", "get_limits"} <= {one["name"] for one in tools}
    for one in tools:
        assert one["inputSchema"]["type"] == one["outputSchema"]["type"] == "object", one["name"]
        assert one["annotations"]["title"], one["name"]
        assert one["description"], one["name"]
