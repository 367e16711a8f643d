"""pty-mcp's session logs: rows 68 to 70 of the comparison, and defect 26 of the reference."""

import json
from pathlib import Path
from typing import Any

from tests.contract.test_logs import events, eventually
from tests.mcp.compat.conftest import Client, Connect


async def logged(client: Client, base: Path, command: str, **arguments: Any) -> Path:
    session = await client.spawn(command, **arguments)
    await client.wait(session)
    assert (await client.text("pty_close", session_id=session, owner="me")) is not None
    directory = base / session
    await eventually(lambda: any(one["event"] == "close" for one in events(directory)))
    return directory


async def test_row68_transcript_log_cuts_no_character(connect: Connect, tmp_path: Path) -> None:
    client = connect(SESSION_LOG_DIR=str(tmp_path / "logs"))
    directory = await logged(client, tmp_path / "logs", "for i in $(seq 2000); do printf 'äö€'; done; printf '\\377'")
    assert (directory / "transcript.log").read_text() == "äö€" * 2000 + "\ufffd"


async def test_row69_event_log_has_the_fields_of_the_reference(connect: Connect, tmp_path: Path) -> None:
    client = connect(SESSION_LOG_DIR=str(tmp_path / "logs"))
    session = await client.spawn("cat", name="n", tag="t")
    await client.text("pty_write", session_id=session, owner="me", data="typed text\n")
    await client.until(session, "typed")
    await client.text("pty_close", session_id=session, owner="me")
    directory = tmp_path / "logs" / session
    await eventually(lambda: any(one["event"] == "close" for one in events(directory)))
    found = {one["event"]: one for one in events(directory)}
    assert {"spawn", "write", "read", "exit", "close"} <= set(found)
    assert all(isinstance(one["ts"], float) for one in events(directory))
    wanted = {"command", "cwd", "cols", "rows", "name", "tag", "owner", "scope", "backend"}
    assert wanted <= set(found["spawn"])
    assert found["write"]["bytes"] == len("typed text\n")
    assert "typed text" not in (directory / "events.jsonl").read_text()


async def test_c26_logs_are_private_and_bounded(connect: Connect, tmp_path: Path) -> None:
    client = connect(SESSION_LOG_DIR=str(tmp_path / "logs"))
    directory = await logged(
        client, tmp_path / "logs", "echo $SECRET_VALUE; echo API_TOKEN=a1b2c3d4", env={"SECRET_VALUE": "x"}
    )
    for path in (tmp_path / "logs", directory):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    written = (directory / "transcript.log").read_text() + json.dumps(events(directory))
    assert "a1b2c3d4" not in written
    assert "[redacted]" in written
    assert 'SECRET_VALUE": ' not in written  # the environment is not written down


async def test_without_the_setting_nothing_is_written(connect: Connect, tmp_path: Path) -> None:
    session = await connect().spawn("echo hi")
    assert not (tmp_path / "logs").exists()
    assert session


async def test_row69_event_log_has_leases(connect: Connect, tmp_path: Path) -> None:
    client = connect(SESSION_LOG_DIR=str(tmp_path / "logs"))
    session = await client.spawn("cat")
    on = {"session_id": session, "owner": "me"}
    await client.answer("pty_attach", **on, client_id="one")
    await client.answer("pty_handoff", **on, client_id="one", target_client_id="two", reason="lunch")
    await client.answer("pty_detach", **on, client_id="two")
    directory = tmp_path / "logs" / session
    await eventually(lambda: any(one["event"] == "detach" for one in events(directory)))
    found = {one["event"]: one for one in events(directory)}
    assert found["attach"]["to_client_id"] == found["attach"]["client_id"] == "one"
    given = found["handoff"]
    assert (given["from_client_id"], given["to_client_id"], given["reason"]) == ("one", "two", "lunch")
    assert (given["affected_session_ids"], given["workspace_handoff"]) == ([session], False)
