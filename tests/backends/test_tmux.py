import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from ptybridge.backends.tmux_spawn import TmuxServer
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.transcript import Transcript
from ptybridge.testing.contract import TerminalContract

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class TestTmux(TerminalContract):
    @pytest.fixture(autouse=True)
    def _private_server(self) -> Iterator[None]:
        # Socket paths must be short, so not in tmp_path.
        directory = Path(tempfile.mkdtemp(prefix="tm."))
        self.server = TmuxServer(directory / "s")
        self.serving = False
        yield
        subprocess.run(["tmux", "-S", directory / "s", "kill-server"], check=False, capture_output=True)
        shutil.rmtree(directory)

    async def spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        if not self.serving:
            self.serving = True
            # Fixtures of pytest-trio that nobody asks for by name are not awaited.
            trio.lowlevel.spawn_system_task(self.server.run)
            await trio.testing.wait_all_tasks_blocked()
        return await self.server.spawn(spec, name="test")
