"""The private tmux server: what it must not be told, and what must not be left of it."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from tests.conftest import NeedTool

from ptybridge.backends.tmux import TmuxChild
from ptybridge.backends.tmux_link import Link, LinkLost
from ptybridge.backends.tmux_spawn import TmuxServer
from ptybridge.core import procinfo
from ptybridge.core.child import ChildSpec
from ptybridge.testing.running import ENV, PATIENCE_SECONDS, SIZE

# Tells whether anything was typed before it said that the client is in its session; then answers one command.
_LATE = """#!/bin/sh
case "$*" in *-V*) echo tmux 3.3a; exit;; esac
printf '%%begin 1 1 0\\n%%end 1 1 0\\n'
sleep 0.5
timeout 0.1 head -c 1 > '{early}'
printf '%%session-changed $0 ptybridge\\n'
read -r line
printf '%%begin 1 2 1\\n@4 sh\\n@7 (placeholder)\\n%%end 1 2 1\\n'
read -r line
printf '%s' "$line" > '{closed}'
printf '%%exit\\n'
"""


@pytest.fixture
def path(need_tool: NeedTool) -> Iterator[Path]:
    need_tool("tmux")
    # Socket paths must be short, so not in tmp_path.
    directory = Path(tempfile.mkdtemp(prefix="ts."))
    yield directory / "s"
    subprocess.run(["tmux", "-S", directory / "s", "kill-server"], check=False, capture_output=True)
    shutil.rmtree(directory)


@pytest.fixture
async def server(path: Path) -> AsyncIterator[TmuxServer]:
    made = TmuxServer(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def spawn(server: TmuxServer, workspace: str | None = None, name: str | None = None) -> TmuxChild:
    spec = ChildSpec(argv=["cat"], cwd="/", env=ENV, size=SIZE, workspace=workspace, owner="me", name=name)
    child, _ = await server.spawn(spec)
    return child


async def ask(server: TmuxServer, *command: str) -> list[str]:
    argv = ["tmux", "-S", str(server.socket), *command]
    return (await trio.run_process(argv, capture_stdout=True)).stdout.decode().splitlines()


def processes_of(path: Path) -> list[list[str]]:
    commands = [procinfo.process_command(one.pid) for one in procinfo.processes()]
    return [command for command in commands if any(str(path) in word for word in command)]


async def nothing_left(path: Path) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if not processes_of(path):
                break
            await trio.sleep(0.05)


async def test_sessions_of_a_workspace_closed_at_once_do_not_take_the_others_with_them(server: TmuxServer) -> None:
    """tmux 3.3a crashes when a session's current window and then its last one are closed in one go."""
    other = await spawn(server)
    before = await ask(server, "display-message", "-p", "#{pid}")
    for _ in range(5):
        group = [await spawn(server, "w") for _ in range(3)]
        for child in group:
            child.discard()
        for child in group:
            await child.aclose()
        assert await ask(server, "display-message", "-p", "#{pid}") == before
    assert other.send_nowait(b"x") == 1
    other.discard()
    await other.aclose()
    await nothing_left(server.socket)


async def test_a_session_closed_at_once_leaves_nothing(server: TmuxServer) -> None:
    for _ in range(5):
        child = await spawn(server, name="placeholder")
        child.discard()
        await child.aclose()
    await nothing_left(server.socket)


async def test_the_first_sessions_of_a_workspace_may_come_together(server: TmuxServer) -> None:
    made: list[TmuxChild] = []

    async def one() -> None:
        made.append(await spawn(server, "w"))

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(one)
    listed = await ask(server, "list-windows", "-a", "-F", "#{session_name} #{window_id}")
    assert sum(line.startswith("w-") for line in listed) == 6
    for child in made:
        child.discard()
        await child.aclose()
    await nothing_left(server.socket)


async def test_looking_for_a_server_starts_none(server: TmuxServer) -> None:
    """tmux starts one to attach to, unless told otherwise; the socket stays when a server ends."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(server.socket))
    before = server.socket.stat().st_ino
    with pytest.raises(LinkLost):
        await server.connect(create=False)
    assert server.socket.stat().st_ino == before


async def test_a_placeholder_that_a_killed_daemon_has_left_is_closed(server: TmuxServer, path: Path) -> None:
    link = Link(path)
    await link.open(create=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        await link.attached()
        nursery.cancel_scope.cancel()
    assert await ask(server, "list-windows", "-a", "-F", "#{window_name}") == ["(placeholder)"]
    child = await spawn(server)
    child.discard()
    await child.aclose()
    await nothing_left(server.socket)


async def test_nothing_is_typed_before_the_client_is_in_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tmux takes commands typed earlier before those of the command line, which makes the session."""
    early, closed = tmp_path / "early", tmp_path / "closed"
    program = tmp_path / "tmux"
    program.write_text(_LATE.format(early=early, closed=closed))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    link = Link(tmp_path / "s")
    await link.open(create=True)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            await link.attached()
            link.close_placeholder()
            await link.ended.wait()
    assert early.read_bytes() == b""
    assert closed.read_text() == "kill-window -t @7"
