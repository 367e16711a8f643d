"""`file.watch` over every endpoint: what happens is told once and in order, and what was missed is told as a gap."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.contract.endpoints import Client, Stream, StreamEnded

from ptybridge.api import watch
from ptybridge.errors import FileNotFound, FileTooLarge


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


async def until(stream: Stream, path: Path, change: str) -> list[Any]:
    """Return the events up to this one."""
    events = []
    while True:
        events.append(await stream.next())
        if (events[-1].path, events[-1].change) == (str(path), change):
            return events


def told(events: list[Any]) -> list[tuple[str, str]]:
    return [(one.change, os.path.basename(one.path)) for one in events]


async def test_changes_are_told_in_order_and_numbered(client: Client, place: Path) -> None:
    (place / "old").write_text("1")
    async with client.stream(watch.WATCH, path=str(place)) as stream:
        assert (stream.opened.path, stream.opened.number) == (str(place), 0)
        (place / "new").write_text("1")
        events = await until(stream, place / "new", "modified")
        (place / "old").rename(place / "moved")
        events += await until(stream, place / "moved", "moved")
        assert events[-1].old_path == str(place / "old")
        (place / "moved").rename(place.parent / "elsewhere")
        events += await until(stream, place / "moved", "deleted")
        (place.parent / "elsewhere").rename(place / "back")
        events += await until(stream, place / "back", "created")
        (place / "back").unlink()
        events += await until(stream, place / "back", "deleted")
    assert [one.number for one in events] == list(range(1, len(events) + 1))
    order = [("created", "new"), ("modified", "new"), ("moved", "moved"), ("deleted", "moved"), ("created", "back"),
             ("deleted", "back")]  # fmt: skip
    assert told(events) == order


async def test_new_directories_are_watched_with_what_is_in_them(client: Client, place: Path) -> None:
    (place / "a" / "b").mkdir(parents=True)
    (place.parent / "tree" / "x").mkdir(parents=True)
    (place.parent / "tree" / "x" / "f").write_text("1")
    async with client.stream(watch.WATCH, path=str(place), recursive=True) as stream:
        (place / "a" / "b" / "f").touch()
        await until(stream, place / "a" / "b" / "f", "created")
        (place.parent / "tree").rename(place / "tree")
        events = await until(stream, place / "tree" / "x" / "f", "created")
        assert [one for one in told(events) if one[0] == "created"] == [("created", one) for one in ("tree", "x", "f")]
        (place / "tree").rename(place / "a" / "tree")
        await until(stream, place / "a" / "tree", "moved")
        (place / "a" / "tree" / "x" / "f").unlink()
        await until(stream, place / "a" / "tree" / "x" / "f", "deleted")
        for number in range(20):
            (place / "deep" / str(number)).mkdir(parents=True)
            (place / "deep" / str(number) / "f").touch()
        seen: list[str] = []
        while len(seen) < 41:
            event = await stream.next()
            if event.change == "created":
                seen.append(event.path)
        assert len(set(seen)) == 41


async def test_a_file_is_watched_by_its_name(client: Client, place: Path) -> None:
    (place / "f").write_text("1")
    async with client.stream(watch.WATCH, path=str(place / "f")) as stream:
        (place / "other").write_text("1")
        (place / "g").write_text("2")
        (place / "g").rename(place / "f")
        assert (await stream.next()).path == str(place / "f")
        (place / "f").unlink()
        await until(stream, place / "f", "deleted")


async def test_the_end_and_gaps(client: Client, place: Path) -> None:
    (place / "d").mkdir()
    async with client.stream(watch.WATCH, path=str(place / "d"), after=7) as stream:
        gap = await stream.next()
        assert (gap.number, gap.__struct_config__.tag) == (8, "gap")
        (place / "d").rmdir()
        with pytest.raises(StreamEnded, match="gone"):
            await stream.next()
    with pytest.raises(FileNotFound):
        async with client.stream(watch.WATCH, path=str(place / "d")):
            pass
    for number in range(5):
        (place / str(number)).mkdir()
    with pytest.raises(FileTooLarge, match="3 directories"):
        async with client.stream(watch.WATCH, path=str(place), recursive=True, max_directories=3):
            pass
