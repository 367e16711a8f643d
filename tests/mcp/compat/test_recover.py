"""Sessions in tmux and their recovery: rows 47-52 of the reference, and its defects 10, 11 and 12."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.conftest import NeedTool
from tests.contract.test_logs import events, eventually
from tests.mcp.compat.conftest import Client, Connect
from tests.survival.tmux_node import Node

from ptybridge.errors import Conflict, InvalidParams, SessionNotFound

GROUP = {"recovery_group_key", "recovery_group_session_ids", "recovery_group_session_count"}


@pytest.fixture(autouse=True)
def tmux_directory(need_tool: NeedTool, runtime_dir: Path) -> Iterator[Path]:
    """Where the daemon of these tests has tmux; what was recovered outlives it, but not the test."""
    need_tool("tmux")
    directory = runtime_dir / "tmux"
    yield directory
    for server in directory.glob("*.tmux"):
        subprocess.run(["tmux", "-S", server, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def lost(runtime_dir: Path, tmux_directory: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """`lost("a", "b")` makes sessions in a daemon that has ended since; it returns them by name."""
    nodes: list[Node] = []

    def make(*names: str, number: int = signal.SIGKILL, **more: object) -> dict[str, Any]:
        node = Node(runtime_dir, f"n{len(nodes)}", tmux_directory)
        nodes.append(node)
        made = {name: node.create(name, **more) for name in names}
        node.end(number)
        return made

    yield make
    for node in nodes:
        if node.process.poll() is None:
            node.end(signal.SIGKILL)
        shutil.rmtree(node.env["PTYBRIDGE_STATE_DIR"], ignore_errors=True)


async def test_row47_c10_exit_codes_in_tmux_are_exact(client: Client) -> None:
    for _ in range(10):
        session = await client.spawn("echo said; exit 5", backend="tmux")
        assert await client.wait(session) == {"running": False, "exit_code": 5, "exit_reason": "exited"}
        assert await client.read_all(session) == "said\r\n"
        await client.text("pty_close", session_id=session, owner="me")


async def test_row47_the_backend_can_be_set_for_all(connect: Connect) -> None:
    client = connect(BACKEND="tmux")
    session = await client.spawn("stty size; cat")
    status = await client.status(session)
    assert (status["backend"], status["recovered"], status["recovered_at"]) == ("tmux", False, None)
    await client.until(session, "30 120")
    await client.text("pty_write", session_id=session, owner="me", data="typed\n")
    await client.until(session, "typed\r\ntyped")
    other = await client.spawn("true", backend="subprocess")
    assert (await client.status(other))["backend"] == "subprocess"
    apart = await client.spawn("true", separate_streams=True)
    assert (await client.status(apart))["backend"] == "subprocess"
    refused = await client.refusal("pty_spawn", command="true", owner="me", separate_streams=True, backend="tmux")
    assert isinstance(refused, InvalidParams)
    await client.text("pty_close", session_id=session, owner="me")


async def test_row48_c11_a_workspace_has_room_for_ten(client: Client) -> None:
    made = [await client.spawn("stty size; cat", backend="tmux", tmux_workspace="w") for _ in range(10)]
    for session in made:
        await client.until(session, "30 120")
        assert (await client.status(session))["tmux_workspace"] == "w"
    for session in made:
        await client.text("pty_close", session_id=session, owner="me")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_row49_c12_a_session_is_recovered_after_a_crash_and_after_a_normal_end(
    client: Client, lost: Callable[..., dict[str, Any]], number: int
) -> None:
    made = (await trio.to_thread.run_sync(lambda: lost("one", number=number)))["one"]
    found = await client.json("pty_recover", name="one", owner="me")
    assert found["session_id"] == made["session_id"]
    assert (found["recovered_via"], found["already_live"], found["recovered"]) == ("recover", False, True)
    assert found["recovery_group_session_ids"] == [made["session_id"]]
    assert found["recovery_group_session_count"] == 1
    assert found["recovery_group_key"]
    assert (found["running"], found["attached"], found["pid"]) == (True, False, made["pid"])
    await client.text("pty_write", session_id=found["session_id"], owner="me", data="back\n")
    await client.until(found["session_id"], "back\r\nback")
    listed = await client.json("pty_list", owner="me")
    assert [one["recovered_at"] for one in listed] == [found["recovered_at"]]
    await client.text("pty_close", session_id=found["session_id"], owner="me")


async def test_row69_a_recovered_session_goes_on_in_its_log(
    client: Client, lost: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    logs = str(tmp_path / "logs")
    made = await trio.to_thread.run_sync(lambda: lost("a", "b", workspace="w", log_dir=logs))
    session = made["a"]["session_id"]
    directory = tmp_path / "logs" / session
    found = await client.json("pty_recover", name="a", owner="me")
    await client.text("pty_write", session_id=session, owner="me", data="said later\n")
    await eventually(lambda: "said later" in (directory / "transcript.log").read_text())
    await client.text("pty_close", session_id=session, owner="me")
    await eventually(lambda: events(directory)[-1]["event"] == "close")
    noted = {one["event"]: one for one in events(directory)}
    # One log, from before and after.
    assert {"spawn", "recover", "write", "close"} <= set(noted)
    assert [one["event"] for one in events(directory)].count("spawn") == 1
    recovered = noted["recover"]
    assert (recovered["session_id"], recovered["name"], recovered["owner"]) == (session, "a", "me")
    assert recovered["recovery_group_key"] == found["recovery_group_key"]
    assert recovered["recovery_group_session_ids"] == sorted(one["session_id"] for one in made.values())
    other = tmp_path / "logs" / made["b"]["session_id"]
    await eventually(lambda: "recover" in [one["event"] for one in events(other)])
    await client.text("pty_close", session_id=made["b"]["session_id"], owner="me")


async def test_row50_a_workspace_is_recovered_as_a_whole_or_not_at_all(
    client: Client, lost: Callable[..., dict[str, Any]]
) -> None:
    whole = await trio.to_thread.run_sync(lambda: lost("a", "b", "c", workspace="w"))
    broken = await trio.to_thread.run_sync(lambda: lost("d", "e", workspace="v"))
    found = await client.json("pty_recover", name="b", owner="me")
    assert found["recovery_group_session_ids"] == sorted(one["session_id"] for one in whole.values())
    assert found["recovery_group_session_count"] == 3
    os.kill(broken["e"]["pid"], signal.SIGKILL)
    with trio.fail_after(60):
        while True:
            refused = await client.refusal("pty_recover", name="d", owner="me")
            if isinstance(refused, Conflict) and "its program has ended" in refused.message:
                break
            await trio.sleep(0.05)
    assert len(await client.json("pty_list", owner="me")) == 3


async def test_row51_what_is_live_is_said_to_be(client: Client) -> None:
    session = await client.spawn("cat", backend="tmux", name="one")
    found = await client.json("pty_recover", name="one", owner="me")
    assert (found["session_id"], found["already_live"], found["recovered_via"]) == (session, True, "recover")
    assert not found["recovered"]
    assert not GROUP & set(found)
    for name, owner in (("other", "me"), ("one", "other")):
        assert isinstance(await client.refusal("pty_recover", name=name, owner=owner), SessionNotFound)
    for arguments in ({"name": "one"}, {"owner": "me"}):
        assert isinstance(await client.refusal("pty_recover", **arguments), InvalidParams)
    await client.text("pty_close", session_id=session, owner="me")


def check_private(directory: Path) -> None:
    assert (directory / "index.sqlite").exists()
    for path in (directory, *directory.glob("index*")):
        assert path.stat().st_mode & 0o077 == 0
        assert path.is_dir() or b"hunter2" not in path.read_bytes()


async def test_row52_the_index_is_private_and_has_no_environment(client: Client, tmux_directory: Path) -> None:
    session = await client.spawn("cat", backend="tmux", name="one", env={"TOKEN": "hunter2"})
    check_private(tmux_directory)
    await client.text("pty_close", session_id=session, owner="me")
    assert isinstance(await client.refusal("pty_recover", name="one", owner="me"), SessionNotFound)
