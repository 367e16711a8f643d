"""What was begun and not completed: deleted when it is old, and never anything else."""

import contextlib
import fcntl
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from ptybridge.core.files import copying
from ptybridge.core.files.leftovers import INTERVAL_SECONDS, Leftovers
from ptybridge.core.files.places import Place
from ptybridge.core.files.writing import TEMPORARY, temporary_name

WEEK = 7 * 86400.0


def part(place: Path, name: str, *, old: bool) -> Path:
    path = place / temporary_name(name, "0123456789abcdef")
    path.write_text("part")
    if old:
        os.utime(path, (1, 1))
    return path


@pytest.fixture
def leftovers(tmp_path: Path) -> Leftovers:
    return Leftovers(tmp_path / "list", WEEK)


def test_old_parts_go_and_young_ones_stay(tmp_path: Path, leftovers: Leftovers) -> None:
    old, young, gone = (part(tmp_path, one, old=one == "old\nü") for one in ("old\nü", "young", "gone"))
    for one in (old, young, gone):
        leftovers.note(str(one))
    gone.unlink()
    leftovers.clean()
    assert not old.exists()
    assert young.exists()
    assert len((tmp_path / "list").read_text().splitlines()) == 1
    os.utime(young, (1, 1))
    Leftovers(tmp_path / "list", WEEK).clean()
    assert not young.exists()


def test_what_a_connection_holds_stays(tmp_path: Path, leftovers: Leftovers) -> None:
    held = part(tmp_path, "f", old=True)
    leftovers.note(str(held))
    with held.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        leftovers.clean()
        assert held.exists()
    leftovers.clean()
    assert not held.exists()


def test_nothing_else_is_ever_deleted(tmp_path: Path, leftovers: Leftovers) -> None:
    mine = tmp_path / "precious"
    mine.write_text("mine")
    os.utime(mine, (1, 1))
    link = tmp_path / temporary_name("a", "0123456789abcdef")
    link.symlink_to(mine)
    several = tmp_path / temporary_name("b", "0123456789abcdef")
    os.link(mine, several)
    directory = tmp_path / temporary_name("c", "0123456789abcdef")
    directory.mkdir()
    for one in (mine, link, several, directory):
        leftovers.note(str(one))
    with (tmp_path / "list").open("a") as torn:
        torn.write('"/torn')
    leftovers.clean()
    assert mine.read_text() == "mine"
    assert link.is_symlink()
    assert several.exists()
    assert directory.is_dir()


def test_a_tree_that_was_begun_goes_whole_and_a_held_one_stays(tmp_path: Path, leftovers: Leftovers) -> None:
    tree = tmp_path / temporary_name("tree", "0123456789ab")
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_text("half")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tree / "link").symlink_to(outside)
    os.utime(tree, (1, 1))
    leftovers.note(str(tree))
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        leftovers.clean()
        assert (tree / "below" / "file").exists()
    finally:
        os.close(fd)
    leftovers.clean()
    assert not tree.exists()
    assert outside.read_text() == "mine"
    assert (tmp_path / "list").read_text() == ""


def test_where_copies_are_made_is_noted_before_they_begin(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "file").write_text("text")
    noted: list[str] = []
    with contextlib.closing(_Directory(tmp_path)) as here:
        for name in ("tree", "file"):
            source, target = here.entry(name), here.entry(f"copy of {name}")
            copying.copy(source, target, overwrite=False, recursive=True, check=lambda: None, note=noted.append)
    assert [one.rpartition(TEMPORARY)[0] for one in noted] == [f"{tmp_path}/.copy of tree", f"{tmp_path}/.copy of file"]
    assert all((tmp_path / name).exists() for name in ("copy of file", "copy of tree"))
    assert not any(TEMPORARY in name for name in os.listdir(tmp_path))


class _Directory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def entry(self, name: str) -> Place:
        return Place(self.fd, name, str(self.path / name), None)

    def close(self) -> None:
        os.close(self.fd)


@pytest.mark.parametrize(("keep", "second"), [(60.0, 60.0), (WEEK, INTERVAL_SECONDS)])
async def test_what_was_too_young_at_the_beginning_is_looked_at_when_it_is_old_enough(
    tmp_path: Path, autojump_clock: MockClock, keep: float, second: float
) -> None:
    """A killed daemon's half-made copy must not fill the disk for an hour because the next daemon came at once."""
    looked: list[float] = []

    class Watched(Leftovers):
        def clean(self) -> None:
            looked.append(autojump_clock.current_time())
            if len(looked) == 3:
                trio.from_thread.run_sync(scope.cancel)

    with trio.CancelScope() as scope:
        await Watched(tmp_path / "list", keep).run()
    assert [round(at - looked[0]) for at in looked] == [0, second, second + INTERVAL_SECONDS]
