"""Every tool once by the official clients of both generations; all output at any page size; what goes to stderr."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import NeedTool
from tests.mcp.stdio import PROGRAM, Stdio, daemon_pid, eventually, run
from tests.mcp.test_clients import driven
from tests.survival.tmux_node import Node

from ptybridge.mcp import compat

OPEN_GATES = {"PTY_MCP_ENABLE_CONTROL_TOOLS": "1", "PTY_MCP_ENABLE_ADMIN_TOOLS": "1"}
pytestmark = pytest.mark.timeout(900)


def call(tool: str, expected: str, /, *, keep: str | None = None, **arguments: Any) -> tuple[dict[str, Any], str]:
    """A call, and what its text must contain."""
    asked = {"name": tool, "arguments": arguments}
    return (asked | {"as": keep} if keep else asked), expected


def on(session: str, tool: str, expected: str, **arguments: Any) -> tuple[dict[str, Any], str]:
    """A call about a session."""
    return call(tool, expected, session_id=session, owner="t", **arguments)


SPLIT = "printf out; printf err >&2; exec cat"
CALLS = [
    call("set_default_cwd", "/", cwd="/"),
    call("get_default_cwd", "/"),
    call("pty_spawn", "", keep="cat", command="cat", owner="t", name="first", tag="x", cols="90", rows=20),
    call("pty_resume", "", name="first", owner="t"),
    on("$cat", "pty_write", "ok", data="one\n"),
    on("$cat", "pty_read_until", '"matched":true', pattern="one"),
    on("$cat", "pty_read_quiescent", "one"),
    on("$cat", "pty_prompt", '"matched":true', data="two\n", patterns=["two"]),
    on("$cat", "pty_write", "ok", data="three\n"),
    on("$cat", "pty_read_until_any", '"pattern":"three"', patterns=["none", "three"]),
    on("$cat", "pty_read", "", timeout_ms=0),
    on("$cat", "pty_read_at", "one", offset=0),
    on("$cat", "pty_resize", "ok", cols=100, rows=30),
    on("$cat", "pty_status", '"cols":100'),
    call("pty_list", '"first"', owner="t"),
    call("confirm_dangerous_command", '"dangerous":false', command="ls", owner="t"),
    on("$cat", "pty_attach", "", client_id="one"),
    on("$cat", "pty_handoff", "", client_id="one", target_client_id="two", reason="next"),
    on("$cat", "pty_takeover", "", client_id="one", from_client_id="two", reason="back"),
    on("$cat", "pty_detach", "", client_id="one"),
    call("pty_spawn", "", keep="split", command=SPLIT, owner="t", separate_streams=True, scope="control"),
    on("$split", "pty_read_stdout", "out", timeout_ms=50_000),
    on("$split", "pty_read_stderr", "err", timeout_ms=50_000),
    on("$split", "pty_signal", '"ok":true', sig="KILL"),
    on("$split", "pty_wait", "-9", timeout_ms=50_000),
    call("set_limits", "", read_timeout_ms=100),
    call("get_limits", "100"),
    call("pty_metrics", ""),
    call("pty_health", "ok"),
    on("$split", "pty_close", "ok"),
    call("pty_recover", '"recovered_via":"recover"', name="lost", owner="me"),
    call("pty_close_all", ""),
]


@pytest.fixture
def lost_session(
    isolated_environment: None, need_tool: NeedTool, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A session in tmux whose daemon is dead."""
    tmux = need_tool("tmux")
    directory = runtime_dir / "tmux"
    monkeypatch.setenv("PTYBRIDGE_TMUX_DIR", str(directory))
    node = Node(runtime_dir, "gone", directory)
    node.create("lost")
    node.end(signal.SIGKILL)
    yield
    for server in directory.glob("*.tmux"):
        subprocess.run([tmux, "-S", server, "kill-server"], check=False, capture_output=True)


