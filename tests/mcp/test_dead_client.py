"""MCP clients that die while they are attached: their sessions can be taken over, and that leaves a trace."""

import json
import signal
from typing import Any

from tests.mcp.stdio import Stdio, daemon_pid, eventually, run
from tests.mcp.test_agent import call

ME = {"owner": "me"}


def test_a_killed_clients_session_is_taken_over_with_a_trace(daemon: None) -> None:
    with Stdio("--tools", "core") as dead, Stdio("--tools", "core") as heir:
        dead.initialize()
        heir.initialize()
        session = dead.call("pty_spawn", command="cat", **ME)["content"][0]["text"]
        about: dict[str, Any] = {"session_id": session, **ME}
        assert call(dead, "pty_attach", client_id="first", **about)["attached"]
        before = daemon_pid()
        dead.process.kill()
        assert dead.process.wait() == -signal.SIGKILL

        def refusal() -> str | None:
            result = heir.call("pty_attach", client_id="second", **about)
            assert result["isError"] is True
            text: str = result["content"][0]["text"]
            return text if "not connected any more" in text else None

        # It is not given away by itself: whoever wants it takes it, and says why.
        said = eventually(refusal, "the end of the connection")
        assert "'first'" in said
        assert "pty_takeover" in said
        typed = heir.call("pty_write", data="x\n", client_id="second", **about)
        assert typed["isError"] is True
        taken = call(heir, "pty_takeover", client_id="second", from_client_id="first", reason="it died", **about)
        assert (taken["takeover_changed"], taken["attached_client_id"]) == (True, "second")
        call(heir, "pty_write", data="still here\n", client_id="second", **about)
        found = call(heir, "pty_read_until", pattern="still here", client_id="second", **about)
        assert found["matched"]
        # The trace: what agents see, and what people see.
        status = call(heir, "pty_status", **about)
        last = {name: status[f"last_lease_{name}"] for name in ("event", "from_client_id", "to_client_id", "reason")}
        assert last == {
            "event": "takeover",
            "from_client_id": "first",
            "to_client_id": "second",
            "reason": "it died",
        }
        assert status["running"]
        shown = json.loads(run("lease", "status", session, "--json"))
        assert "it died" in json.dumps(shown)
        assert daemon_pid() == before
        assert heir.leave() == 0
