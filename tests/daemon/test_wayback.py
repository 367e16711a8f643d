"""A daemon whose sockets somebody removes makes them anew, unless another one has come in its place."""

import os
import shutil
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from ptybridge.daemon.wayback import LOOK_AGAIN_SECONDS, LOOK_SECONDS, WayBack
from ptybridge.errors import AlreadyRunning
from ptybridge.rpc.listener import SocketLock, prepare_directory

# Two looks and one more.
LONG = LOOK_SECONDS + 2 * LOOK_AGAIN_SECONDS


class Sockets:
    """Plain files in their place; `rebind` makes them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.paths = [directory / "daemon.sock", directory / "keeper.sock"]
        prepare_directory(directory)
        self.lock = SocketLock(self.paths[0])
        self.made = 0
        self.failures = 0
        self._make()

    def _make(self) -> None:
        for path in self.paths:
            path.touch()

    async def rebind(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self._make()
        self.made += 1


@pytest.fixture
def sockets(tmp_path: Path) -> Sockets:
    return Sockets(tmp_path / "p")


@pytest.fixture
def way_back(sockets: Sockets, nursery: trio.Nursery) -> WayBack:
    found = WayBack(sockets.lock, sockets.paths)
    nursery.start_soon(found.run, sockets.rebind, trio.Event())
    return found


async def test_a_directory_that_was_removed_is_made_anew_with_its_lock(
    sockets: Sockets, way_back: WayBack, autojump_clock: MockClock
) -> None:
    await trio.sleep(10 * LOOK_SECONDS)
    assert sockets.made == 0
    shutil.rmtree(sockets.directory)
    await trio.sleep(LONG)
    assert sockets.made == 1
    lock = sockets.directory / "daemon.sock.lock"
    assert os.path.samestat(os.fstat(sockets.lock.fd), lock.stat())
    await trio.sleep(10 * LOOK_SECONDS)
    assert sockets.made == 1


@pytest.mark.parametrize("which", [0, 1])
async def test_one_socket_that_was_removed_is_enough(
    sockets: Sockets, which: int, way_back: WayBack, autojump_clock: MockClock
) -> None:
    sockets.paths[which].unlink()
    await trio.sleep(LONG)
    assert sockets.made == 1


async def test_another_daemon_that_was_faster_is_left_alone(
    sockets: Sockets, way_back: WayBack, autojump_clock: MockClock
) -> None:
    shutil.rmtree(sockets.directory)
    prepare_directory(sockets.directory)
    other = SocketLock(sockets.paths[0])
    await trio.sleep(10 * LONG)
    assert sockets.made == 0
    other.release()
    await trio.sleep(LONG)
    assert sockets.made == 1


async def test_what_fails_is_tried_again(sockets: Sockets, way_back: WayBack, autojump_clock: MockClock) -> None:
    sockets.failures = 3
    shutil.rmtree(sockets.directory)
    await trio.sleep(LOOK_SECONDS + 6 * LOOK_AGAIN_SECONDS)
    assert sockets.made == 1


async def test_what_cannot_be_made_anew_is_left_to_another_daemon(
    sockets: Sockets, way_back: WayBack, autojump_clock: MockClock
) -> None:
    sockets.failures = 1_000_000
    shutil.rmtree(sockets.directory)
    # Between two looks: during one it has the lock.
    await trio.sleep(LONG + LOOK_AGAIN_SECONDS / 2)
    other = SocketLock(sockets.paths[0], patience=0)
    sockets.failures = 0
    await trio.sleep(LONG)
    assert sockets.made == 0
    other.release()
    await trio.sleep(LONG)
    assert sockets.made == 1
    with pytest.raises(AlreadyRunning):
        SocketLock(sockets.paths[0], patience=0)


async def test_a_daemon_that_ends_does_not_look(sockets: Sockets, autojump_clock: MockClock) -> None:
    end = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(WayBack(sockets.lock, sockets.paths).run, sockets.rebind, end)
        shutil.rmtree(sockets.directory)
        await trio.sleep(1)
        end.set()
    assert sockets.made == 0
