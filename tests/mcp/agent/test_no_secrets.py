"""S29 for every tool and resource: none shows a model a secret, in whatever form a program has shown it.

A new tool fails the first test until it stands in one of the tables.
"""

from pathlib import Path
from typing import Any, Final

import pytest
import trio
from tests.contract.test_what_agents_see import FORMS, VALUE, pieces_of, set_stage, shown
from tests.mcp.compat.conftest import PATIENCE_MS, Client, Connect

from ptybridge.api import session as session_api
from ptybridge.daemon import Daemon
from ptybridge.errors import NotFound
from ptybridge.mcp.catalog import all_tools
from ptybridge.mcp.resources import TEMPLATES, Resources, uri_of

# What stays the same for each call of a tool, several calls each. `S`: the session that has shown it.
S: Final = "$session"
SPLIT: Final = "$split"
ON: Final = {"session_id": S, "owner": "o"}
APART: Final = {"session_id": SPLIT, "owner": "o"}
CALLS: Final[dict[str, list[dict[str, Any]]]] = {
    "pty_resume": [{"name": "shell", "owner": "o"}],
    "pty_status": [ON],
    "pty_list": [{"owner": "o"}],
    "pty_attach": [ON | {"client_id": "one"}],
    "pty_handoff": [ON | {"client_id": "one", "target_client_id": "two", "reason": "r"}],
    "pty_takeover": [ON | {"client_id": "one", "from_client_id": "two", "reason": "r"}],
    "pty_detach": [ON | {"client_id": "one"}],
    "pty_read": [ON | {"max_chars": size, "timeout_ms": 0} for size in [3, 7, 11, 5] * 40 + [65536]],
    "pty_read_stdout": [APART | {"max_chars": 1000, "timeout_ms": PATIENCE_MS}],
    "pty_read_stderr": [APART | {"max_chars": 1000, "timeout_ms": PATIENCE_MS}],
    "pty_read_at": [ON | {"offset": offset, "max_chars": 64} for offset in range(0, 1024, 8)],
    "pty_read_quiescent": [ON | {"client_id": "q", "quiescence_ms": 1, "timeout_ms": PATIENCE_MS}],
    "pty_read_until": [ON | {"client_id": "u", "pattern": "\n", "timeout_ms": PATIENCE_MS, "max_chars": 400}] * 4,
    "pty_read_until_any": [ON | {"client_id": "a", "patterns": ["z", "y"], "timeout_ms": PATIENCE_MS, "max_chars": 400}]
    * 4,
    "pty_prompt": [
        ON | {"data": "cat secret; echo o''k\n", "patterns": ["ok"], "max_chars": size, "timeout_ms": PATIENCE_MS}
        for size in (30, 1000, 65536)
    ],
    "pty_run": [ON | {"command": "cat secret", "wait": True, "max_output_bytes": size} for size in (1024, 1033, 65536)],
    "pty_exec": [
        {"command": f"cat {S}/secret", "owner": "o", "max_output_bytes": size, "timeout_ms": PATIENCE_MS}
        for size in (1024, 1033, 65536)
    ],
    "pty_wait_for": [
        ON | {"pattern": "secret", "offset": 0, "max_output_bytes": 1024, "timeout_ms": PATIENCE_MS},
        ON | {"pattern": "secret", "offset": 0, "timeout_ms": PATIENCE_MS},
        ON | {"screen": "o", "timeout_ms": PATIENCE_MS},
    ],
    "pty_screen": [ON, ON | {"scrollback_lines": 1000}],
    "pty_send_keys": [ON | {"keys": ["Enter"], "screen": True}],
    "pty_read_lines": [ON | {"from_line": line, "count": 3} for line in range(1, 20)] + [ON | {"from_line": -30}],
    "pty_search": [ON | {"pattern": one, "regex": True, "context_lines": 2} for one in (VALUE[:4], "x+", "[a-z]")],
    "pty_file_read": [{"path": f"{S}/secret", "max_bytes": size} for size in (5, 30, 20_000)],
    "pty_file_list": [{"path": f"{S}/."}],
    "pty_file_search": [{"path": f"{S}/.", "pattern": one, "context_lines": 1} for one in ("correct", VALUE[:4])],
    "pty_history": [ON] + [ON | {"number": number, "max_output_bytes": 1024} for number in (1, 2, 3)],
}
# Facts of ptybridge's own, and what the caller itself has said.
SILENT: Final = frozenset(
    "pty_spawn confirm_dangerous_command pty_write pty_resize pty_close pty_signal pty_wait pty_close_all "
    "set_default_cwd get_default_cwd set_limits get_limits pty_metrics pty_health pty_send_secret "
    "pty_file_write".split()
)
# Answers with what `pty_status` does, about a session in tmux.
AS_STATUS: Final = frozenset({"pty_recover"})


def test_s29_every_tool_is_looked_at() -> None:
    assert set(CALLS) | SILENT | AS_STATUS == {one.name for one in all_tools()}, "can it show what a program has?"


@pytest.mark.parametrize("form", FORMS)
async def test_s29_no_tool_and_no_resource_shows_a_secret(
    daemon: Daemon, client: Client, connect: Connect, tmp_path: Path, form: str
) -> None:
    human, session_id, home = await set_stage(daemon, tmp_path, form)
    apart = await human.call(
        session_api.CREATE, command=["sh", "-c", f": {VALUE}; cat secret; cat secret >&2; sleep 300"], backend="pipes",
        cwd=str(home), owner="o",
    )  # fmt: skip
    places = {S: session_id, SPLIT: apart.session_id}

    def placed(value: Any) -> Any:
        found = places.get(value, value) if isinstance(value, str) else value
        return found.replace(f"{S}/", f"{home}/") if isinstance(found, str) else found

    async def seen_by(client: Client, tool: str) -> list[str]:
        """Return what a model gets as text, and what as data."""
        answers = [
            await client.answer(tool, **{name: placed(value) for name, value in arguments.items()})
            for arguments in CALLS[tool]
        ]
        return [shown([one.text for one in answers]), shown([one.structured for one in answers])]

    for tool in CALLS:
        for seen in await seen_by(client, tool):
            assert pieces_of(VALUE, seen) == [], (tool, seen[-3000:])

    async def publish(uri: str | None) -> None:
        await trio.lowlevel.checkpoint()

    resources = Resources(client.context.endpoint, client.context.caller, publish)
    for part in TEMPLATES:
        text = await resources.read(uri_of(session_id, part))
        assert pieces_of(VALUE, shown(text)) == [], part
        assert "[redacted]" in text
    assert pieces_of(VALUE, shown([[one.name, one.description] for one in await resources.list()])) == []
    with pytest.raises(NotFound):
        await resources.read(uri_of(session_id, "history"))
    # And these calls would have shown it.
    daemon.sessions.secrets.forget(session_id)
    another = connect(ENABLE_CONTROL_TOOLS="1")
    silent = {tool for tool in CALLS if not pieces_of(VALUE, "".join(await seen_by(another, tool)))}
    assert silent == set()
