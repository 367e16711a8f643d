"""The example in docs/websocket.md works as it stands there."""

import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import shell
from tests.web.http import PATIENCE_SECONDS
from tests.web.terminals import Front
from tests.web.test_terminal import web_settings

from ptybridge.daemon import Daemon

__all__ = ["web_settings"]

GUIDE = Path(__file__).parents[2] / "docs" / "websocket.md"


@pytest.fixture
async def front(daemon: Daemon, nursery: trio.Nursery) -> AsyncIterator[Front]:
    front = Front(daemon.web.web)
    await nursery.start(front.serve)
    yield front
    front.stopping.set()
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await front.stopped.wait()


async def test_the_example_of_the_guide_works(front: Front, daemon: Daemon) -> None:
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found is not None
    session_id = await shell(LocalClient(daemon))
    url = f"ws://127.0.0.1:{front.port}/v1/sessions/{session_id}/attach?rows=24&cols=80"
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            [sys.executable, "-W", "ignore", "-c", found[1], url], env={**os.environ, "KEY": "k"}, capture_stdout=True
        )
    assert b'"mode":"writer"' in done.stdout
    assert b"hello 42" in done.stdout
