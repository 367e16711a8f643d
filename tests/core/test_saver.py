"""When snapshots of the screen are written down, and how much of it."""

import base64
from collections.abc import Callable
from typing import Any

import trio
from tests.core.fake_sessions import FakeWorld
from trio.testing import MockClock

from ptybridge.core.memory import SCREEN
from ptybridge.testing.fake_child import FakeChild

# A quarter of the fakes' ring is printed between two snapshots; this is a little less, parsed without a thread.
BLOCK = b"".join(b"line %06d\r\n" % number for number in range(1000))


class Notes:
    """A notebook that remembers how large each snapshot was."""

    keeps_screens = True

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.snapshots: list[int] = []

    def write(self, key: str, value: Any) -> None:
        if key == SCREEN:
            self.snapshots.append(len(base64.b64decode(value["snapshot"])))

    async def settle(self) -> None:
        await trio.lowlevel.checkpoint()


class NotedChild(FakeChild):
    def __init__(self) -> None:
        super().__init__()
        self.notes = self.notebook = Notes()


async def test_r15_a_daemon_that_ends_by_a_defect_tells_no_exit_of_what_is_kept() -> None:
    kept, own = FakeWorld(child=NotedChild), FakeWorld()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for world in (kept, own):
                await nursery.start(world.sessions.run)
                await world.create()
            # As an exception anywhere in the daemon's nurseries does.
            nursery.cancel_scope.cancel()
    assert kept.types() == ["Created"]
    assert kept.sessions.all()[0].exited_at_ms is None
    # Without a keeper the program ends with the daemon.
    assert own.types() == ["Created", "Exited"]
    assert own.sessions.all()[0].exit_reason == "lost"


async def test_a_flood_that_is_parsed_as_fast_as_it_comes_is_saved_without_scrollback(
    autojump_clock: MockClock,
) -> None:
    world = FakeWorld(child=NotedChild)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.sessions.run)
        session, child = await world.create()
        assert isinstance(child, NotedChild)
        snapshots = child.notes.snapshots
        for _ in range(40):
            child.print(BLOCK)
            # Time enough for the screen to catch up: nothing is left to parse when the snapshot is taken.
            await trio.sleep(0.02)
            assert session.follower.screen.offset == session.log.end
        flooded = list(snapshots)
        assert len(flooded) > 10
        # The first one is not known to be of a flood.
        assert all(size < 1000 for size in flooded[1:])
        # Once it is over, scrollback is added.
        await trio.sleep(10)
        assert len(snapshots) == len(flooded) + 1
        assert snapshots[-1] > 10_000
        nursery.cancel_scope.cancel()
