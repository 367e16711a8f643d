"""Schemathesis sends a daemon all that its OpenAPI document allows, and what it forbids, and looks at the answers.

Checked are: no failure of the server, statuses and content types that are documented, bodies and events that fit their
schemas, requests that break the rules refused, methods that a path does not take answered with 405, and nothing without
a login. Requests are made up in the same order each time.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.survival.harness import Node

ROOT = Path(__file__).parents[2]
SETTINGS = """
continue-on-failure = true
hooks = "tests.web.schemathesis_hooks"
# Generous: only a hang should ever reach it. Streams go on for ever, so of each some events are enough.
request-timeout = 60
max-stream-events = 1
warnings = false

[generation]
deterministic = true
database = "none"
max-examples = 3
no-shrink = true

[parameters]
"path.session_id" = "{session_id}"

[phases]
# It makes up chains of requests, which takes minutes.
stateful.enabled = false

[checks]
# Much that has the right form is refused for what it says: a path that is relative, a pattern that is none.
positive_data_acceptance.enabled = false
# What this machine lacks, such as tmux or something that is shared, is "unavailable".
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
# A file that has changed is noticed before anything that is wrong with the body.
negative_data_rejection.expected-statuses = ["4xx", "503"]

[[operations]]
# They end this daemon, or replace it.
include-operation-id = ["node.shutdown", "node.restart", "node.upgrade"]
enabled = false

[[operations]]
# Any operation can be called by its name; those that may be are tried at their own routes.
include-operation-id = "web.call"
parameters = {{ "path.name" = "session.list" }}

[[operations]]
include-operation-id = ["session.close", "session.signal"]
parameters = {{ "path.session_id" = "{spare_id}" }}

[[operations]]
include-operation-id = "key.revoke"
parameters = {{ "path.key_id" = "spare" }}

[[operations]]
# The protocol has a specification and tests of its own (test_mcp.py).
include-operation-id-regex = "^web.mcp"
enabled = false
"""
# These end sessions, or would let the others reach limits.
ENDING = r"^(session\.(close|close_all|signal|update|kick)|node\.set_limits)$"
# What only an administrator may do.
ADMINS = r"^(key|secret|share|web)\."


@pytest.fixture
def node(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    (runtime_dir / "files").mkdir()
    settings = {
        "PTYBRIDGE_WEB_ENABLED": "true",
        "PTYBRIDGE_WEB_PORT": "0",
        "PTYBRIDGE_FILES_ROOTS": str(runtime_dir / "files"),
        # What is tried here is not how many requests are too many.
        **{f"PTYBRIDGE_WEB_{kind}_AT_ONCE": "10000" for kind in ("CREATES", "WRITES", "FAILURES")},
        **{f"PTYBRIDGE_WEB_{kind}_PER_SECOND": "1000" for kind in ("CREATES", "WRITES", "FAILURES")},
        # Nothing that is made up happens to be the name of a program.
        "PATH": str(runtime_dir / "nothing"),
    }
    node = Node(runtime_dir)
    node.start(env=settings)
    yield node
    node.close()


def run(node: Node, level: str, *which: str) -> None:
    """Run schemathesis with a key of this level on these operations, and on a session of its own."""
    # Whatever is typed into it, it goes on.
    endless = "trap '' INT QUIT TSTP HUP; while :; do /bin/cat; /bin/sleep 0.1; done"
    session_id = node.create(["/bin/sh", "-c", endless])
    spare_id = node.create(["/bin/cat"], tags=["spare"])
    node.call("key.create", name="spare")
    key = str(node.call("key.create", name=level, level=level)["value"])
    at = f"http://{node.call('web.status')['addresses'][0]}"
    settings = node.directory / "schemathesis.toml"
    settings.write_text(SETTINGS.format(session_id=session_id, spare_id=spare_id))
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", f"{at}/openapi.json"),
            *("-H", f"Authorization: Bearer {key}", *which),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SCHEMATHESIS_ROOT": str(node.directory.parent / "files"),
        },
        cwd=node.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    print(result.stdout[-20_000:], result.stderr[-5_000:])
    assert result.returncode == 0
    # It has really been there: many requests, with a key and a session that were good to the end, and no defect.
    assert int((re.search(r"(\d+) generated", result.stdout) or [0, 0])[1]) > 500
    request = urllib.request.Request(f"{at}/v1/sessions/{session_id}", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["state"] == "running"
    assert "Traceback" not in node.log()


@pytest.mark.timeout(600)
def test_what_a_key_may_do_is_as_the_document_says(node: Node) -> None:
    run(node, "full", "--exclude-operation-id-regex", f"{ENDING}|{ADMINS}")


@pytest.mark.timeout(600)
def test_what_ends_things_and_what_administrators_do_is_as_the_document_says(node: Node) -> None:
    run(node, "admin", "--include-operation-id-regex", f"{ENDING}|{ADMINS}")
