"""Sessions' logs on disk, over every endpoint: what is in them, what is not, and where they may lie."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.endpoints import PATIENCE_SECONDS, Client
from tests.contract.programs import exited, raw_cat, script, start, until

from ptybridge.api import session, terminal
from ptybridge.errors import InvalidParams, SpawnFailed


def events(directory: Path) -> list[dict[str, Any]]:
    path = directory / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


async def test_a_log_has_output_and_events_but_no_input(client: Client, tmp_path: Path) -> None:
    session_id = await raw_cat(client, log_dir=str(tmp_path), name="n", owner="o", tags=["t"])
    directory = tmp_path / session_id
    assert (await client.call(session.GET, session_id=session_id)).log_dir == str(directory)
    await client.call(terminal.WRITE, session_id=session_id, data="grün\n")
    await until(client, session_id, "grün")
    await client.call(session.RESIZE, session_id=session_id, cols=77, rows=11)
    await client.call(session.SIGNAL, session_id=session_id, signal="TERM", client_id="me")
    await exited(client, session_id)
    await client.call(session.CLOSE, session_id=session_id)
    await eventually(lambda: "close" in [one["event"] for one in events(directory)])
    assert "grün" in (directory / "transcript.log").read_text()
    found = {one["event"]: one for one in events(directory)}
    assert next(one["event"] for one in events(directory)) == "spawn"
    assert set(found) == {"spawn", "write", "read", "resize", "signal", "exit", "close"}
    spawned = found["spawn"]
    assert (spawned["name"], spawned["owner"], spawned["tag"], spawned["scope"]) == ("n", "o", "t", "admin")
    assert (spawned["cols"], spawned["rows"], spawned["backend"]) == (120, 30, "pty")
    assert found["write"]["bytes"] == len("grün\n".encode())
    assert (found["resize"]["cols"], found["resize"]["rows"]) == (77, 11)
    assert (found["signal"]["signal"], found["signal"]["client_id"]) == ("TERM", "me")
    assert (found["exit"]["exit_signal"], found["exit"]["exit_reason"]) == ("SIGTERM", "killed")
    assert "grün" not in (directory / "events.jsonl").read_text()


async def test_all_output_is_there_when_the_session_is_closed(client: Client, tmp_path: Path) -> None:
    session_id = await script(client, "seq 1 200000", log_dir=str(tmp_path), max_output_bytes=65536)
    await exited(client, session_id)
    await client.call(session.CLOSE, session_id=session_id)
    text = (tmp_path / session_id / "transcript.log").read_text()
    assert text.split() == [str(n) for n in range(1, 200001)]


async def test_there_is_none_unless_asked_for(client: Client) -> None:
    session_id = await start(client, "true")
    assert (await client.call(session.GET, session_id=session_id)).log_dir is None


@pytest.mark.parametrize("log_dir", ["relative/path", "~/logs", "/dev/null/logs"])
async def test_a_directory_that_cannot_be_is_refused_and_nothing_starts(connect: Connect, log_dir: str) -> None:
    client = await connect()
    with pytest.raises(InvalidParams):
        await start(client, "true", log_dir=log_dir)
    assert (await client.call(session.LIST)).sessions == []


async def test_a_program_that_does_not_start_leaves_no_log(client: Client, tmp_path: Path) -> None:
    with pytest.raises(SpawnFailed):
        await start(client, "/no/such/program", log_dir=str(tmp_path / "logs"))
    assert names(tmp_path / "logs") == []
