"""A part of the contract that has calls, streams, channels and waits, over the asynchronous SDK, by Trio and asyncio.

Over all of it would take as long as over any other endpoint, and what the SDK adds is the connection.
"""

from collections.abc import AsyncIterator

import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.sdk_endpoint import AsyncSdkClient, Loop, run_here
from tests.contract.test_exec import *  # noqa: F403
from tests.contract.test_follow import *  # noqa: F403
from tests.contract.test_read import *  # noqa: F403
from tests.contract.test_transfer import *  # noqa: F403

from ptybridge.daemon import Daemon

KINDS = ["trio", "asyncio"]


@pytest.fixture
async def connect(daemon: Daemon, kind: str) -> AsyncIterator[Connect]:
    clients: list[AsyncSdkClient] = []
    loop = Loop() if kind == "asyncio" else None

    async def make() -> AsyncSdkClient:
        clients.append(await AsyncSdkClient.connect(daemon.config.paths.socket, loop.run if loop else run_here))
        return clients[-1]

    yield make
    with trio.CancelScope(shield=True):
        for client in clients:
            await client.aclose()
        if loop is not None:
            await trio.to_thread.run_sync(loop.close)
