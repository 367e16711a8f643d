"""A part of the contract that has calls, streams, channels and waits, over the asynchronous SDK.

Over all of it would take as long as over any other endpoint, and what the SDK adds is the connection.
"""

from collections.abc import AsyncIterator

import pytest
from tests.contract.conftest import Connect
from tests.contract.sdk_endpoint import AsyncSdkClient
from tests.contract.test_exec import *  # noqa: F403
from tests.contract.test_follow import *  # noqa: F403
from tests.contract.test_read import *  # noqa: F403
from tests.contract.test_transfer import *  # noqa: F403

from ptybridge.daemon import Daemon


@pytest.fixture
def kind() -> str:
    return "sdk"


@pytest.fixture
async def connect(daemon: Daemon) -> AsyncIterator[Connect]:
    clients: list[AsyncSdkClient] = []

    async def make() -> AsyncSdkClient:
        clients.append(await AsyncSdkClient.connect(daemon.config.paths.socket))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()
