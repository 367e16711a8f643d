"""A keeper and daemons for the tests of this directory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.keeper.harness import Daemon, KeeperProcess


@pytest.fixture
def run_dir(runtime_dir: Path) -> Path:
    directory = runtime_dir / "run"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def start_keeper(run_dir: Path) -> Iterator[Callable[..., KeeperProcess]]:
    started: list[KeeperProcess] = []

    def start(**kwargs: object) -> KeeperProcess:
        started.append(KeeperProcess(run_dir, **kwargs))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for keeper in started:
        keeper.stop()


@pytest.fixture
def keeper(start_keeper: Callable[..., KeeperProcess]) -> KeeperProcess:
    return start_keeper()


@pytest.fixture
def connect_daemon() -> Iterator[Callable[..., Daemon]]:
    connected: list[Daemon] = []

    def connect(keeper: KeeperProcess, epoch: int | None = None) -> Daemon:
        connected.append(Daemon(keeper.path, epoch))
        return connected[-1]

    yield connect
    for daemon in connected:
        daemon.close()


@pytest.fixture
def daemon(keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]) -> Daemon:
    return connect_daemon(keeper)
