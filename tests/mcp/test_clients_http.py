"""The official clients over HTTP and TLS, with a certificate of `ptybridge cert`, its authority, and a key."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.mcp.stdio import eventually, run

from ptybridge.web.certificates import ensure

HERE = Path(__file__).parent
# The first call may wait until the inspector or Node.js is installed.
pytestmark = pytest.mark.timeout(900)
CLIENT_SECONDS = 90
CALLS = [
    {"name": "pty_spawn", "arguments": {"command": "echo there; exec cat", "owner": "t"}, "as": "it"},
    {"name": "pty_read_until", "arguments": {"session_id": "$it", "owner": "t", "pattern": "there"}},
    {"name": "no_such_tool", "arguments": {}},
]


class Server:
    """The test's own daemon, reached by its URL."""

    def __init__(self, authority: str) -> None:
        self.authority = authority
        self.key = run("key", "new", "agent")
        self.url = f"https://{eventually(self._address, 'the web front')}/mcp"

    def _address(self) -> str:
        return next(iter(json.loads(run("call", "web.status"))["addresses"]), "")


@pytest.fixture
def server(daemon: None, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = json.loads(run("cert", "--json"))
    for name, value in {"ENABLED": "true", "PORT": "0", "TLS_CERT": made["cert"], "TLS_KEY": made["key"]}.items():
        monkeypatch.setenv(f"PTYBRIDGE_WEB_{name}", value)
    return Server(made["authority"])


@pytest.fixture(params=["1", "2"])
def interpreter(request: pytest.FixtureRequest) -> str:
    """An interpreter with one generation of the client."""
    return str(request.getfixturevalue("old_client")) if request.param == "1" else sys.executable


def test_both_generations_use_everything(server: Server, interpreter: str) -> None:
    done = subprocess.run(
        [interpreter, str(HERE / "drive.py"), server.url],
        input=json.dumps(CALLS),
        env=os.environ | {"MCP_KEY": server.key, "MCP_CA": server.authority},
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert seen["client"].startswith("2." if interpreter == sys.executable else "1.")
    assert seen["initialize"]["serverInfo"]["name"] == "ptybridge"
    assert {"pty_spawn", "pty_read_until"} <= {one["name"] for one in seen["tools"]}
    spawned, read, unknown = seen["results"]
    assert not spawned.get("isError")
    assert "there" in read["content"][0]["text"]
    assert unknown["isError"]
    assert seen["resources"][0]["uri"].startswith("ptybridge://session/")
    assert "printed by programs" in seen["read"]["contents"][0]["text"]


def test_a_client_that_does_not_know_the_authority_sends_nothing(server: Server, tmp_path: Path) -> None:
    """What it would say to whoever answers is not for them."""
    other = ensure(tmp_path / "other").authority
    done = subprocess.run(
        [sys.executable, str(HERE / "drive.py"), server.url],
        input="[]",
        env=os.environ | {"MCP_KEY": server.key, "MCP_CA": other},
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    assert done.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


def inspected(inspector: list[str], server: Server, *options: str) -> Any:
    """Call the inspector, which finds the authority as Node.js does."""
    header = f"Authorization: Bearer {server.key}"
    done = subprocess.run(
        [*inspector, "--cli", server.url, "--transport", "http", "--header", header, *options],
        stdin=subprocess.DEVNULL,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": server.authority},
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_inspector_lists_and_reads(server: Server, inspector: list[str]) -> None:
    session_id = run("new", "-d", "--name", "there", "--", "cat")
    assert "tools" in inspected(inspector, server, "--method", "tools/list")
    uri = f"ptybridge://session/{session_id}/screen"
    listed = inspected(inspector, server, "--method", "resources/list")["resources"]
    assert uri in [one["uri"] for one in listed]
    read = inspected(inspector, server, "--method", "resources/read", "--uri", uri)
    assert "printed by programs" in read["contents"][0]["text"]
