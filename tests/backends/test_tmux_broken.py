"""The connection to tmux breaks, or tmux itself: sessions go on where they can, and say so where not."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from tests.conftest import NeedTool

from ptybridge.backends import tmux
from ptybridge.backends.tmux import TmuxChild
from ptybridge.backends.tmux_spawn import TmuxServer
from ptybridge.core import procinfo
from ptybridge.core.child import ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed
from ptybridge.model import ExitStatus, WindowSize
from ptybridge.testing.running import ENV, PATIENCE_SECONDS, SIZE


@pytest.fixture
def directory(need_tool: NeedTool) -> Iterator[Path]:
    need_tool("tmux")
    # Socket paths must be short, so not in tmp_path.
    path = Path(tempfile.mkdtemp(prefix="tb."))
    yield path
    subprocess.run(["tmux", "-S", path / "s", "kill-server"], check=False, capture_output=True)
    shutil.rmtree(path)


@pytest.fixture
async def server(directory: Path) -> AsyncIterator[TmuxServer]:
    made = TmuxServer(directory / "s")
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        nursery.cancel_scope.cancel()


async def ask(server: TmuxServer, *command: str) -> str:
    argv = ["tmux", "-S", str(server.socket), *command]
    return (await trio.run_process(argv, capture_stdout=True)).stdout.decode().strip()


async def start(server: TmuxServer, *argv: str) -> tuple[TmuxChild, Transcript]:
    return await server.spawn(ChildSpec(argv=list(argv), cwd="/", env=ENV, size=SIZE))


async def shows(log: Transcript, text: bytes, times: int = 1) -> bytes:
    reader = log.reader(log.start)
    seen = b""
    with trio.fail_after(PATIENCE_SECONDS):
        while seen.count(text) < times:
            assert not log.closed
            await reader.wait()
            seen += reader.take(1 << 20)[1]
    return seen


async def kill_client(server: TmuxServer) -> None:
    os.kill(int(await ask(server, "list-clients", "-F", "#{client_pid}")), signal.SIGKILL)


async def test_what_was_printed_while_the_connection_was_broken_is_shown_after_a_notice(
    server: TmuxServer, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, go, done = directory / "tried", directory / "go", directory / "done"
    script = f"echo before; while [ ! -e {go} ]; do sleep 0.02; done; echo between; touch {done}; exec cat"
    child, log = await start(server, "sh", "-c", script)
    other, other_log = await start(server, "cat")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.pump, log)
        nursery.start_soon(other.pump, other_log)
        await shows(log, b"before\r\n")
        # The next client starts only once the program has printed.
        slow = directory / "tmux"
        wait = f"touch {tried}; while [ ! -e {done} ]; do sleep 0.02; done"
        slow.write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which("tmux")} "$@"\n')
        slow.chmod(0o755)
        await kill_client(server)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                if await trio.Path(tried).exists():
                    break
                await trio.sleep(0.02)
        go.touch()
        seen = await shows(log, b"between")
        assert seen.index(b"the connection to tmux broke") < seen.index(b"between")
        await child.send_some(memoryview(b"after\n"))
        # Echoed and printed; the picture may lie between the two.
        await shows(log, b"after", 2)
        await other.send_some(memoryview(b"other\n"))
        await shows(other_log, b"other", 2)
        child.resize(WindowSize(rows=30, cols=100))
        nursery.cancel_scope.cancel()
    for each in (child, other):
        each.discard()
        await each.aclose()


async def test_an_end_that_came_while_it_was_broken_is_told_exactly(server: TmuxServer) -> None:
    child, log = await start(server, "sh", "-c", "read x; exit 7")
    pid = int(await ask(server, "list-clients", "-F", "#{client_pid}"))
    os.kill(pid, signal.SIGSTOP)
    await ask(server, "send-keys", "-t", child.place.pane, "Enter")
    with trio.fail_after(PATIENCE_SECONDS):
        assert await child.wait() == ExitStatus(code=7)
        os.kill(pid, signal.SIGKILL)
        await child.pump(log)
    child.discard()
    await child.aclose()


async def test_what_tmux_reads_late_is_complete(
    server: TmuxServer, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine tmux, or we, may stand still while a program prints its last and ends."""
    monkeypatch.setattr(tmux, "_MARK_SECONDS", 0.1)
    go = directory / "go"
    child, log = await start(
        server, "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.02; done; head -c 9000 /dev/zero | tr '\\0' x"
    )
    pid = int(await ask(server, "display-message", "-p", "#{pid}"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.pump, log)
        os.kill(pid, signal.SIGSTOP)
        try:
            go.touch()
            with trio.fail_after(PATIENCE_SECONDS):
                assert await child.wait() == ExitStatus(code=0)
                while True:
                    if child._process.said_end():
                        break
                    await trio.sleep(0.01)
            await trio.sleep(0.5)  # it has asked tmux by now whether that was all
        finally:
            os.kill(pid, signal.SIGCONT)
    assert log.read(0, 1 << 16) == (0, b"x" * 9000)
    child.discard()
    await child.aclose()


async def test_a_window_that_was_to_be_closed_is_closed_over_the_next_connection(server: TmuxServer) -> None:
    child, log = await start(server, "cat")
    await kill_client(server)
    child.discard()
    await child.aclose()
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if not any(str(server.socket) in " ".join(procinfo.process_command(p.pid)) for p in procinfo.processes()):
                break
            await trio.sleep(0.05)
    assert log.end >= 0


async def test_without_its_server_a_session_ends_and_the_next_one_starts_another(server: TmuxServer) -> None:
    child, log = await start(server, "cat")
    os.kill(int(await ask(server, "display-message", "-p", "#{pid}")), signal.SIGKILL)
    with trio.fail_after(PATIENCE_SECONDS):
        await child.pump(log)
        # The hang-up ends it; whether its launcher still wrote that down, which tmux takes along, is open.
        assert await child.wait() in {ExitStatus(), ExitStatus(signal="SIGHUP")}
    with pytest.raises(InputClosed):
        child.send_nowait(b"x")
    child.discard()
    await child.aclose()
    again, log = await start(server, "echo", "again")
    with trio.fail_after(PATIENCE_SECONDS):
        await again.pump(log)
    assert log.read(0, 100)[1] == b"again\r\n"
    again.discard()
    await again.aclose()
