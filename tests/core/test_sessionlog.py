"""A session's log has all of its output and none of its secrets, on disks that are full, slow, or taken over."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from ptybridge.core import logfiles
from ptybridge.core.logfiles import DirectoryLock, RotatingFile, make_directory
from ptybridge.core.memory import SavedLog
from ptybridge.core.redaction import Secrets
from ptybridge.core.sessionlog import QUEUED_EVENTS, LogLimits, SessionLog
from ptybridge.core.transcript import Transcript
from ptybridge.keeper.ring import Ring

PATIENCE_SECONDS = 60.0
RING_BYTES = 1 << 16


class World:
    """A transcript and its log in a directory; daemons may come and go."""

    def __init__(self, base: Path, limits: LogLimits | None = None) -> None:
        self.directory = Path(make_directory(str(base), "s1"))
        self.transcript = Transcript(Ring.anonymous(RING_BYTES))
        self.saved = SavedLog(directory=str(self.directory))
        self.secrets = Secrets()
        self.limits = limits or LogLimits(1 << 20, 3)
        self.notes = 0

    def open(self) -> SessionLog:
        log = SessionLog(
            "s1", self.transcript, self.saved, limits=self.limits, secrets=self.secrets, threads=trio.CapacityLimiter(2)
        )

        def note(saved: SavedLog) -> None:
            self.saved = saved
            self.notes += 1

        log.on_saved = note
        return log

    def text(self) -> str:
        return (self.directory / "transcript.log").read_bytes().decode()

    def events(self) -> list[dict[str, Any]]:
        path = self.directory / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                if condition():
                    return
                await trio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    await trio.lowlevel.checkpoint()
    return World(tmp_path / "logs")


async def finish(world: World, log: SessionLog) -> None:
    world.transcript.close()
    with trio.fail_after(PATIENCE_SECONDS):
        await log.catch_up(leaving=False)
        log.end()
        await log.wait_ended()


async def test_characters_and_secrets_cut_by_reads_arrive_whole_or_not_at_all(
    world: World, nursery: trio.Nursery
) -> None:
    log = world.open()
    nursery.start_soon(log.run)
    assert world.secrets.add("s1", b"hunter2")
    for piece in (b"caf\xc3", b"\xa9 \xff hun", b"ter2\r\n", "€".encode()[:2], "€".encode()[2:]):
        world.transcript.append(piece)
        await world.until(lambda: log.floor() == world.transcript.end)
    await finish(world, log)
    assert world.text() == "café \ufffd [redacted]\r\n€"


async def test_permissions_whatever_the_umask(tmp_path: Path, nursery: trio.Nursery) -> None:
    old = os.umask(0)
    try:
        world = World(tmp_path / "new" / "logs")
        log = world.open()
        nursery.start_soon(log.run)
        world.transcript.append(b"x")
        log.note("write", bytes=1)
        await finish(world, log)
    finally:
        os.umask(old)
    assert world.directory.parent.stat().st_mode & 0o777 == 0o700
    assert world.directory.stat().st_mode & 0o777 == 0o700
    for name in ("transcript.log", "events.jsonl"):
        assert (world.directory / name).stat().st_mode & 0o777 == 0o600


async def test_it_is_rotated(tmp_path: Path, nursery: trio.Nursery) -> None:
    world = World(tmp_path, LogLimits(max_bytes=100_000, files=3))
    log = world.open()
    nursery.start_soon(log.run)
    line = b"0123456789" * 100
    for _ in range(500):
        world.transcript.append(line)
        await world.until(lambda: world.transcript.end - (log.floor() or 0) < RING_BYTES // 2)
    await finish(world, log)
    names = sorted(path.name for path in world.directory.iterdir() if path.name.startswith("transcript"))
    assert names == ["transcript.log", "transcript.log.1", "transcript.log.2"]
    sizes = [(world.directory / name).stat().st_size for name in names]
    assert all(0 < size <= 100_000 for size in sizes)
    assert set(world.text()) == set("0123456789")


async def test_another_daemon_goes_on_without_doubling(world: World) -> None:
    async with trio.open_nursery() as nursery:
        first = world.open()
        nursery.start_soon(first.run)
        world.secrets.add("s1", b"hunter2")
        world.transcript.append(b"one\r\ntwo hunt")
        await world.until(lambda: world.saved.offset == 9)
        with (world.directory / "transcript.log").open("ab") as file:
            file.write(b"written, but the daemon died before it could note that")
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        second = world.open()
        nursery.start_soon(second.run)
        world.transcript.append(b"er2\r\nthree\r\n")
        await finish(world, second)
    assert world.text() == "one\r\ntwo [redacted]\r\nthree\r\n"


async def test_two_daemons_do_not_write_at_the_same_time(world: World, nursery: trio.Nursery) -> None:
    held = DirectoryLock(str(world.directory))
    assert held.acquire(0)
    assert not DirectoryLock(str(world.directory)).acquire(0)
    log = world.open()
    nursery.start_soon(log.run)
    world.transcript.append(b"x")
    held.release()
    await finish(world, log)
    assert world.text() == "x"


async def test_a_full_disk_is_told_and_stops_nobody(
    world: World, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = threading.Event()
    full.set()
    write = RotatingFile.write

    def fail(file: RotatingFile, data: bytes) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        write(file, data)

    monkeypatch.setattr(RotatingFile, "write", fail)
    log = world.open()
    nursery.start_soon(log.run)
    world.transcript.append(b"lost")
    # Nobody waits for it; nor for a disk that is slow, which is told later.
    await world.until(lambda: log.floor() is None and "No space left on device" in caplog.text)
    full.clear()
    world.transcript.append(b"kept")
    await finish(world, log)
    assert world.text() == "kept"
    dropped = [one for one in world.events() if one["event"] == "dropped"]
    assert dropped[0]["bytes"] == 4
    assert "lacks 4 bytes" in caplog.text


async def test_what_was_overwritten_meanwhile_is_counted(world: World, nursery: trio.Nursery) -> None:
    for _ in range(3):
        world.transcript.append(b"x" * RING_BYTES)
    log = world.open()
    nursery.start_soon(log.run)
    await finish(world, log)
    assert [one["bytes"] for one in world.events() if one["event"] == "dropped"] == [2 * RING_BYTES]
    assert len(world.text()) == RING_BYTES


async def test_events_are_bounded_and_keystrokes_gathered(world: World, nursery: trio.Nursery) -> None:
    log = world.open()
    for _ in range(10):
        log.wrote(1)
    for _ in range(QUEUED_EVENTS + 5):
        log.note("signal", signal="INT")
    nursery.start_soon(log.run)
    await finish(world, log)
    events = world.events()
    assert next(one for one in events if one["event"] == "write")["bytes"] == 10
    assert len([one for one in events if one["event"] == "signal"]) == QUEUED_EVENTS - 1
    assert log.ending


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    directory = make_directory(str(tmp_path), "s1")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "s1" / "transcript.log").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        RotatingFile(directory, "transcript.log", 1000, 2).open()
    with pytest.raises(FileExistsError):
        logfiles.make_directory(str(tmp_path), "s1")
    assert victim.read_text() == "mine"