@pytest.mark.parametrize("generation", ["1", "2"])
def test_every_tool_answers_the_official_clients(
    lost_session: None, daemon: None, generation: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OPEN_GATES.items():
        monkeypatch.setenv(name, value)
    interpreter = request.getfixturevalue("old_client") if generation == "1" else sys.executable
    seen = driven(interpreter, "drive.py", [asked for asked, _ in CALLS])
    for (asked, expected), result in zip(CALLS, seen["results"], strict=True):
        assert not result.get("isError"), (asked, result)
        assert expected in result["content"][0]["text"], asked
        # The client has compared it with the tool's output schema.
        assert isinstance(result["structuredContent"], dict), asked
    called = {asked["name"] for asked, _ in CALLS}
    assert called <= {one["name"] for one in seen["tools"]}
    assert called == {one.name for one in compat.TOOLS}, "a new tool is to be called here, too"


@pytest.mark.parametrize("max_chars", [8000, 65536, 1_000_000])
def test_all_bytes_of_a_long_output_arrive_at_any_page_size(daemon: None, max_chars: int) -> None:
    last = 500_000
    with Stdio(env={"PTY_MCP_RING_MAX_BYTES": str(8 << 20)}) as client:
        client.initialize()
        spawned = client.call("pty_spawn", command=f"stty -onlcr; exec seq 1 {last}", owner="t")
        session_id = spawned["content"][0]["text"]
        pages: list[str] = []
        while True:
            page = client.call(
                "pty_read", session_id=session_id, owner="t", max_chars=max_chars, timeout_ms=50_000, format="json"
            )["structuredContent"]
            assert page["missed_bytes"] == 0
            assert len(page["text"]) <= max_chars
            pages.append(page["text"])
            if page["eof"]:
                break
    assert "".join(pages) == "".join(f"{number}\n" for number in range(1, last + 1))


@pytest.mark.parametrize("headers", [False, True])
def test_77_both_framings_are_told_apart_and_answered_in_kind(daemon: None, headers: bool) -> None:
    with Stdio(headers=headers) as client:
        client.initialize()
        session_id = client.call("pty_spawn", command="cat", owner="t")["content"][0]["text"]
        said = "x" * 100_000 + "é\n"
        client.call("pty_spawn", command="stty raw -echo; cat", owner="t")
        assert session_id in json.dumps(client.call("pty_list", owner="t"))
        result = client.call("pty_write", session_id=session_id, owner="t", data=said)
        # Longer than a line may be: refused as a whole, with the reason.
        assert result["isError"] is True
        assert client.leave() == 0


def lost_daemon(env: dict[str, str]) -> str:
    """What is said on standard error while the daemon is killed and comes back."""
    with Stdio(env=env) as client:
        client.initialize()
        run("new", "-d", "--", "cat")
        os.kill(daemon_pid(), signal.SIGKILL)
        assert client.ask("ping")["result"] == {}
        assert client.leave() == 0
        return client.stderr()


@pytest.mark.parametrize("prefix", ["PTY_MCP_", "PTYBRIDGE_MCP_"])
def test_79_standard_error_has_the_level_and_the_format_asked_for(daemon: None, prefix: str) -> None:
    lines = lost_daemon({f"{prefix}LOG": "info", f"{prefix}LOG_FORMAT": "json"}).splitlines()
    said = [json.loads(line) for line in lines]
    assert [one["level"] for one in said] == ["info", "info"]
    assert all(isinstance(one["ts"], float) and one["pid"] and one["msg"] for one in said)
    assert lost_daemon({f"{prefix}LOG": "error"}) == ""
    plain = lost_daemon({f"{prefix}LOG": "info", f"{prefix}LOG_FORMAT": "plain"}).splitlines()
    assert len(plain) == 2
    assert all(line.startswith("ptybridge: ") for line in plain)


def test_80_a_daemon_that_stays_away_is_told_once_per_request_and_not_per_attempt(
    daemon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stdio("--log-level", "info") as client:
        client.initialize()
        subprocess.run([*PROGRAM, "stop"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        # It looks for the next daemon many times a second, and starts one for this request in the end.
        assert client.ask("ping")["result"] == {}
        assert client.leave() == 0
        assert len(client.stderr().splitlines()) == 2


@pytest.mark.parametrize("ending", ["eof", "term", "int"])
def test_81_however_it_ends_nothing_of_it_is_left_and_sessions_go_on(daemon: None, ending: str) -> None:
    with Stdio() as client:
        client.initialize()
        session_id = client.call("pty_spawn", command="cat", owner="t")["content"][0]["text"]
        before = json.loads(run("status", "--json"))["clients"]
        if ending == "eof":
            assert client.leave() == 0
        else:
            number = signal.SIGTERM if ending == "term" else signal.SIGINT
            assert client.signalled(number) == 128 + number
        assert client.stderr() == ""
    eventually(lambda: json.loads(run("status", "--json"))["clients"] < before, "the daemon to notice")
    assert session_id in run("ls")


def test_84_ping_is_answered_while_calls_are_made(daemon: None) -> None:
    with Stdio() as client:
        client.initialize()
        session_id = client.call("pty_spawn", command="cat", owner="t")["content"][0]["text"]
        params = {"name": "pty_wait", "arguments": {"session_id": session_id, "owner": "t", "timeout_ms": 50_000}}
        client.send({"jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": params})
        for _ in range(3):
            assert client.ask("ping")["result"] == {}
        assert client.leave() == 0
