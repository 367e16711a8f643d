import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from tests.conftest import NeedTool

from ptybridge.backends.tmux import TmuxChild
from ptybridge.backends.tmux_spawn import TmuxServer
from ptybridge.core import procinfo
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.model import ExitStatus, WindowSize
from ptybridge.testing.contract import Start
from ptybridge.testing.running import ENV, PATIENCE_SECONDS, SIZE
from ptybridge.testing.terminal_contract import TerminalContract


class TestTmux(TerminalContract):
    @pytest.fixture(autouse=True)
    def _private_server(self, need_tool: NeedTool, runtime_dir: Path) -> Iterator[None]:
        need_tool("tmux")
        self.server = TmuxServer(runtime_dir / "s")
        self.serving = False
        yield
        subprocess.run(["tmux", "-S", runtime_dir / "s", "kill-server"], check=False, capture_output=True)

    async def spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        if not self.serving:
            self.serving = True
            # Fixtures of pytest-trio that nobody asks for by name are not awaited.
            trio.lowlevel.spawn_system_task(self.server.run)
            await trio.testing.wait_all_tasks_blocked()
        return await self.server.spawn(spec)

    async def test_row47_exit_codes_are_exact_every_time(self) -> None:
        """Defect 10 of the reference: half of them were reported as 0."""
        with trio.fail_after(2 * PATIENCE_SECONDS):
            for _ in range(50):
                child, log = await self.program("sh", "-c", "exit 5")
                assert await child.wait() == ExitStatus(code=5)
                await child.pump(log)
                child.discard()
                await child.aclose()

    async def test_a_flood_is_byte_exact(self, running: Start) -> None:
        data = bytes(range(256)) * 20_000
        (self.folder / "flood").write_bytes(data)
        argv = ["sh", "-c", "stty -opost; cat flood"]
        spec = ChildSpec(argv=argv, cwd=str(self.folder), env=ENV, size=SIZE, capacity=1 << 23)
        child = running(await self.spawn(spec))
        assert await child.finish() == ExitStatus(code=0)
        assert child.output() == data

    async def test_row48_ten_sessions_share_a_workspace_each_with_its_own_size(self, running: Start) -> None:
        """Defect 11 of the reference: the third had no room."""
        made = []
        for number in range(10):
            size = WindowSize(rows=20 + number, cols=70 + number)
            argv = ["sh", "-c", "stty size; read x"]
            spec = ChildSpec(argv=argv, cwd="/", env=ENV, size=size, workspace="big project", owner="me")
            made.append(running(await self.spawn(spec)))
        for number, child in enumerate(made):
            await child.wait_output(b"%d %d" % (20 + number, 70 + number))
        command = ["tmux", "-S", str(self.server.socket), "list-windows", "-a", "-F", "#{session_name}"]
        listed = (await trio.run_process(command, capture_stdout=True)).stdout.decode().split()
        assert sum(name.startswith("big-project-") for name in listed) == 10

    async def test_the_environment_is_on_no_command_line_and_in_no_file(self, running: Start) -> None:
        """Defect 26 of the reference."""
        child = running(await self.program("sh", "-c", "echo $TOKEN; read x", env={"TOKEN": "hunter2"}))
        await child.wait_output(b"hunter2")
        assert isinstance(child.child, TmuxChild)
        assert not any(
            "hunter2" in word for stat in procinfo.processes() for word in procinfo.process_command(stat.pid)
        )
        for file in self.server.socket.parent.iterdir():
            assert not file.is_file() or b"hunter2" not in file.read_bytes()
        assert self.server.socket.parent.stat().st_mode & 0o077 == 0

    async def test_input_of_any_bytes_arrives_in_order(self, running: Start) -> None:
        data = bytes(range(256)) * 200
        child = running(await self.program("sh", "-c", f"stty raw -echo; echo go; head -c {len(data)}"))
        at = await child.wait_output(b"go\n")
        await child.send(data)
        await child.finish()
        assert child.output()[at:] == data

    async def test_the_server_ends_with_its_last_session_and_leaves_nothing(self) -> None:
        for _ in range(3):
            child, log = await self.program("true")
            await child.pump(log)
            child.discard()
            await child.aclose()
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                command = ["tmux", "-S", str(self.server.socket), "list-sessions"]
                done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
                if done.returncode:
                    break
                await trio.sleep(0.05)
        assert not list(self.server.socket.parent.glob("*.exit"))
