"""The tools made for agents through the real `ptybridge mcp`: lists, instructions, progress, cancelling, restarts."""

import os
import signal
from typing import Any

import pytest
from tests.mcp.stdio import Stdio, daemon_pid, run
from tests.mcp.test_clients import driven, interpreter

from ptybridge.mcp import compat
from ptybridge.mcp.catalog import all_tools

__all__ = ["interpreter"]
LONG_MS = 50_000
AGENT = {
    "pty_run", "pty_exec", "pty_wait_for", "pty_screen", "pty_send_keys", "pty_read_lines", "pty_search", "pty_history",
    "pty_spawn", "pty_write", "pty_read_at", "pty_list", "pty_close",
    "pty_file_read", "pty_file_write", "pty_file_list", "pty_file_search",
}  # fmt: skip
CORE = {"pty_spawn", "pty_read", "pty_read_until", "pty_prompt", "pty_wait", "pty_status", "pty_resize"}


def call(client: Stdio, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must not fail; return its structured answer."""
    result = client.call(tool, **arguments)
    assert not result.get("isError"), result
    found: dict[str, Any] = result["structuredContent"]
    return found


def begin(client: Stdio, message_id: str, tool: str, **arguments: Any) -> None:
    """Send a call that asks for progress, without waiting for its answer."""
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": message_id}}
    client.send({"jsonrpc": "2.0", "id": message_id, "method": "tools/call", "params": params})


def until(client: Stdio, method: str) -> dict[str, Any]:
    """Return the parameters of the next notification of a kind."""
    while True:
        message = client.next()
        if message.get("method") == method:
            found: dict[str, Any] = message["params"]
            return found


@pytest.mark.parametrize("which", ["core", "agent", "all"])
def test_wish12_each_list_has_its_tools_and_instructions_that_are_true_for_it(daemon: None, which: str) -> None:
    with Stdio("--tools", which) as client:
        told = client.initialize()["instructions"]
        tools = client.ask("tools/list")["result"]["tools"]
    names = {one["name"] for one in tools}
    assert (names >= AGENT) == (which != "core")
    assert (names >= CORE) == (which != "agent")
    if which == "agent":
        # A list that stays small is the point of it.
        assert names - AGENT <= {"pty_send_secret", "confirm_dangerous_command"}
    for one in tools:
        assert one["inputSchema"]["type"] == one["outputSchema"]["type"] == "object", one["name"]
        assert one["inputSchema"]["additionalProperties"] is False, one["name"]
        assert one["annotations"]["title"], one["name"]
    mentioned = {word.rstrip(":;,.") for word in told.split() if word.startswith("pty_")}
    assert mentioned <= names
    assert len(mentioned) >= 4
    assert len(told) < 1000


def test_wish03_a_long_call_reports_progress_and_can_be_cancelled(daemon: None) -> None:
    with Stdio("--tools", "agent") as client:
        client.initialize()
        session = call(client, "pty_run", command="true")["session_id"]
        begin(client, "long", "pty_run", command=r"printf '\033[1mhalf\033[0m done\n'; sleep 300", timeout_ms=LONG_MS)
        first = until(client, "notifications/progress")
        second = until(client, "notifications/progress")
        assert first["progressToken"] == "long"
        assert second["progress"] > first["progress"]
        assert second["total"] == LONG_MS / 1000
        while "last line: half done" not in second["message"]:
            second = until(client, "notifications/progress")
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "long"}})
        # It goes on, and the next answers say so.
        newest = call(client, "pty_history", session_id=session)["commands"][0]
        assert newest["running"] is True
        other = client.call("pty_run", command="echo free")
        assert other["structuredContent"]["session_id"] != session
        assert f"{session} is busy with" in other["content"][0]["text"]
        assert client.leave() == 0


def test_wish09_sessions_survive_the_client_and_the_daemon(daemon: None) -> None:
    with Stdio("--tools", "agent") as client:
        client.initialize()
        ran = call(client, "pty_run", command="cd /; kept=yes", owner="me")
    with Stdio("--tools", "agent") as client:
        client.initialize()
        found = call(client, "pty_list", owner="me")["sessions"]
        assert [one["session_id"] for one in found] == [ran["session_id"]]
        again = call(client, "pty_run", command="pwd; echo $kept", session_id=ran["session_id"], owner="me")
        assert again["output"].split() == ["/", "yes"]
        os.kill(daemon_pid(), signal.SIGKILL)
        # The next call that only looks starts a daemon, which finds the session as it was.
        assert call(client, "pty_history", session_id=ran["session_id"], owner="me")["commands"][0]["exit_code"] == 0
        again = call(client, "pty_run", command="echo $kept", session_id=ran["session_id"], owner="me")
        assert again["output"].split() == ["yes"]


def test_wish09_what_is_ours_without_a_name_stays_ours_when_the_daemon_is_killed(daemon: None) -> None:
    with Stdio("--tools", "agent") as client:
        client.initialize()
        ran = call(client, "pty_run", command="cd /; kept=yes")
        os.kill(daemon_pid(), signal.SIGKILL)
        assert call(client, "pty_screen", session_id=ran["session_id"])["rows"] == 30
        again = call(client, "pty_run", command="pwd; echo $kept")
        assert (again["session_id"], again["output"].split()) == (ran["session_id"], ["/", "yes"])


def test_with_the_short_list_nothing_needs_an_owner(daemon: None) -> None:
    with Stdio("--tools", "agent") as client, Stdio("--tools", "all") as strict:
        for one in (client, strict):
            one.initialize()
        session = call(client, "pty_spawn", command="cat")["session_id"]
        call(client, "pty_write", session_id=session, data="hello\n")
        assert call(client, "pty_wait_for", session_id=session, pattern="hello")["reason"] == "matched"
        assert [one["session_id"] for one in call(client, "pty_list")["sessions"]] == [session]
        assert "owner is required" in strict.call("pty_spawn", command="cat")["content"][0]["text"]
        assert strict.call("pty_screen", session_id=session)["isError"] is True


@pytest.mark.timeout(900)  # the first call may have to install a client
def test_wish12_official_clients_accept_every_answer_by_its_schema(daemon: None, interpreter: str) -> None:
    there = {"session_id": run("new", "-d", "--", "bash")}
    calls = [
        ("pty_wait_for", {**there, "command_done": True}),
        ("pty_run", {**there, "command": "seq 1 30; false"}),
        ("pty_run", {"command": "true", "timeout_ms": "20000"}),
        ("pty_exec", {"command": ["seq", "1", "3000"], "max_output_bytes": 500}),
        ("pty_wait_for", {**there, "pattern": "never", "idle_ms": 10}),
        ("pty_screen", {**there, "scrollback_lines": 50}),
        ("pty_send_keys", {**there, "keys": ["C-l"], "screen": True}),
        ("pty_read_lines", there),
        ("pty_search", {**there, "pattern": "^2.$", "regex": True, "context_lines": 1}),
        ("pty_history", there),
        ("pty_file_write", {"path": "~/an/agents.txt", "text": "text\n", "create_parents": True}),
        ("pty_file_read", {"path": "~/an/agents.txt"}),
        ("pty_file_list", {"path": "~"}),
        ("pty_file_search", {"path": "~", "pattern": "text", "context_lines": 1}),
        ("pty_send_secret", {**there, "prompt": "a password", "timeout_ms": 0}),
        ("pty_history", {**there, "number": 1}),
        ("pty_history", {**there, "number": 99}),
    ]
    seen = driven(interpreter, "drive.py", [{"name": name, "arguments": given} for name, given in calls])
    # The client has checked each structured answer by its tool's schema.
    for (name, _), result in zip(calls[:-1], seen["results"][:-1], strict=True):
        assert not result.get("isError"), (name, result)
        assert result["structuredContent"], name
        assert result["content"][0]["text"], name
    assert seen["results"][1]["structuredContent"]["exit_code"] == 1
    assert [one["text"] for one in seen["results"][8]["structuredContent"]["matches"]] == [*map(str, range(20, 30))]
    assert seen["results"][-1]["isError"] is True
    ours = {one.name for one in all_tools()} - {one.name for one in compat.TOOLS}
    assert {name for name, _ in calls} == ours, "a new tool is to be called here, too"
