"""The official clients over stdio: two generations of the Python client, and the inspector's command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.mcp.stdio import PROGRAM, run

HERE = Path(__file__).parent
# The first call may wait until the inspector or Node.js is installed.
pytestmark = pytest.mark.timeout(900)
CLIENT_SECONDS = 90
BAD_CALL = [{"name": "no_such_tool", "arguments": {"a": 1}}]


def driven(interpreter: object, script: str, said: object = None) -> Any:
    """Run a script under a client's interpreter; return what it printed."""
    done = subprocess.run(
        [str(interpreter), str(HERE / script), *PROGRAM, "mcp"],
        input=json.dumps(said),
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(params=["1", "2"])
def interpreter(request: pytest.FixtureRequest) -> str:
    """An interpreter with one generation of the client."""
    return str(request.getfixturevalue("old_client")) if request.param == "1" else sys.executable


def test_both_generations_shake_hands_and_use_everything(daemon: None, interpreter: str) -> None:
    session_id = run("new", "-d", "--name", "there", "--", "cat")
    seen = driven(interpreter, "drive.py", BAD_CALL)
    assert seen["client"].startswith("2." if interpreter == sys.executable else "1.")
    assert seen["initialize"]["protocolVersion"] == "2025-11-25"
    assert seen["initialize"]["serverInfo"]["name"] == "ptybridge"
    assert seen["results"][0]["isError"] is True
    assert "no_such_tool" in seen["results"][0]["content"][0]["text"]
    assert seen["resources"][0]["uri"] == f"ptybridge://session/{session_id}/screen"
    assert "printed by programs" in seen["read"]["contents"][0]["text"]


def test_both_generations_are_told_of_progress(daemon: None, interpreter: str) -> None:
    calls = [
        {"name": "pty_spawn", "arguments": {"command": "sleep 300", "owner": "t"}, "as": "it"},
        {
            "name": "pty_wait",
            # From the call on: a program's own end may come before the first report when the call comes late.
            "arguments": {"session_id": "$it", "owner": "t", "timeout_ms": 5000},
            "progress": True,
        },
    ]
    seen = driven(interpreter, "drive.py", calls)
    assert seen["results"][1]["structuredContent"]["running"] is True
    times = [progress for progress, _, _ in seen["progress"]]
    assert times
    assert times == sorted(set(times))
    assert {total for _, total, _ in seen["progress"]} == {5}


def test_the_newest_protocol_without_a_handshake(daemon: None) -> None:
    run("new", "-d", "--name", "there", "--", "cat")
    seen = driven(sys.executable, "drive_modern.py")
    assert seen["version"] == "2026-07-28"
    assert seen["instructions"].startswith("Terminal sessions")
    assert seen["result"]["isError"] is True
    assert seen["event"] == "ResourceUpdated"


def inspected(inspector: list[str], *options: str) -> Any:
    """Call the inspector, which gives servers no environment but what it is told to."""
    given = [
        word for name, value in os.environ.items() if name.startswith("XDG_") for word in ("-e", f"{name}={value}")
    ]
    done = subprocess.run(
        [*inspector, "--cli", *given, *PROGRAM, "mcp", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_inspector_lists_and_reads(daemon: None, inspector: list[str]) -> None:
    session_id = run("new", "-d", "--name", "there", "--", "cat")
    assert "tools" in inspected(inspector, "--method", "tools/list")
    uri = f"ptybridge://session/{session_id}/screen"
    listed = inspected(inspector, "--method", "resources/list")["resources"]
    assert uri in [one["uri"] for one in listed]
    assert len(inspected(inspector, "--method", "resources/templates/list")["resourceTemplates"]) == 2
    read = inspected(inspector, "--method", "resources/read", "--uri", uri)
    assert "printed by programs" in read["contents"][0]["text"]
