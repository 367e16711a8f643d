"""A daemon in process with its web front open, and connections to it."""

import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.web.http import PATIENCE_SECONDS, Http, connected

from ptybridge import config
from ptybridge.api import node
from ptybridge.daemon import Daemon
from ptybridge.model import Caller
from ptybridge.rpc import listener
from ptybridge.web.context import Asgi, Receive, Scope, Send, Web
from ptybridge.web.takeover import ServerConfig


class OpenGate:
    """Lets everybody in as this user: for tests of what is behind the gate."""

    def __init__(self, web: Web, inner: Asgi) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            name = dict(scope["headers"]).get(b"x-connection", b"http").decode()
            scope["state"]["caller"] = Caller(principal=f"uid:{os.geteuid()}", connection_id=name)
        await self._inner(scope, receive, send)


Connect = Callable[..., Awaitable[Http]]


@pytest.fixture
def web_settings() -> config.Web:
    """The front's settings; a module or a test may override it."""
    return config.Web(enabled=True, port=0)


@pytest.fixture
def gate() -> Any:
    """What stands before everything else; None for what really does."""
    return None


@pytest.fixture
def idle_seconds() -> float:
    """How long the front keeps a connection on which nothing is said; longer than any test is busy with others."""
    return 600.0


@pytest.fixture
async def daemon(
    gate: Any,
    idle_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
    web_settings: config.Web,
    runtime_dir: Path,
    tmp_path: Path,
    nursery: trio.Nursery,
) -> AsyncIterator[Daemon]:
    if gate is not None:
        monkeypatch.setattr("ptybridge.web.app.Gate", gate)
    monkeypatch.setattr(ServerConfig, "keep_alive_timeout", idle_seconds)
    monkeypatch.setattr(ServerConfig, "between_timeout", idle_seconds)
    socket_path = runtime_dir / "p" / "daemon.sock"
    paths = config.Paths(
        socket=str(socket_path),
        state_dir=str(tmp_path / "state"),
        runtime_dir=str(socket_path.parent),
        tmux_dir=str(runtime_dir / "tmux"),
    )
    daemon = Daemon(config.Config(paths=paths, daemon=config.Daemon(stop_timeout_ms=2000), web=web_settings))
    listener.prepare_directory(socket_path.parent)
    sock = listener.bind(socket_path)
    sock.setblocking(False)
    ready, stopped = trio.Event(), trio.Event()

    async def announce() -> None:  # noqa: ASYNC124 - the daemon awaits it
        ready.set()

    async def run() -> None:
        await daemon.run(sock, announce)
        stopped.set()

    nursery.start_soon(run)
    with trio.fail_after(PATIENCE_SECONDS):
        await ready.wait()
    yield daemon
    daemon.node.shutdown(LocalClient(daemon).caller, node.Shutdown())
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await stopped.wait()
    gc.unfreeze()  # the daemon freezes what start-up made, which here is every test before this one


@pytest.fixture
async def connect(daemon: Daemon) -> AsyncIterator[Connect]:
    """`await connect()` makes one more connection; all go away after the test."""
    async with AsyncExitStack() as stack:

        async def make(address: str | None = None) -> Http:
            return await stack.enter_async_context(connected(address or daemon.web.addresses[0]))

        yield make


@pytest.fixture
async def http(connect: Connect) -> Http:
    return await connect()
