"""pty-mcp's waits through the real `ptybridge mcp`: they report progress and can be cancelled."""

from typing import Any

from tests.mcp.stdio import Stdio
from tests.mcp.test_agent import LONG_MS, begin, call, until

ME = {"owner": "me"}
WAITS: list[tuple[str, dict[str, Any]]] = [
    ("pty_wait", {}),
    ("pty_read_until", {"pattern": "never"}),
    ("pty_read_until_any", {"patterns": ["never", "nowhere"]}),
    ("pty_prompt", {"data": "", "patterns": ["never"]}),
    ("pty_read_quiescent", {"quiescence_ms": LONG_MS}),
]


def test_wish03_waits_report_progress_and_can_be_cancelled(daemon: None) -> None:
    with Stdio("--tools", "core") as client:
        client.initialize()
        session = client.call("pty_spawn", command="sleep 1; echo half done; sleep 300", **ME)["content"][0]["text"]
        for tool, arguments in WAITS:
            begin(client, tool, tool, session_id=session, timeout_ms=LONG_MS, **ME, **arguments)
        told: dict[str, list[dict[str, Any]]] = {tool: [] for tool, _ in WAITS}
        while True:
            note = until(client, "notifications/progress")
            told[note["progressToken"]].append(note)
            if all(len(notes) > 1 for notes in told.values()) and "last line: half done" in note["message"]:
                break
        for first, second in (notes[:2] for notes in told.values()):
            assert second["progress"] > first["progress"]
            assert second["total"] == LONG_MS / 1000
        for tool, _ in WAITS:
            client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": tool}})
        # A cancelled wait has taken nothing: what was printed is there for the next one.
        found = call(client, "pty_read_until", session_id=session, pattern="half done", **ME)
        assert (found["matched"], found["offset"]) == (True, 0)
        assert client.leave() == 0


def test_who_asks_for_no_progress_gets_none(daemon: None) -> None:
    with Stdio("--tools", "core") as client:
        client.initialize()
        session = client.call("pty_spawn", command="sleep 3", **ME)["content"][0]["text"]
        request = {"name": "pty_wait", "arguments": {"session_id": session, "timeout_ms": LONG_MS, **ME}}
        client.send({"jsonrpc": "2.0", "id": "wait", "method": "tools/call", "params": request})
        methods = set()
        while True:
            message = client.next()
            if message.get("id") == "wait":
                break
            methods.add(message["method"])
        assert message["result"]["structuredContent"]["exit_code"] == 0
        assert "notifications/progress" not in methods
