"""One daemon per test, in process, on a real socket; and clients of every kind in front of it."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest
import trio
from tests.conftest import NeedTool
from tests.contract.endpoints import PATIENCE_SECONDS, Client
from tests.contract.http_endpoint import HttpClient
from tests.contract.local_endpoint import LocalClient
from tests.contract.remote_endpoints import BlockingClient, SocketClient
from tests.web.conftest import OpenGate

from ptybridge import config
from ptybridge.api import node
from ptybridge.daemon import Daemon
from ptybridge.rpc import listener

Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
def settings() -> config.Daemon:
    """The daemon's settings; a module may override it. Stopping is short because the tests' programs are."""
    return config.Daemon(stop_timeout_ms=2000)


@pytest.fixture
def rules() -> tuple[config.PolicyRule, ...]:
    """The rules of the policy; a module may override it."""
    return ()


@pytest.fixture
def confirm() -> Literal["caller", "human"]:
    """Who answers what the rules ask about; a module may override it."""
    return "caller"


@pytest.fixture
def files() -> config.Files:
    """What holds for files; a module may override it."""
    return config.Files()


@pytest.fixture
def socket_path(runtime_dir: Path) -> Path:
    return runtime_dir / "p" / "daemon.sock"


@pytest.fixture
async def daemon(
    settings: config.Daemon,
    rules: tuple[config.PolicyRule, ...],
    confirm: Literal["caller", "human"],
    files: config.Files,
    socket_path: Path,
    runtime_dir: Path,
    tmp_path: Path,
    nursery: trio.Nursery,
) -> AsyncIterator[Daemon]:
    paths = config.Paths(
        socket=str(socket_path),
        state_dir=str(tmp_path / "state"),
        runtime_dir=str(socket_path.parent),
        tmux_dir=str(runtime_dir / "tmux"),
    )
    daemon = Daemon(
        config.Config(
            paths=paths,
            daemon=settings,
            files=files,
            policy=config.Policy(rule=rules, confirm=confirm),
            web=config.Web(port=0),
        )
    )
    listener.prepare_directory(socket_path.parent)
    lock = listener.SocketLock(socket_path)
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
    lock.release()
    gc.unfreeze()  # the daemon freezes what start-up made, which here is every test before this one


# HTTP is one more endpoint where what it does by itself could differ: parameters, positions, waiting, streams.
OVER_HTTP = {
    f"tests.contract.test_{name}"
    for name in (
        "archive",
        "command_run",
        "exec",
        "fetch",
        "file",
        "file_search",
        "follow",
        "lease",
        "list_and_get",
        "polling",
        "read",
        "search",
        "waiting",
        "watch",
        "write",
    )
}
# These open channels, which are WebSockets over HTTP and have tests of their own, or are about a client's connection.
NOT_OVER_HTTP = {
    "test_a_holder_whose_connections_have_ended_is_gone_until_it_is_back",
    "test_a_sessions_life_in_events",
    "test_a_writer_becomes_a_viewer_and_a_writer_again",
    "test_attaching_takes_no_lease",
    "test_streams_and_channels_of_what_is_not_there_are_not_found",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        over_http = metafunc.module.__name__ in OVER_HTTP and metafunc.function.__name__ not in NOT_OVER_HTTP
        kinds = ["local", "socket", "blocking", *(["http"] if over_http else [])]
        # A module may have endpoints of its own.
        metafunc.parametrize("kind", getattr(metafunc.module, "KINDS", kinds), indirect=True)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Which endpoint the clients use."""
    return str(request.param)


@pytest.fixture
async def connect(
    daemon: Daemon, kind: str, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connect]:
    """`await connect()` makes one more client; all go away after the test."""
    clients: list[Client] = []
    if kind == "http":
        monkeypatch.setattr("ptybridge.web.app.Gate", OpenGate)
        await daemon.web.open(LocalClient(daemon).caller)

    async def make() -> Client:
        client: Client
        if kind == "local":
            client = LocalClient(daemon)
        elif kind == "socket":
            client = await SocketClient.connect(daemon.config.paths.socket, nursery)
        elif kind == "http":
            client = HttpClient(daemon.web.addresses[0], f"http{len(clients)}")
        else:
            client = await BlockingClient.connect(daemon.config.paths.socket)
        clients.append(client)
        return client

    yield make
    with trio.CancelScope(shield=True):
        for client in clients:
            await client.aclose()


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, need_tool: NeedTool) -> str:
    """A shell with integration."""
    need_tool(request.param)
    return str(request.param)


@pytest.fixture
async def client(connect: Connect) -> Client:
    return await connect()
