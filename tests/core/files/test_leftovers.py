"""Parts of uploads: deleted when they are old, and never anything else."""

import fcntl
import os
from pathlib import Path

import pytest

from ptybridge.core.files.leftovers import Leftovers
from ptybridge.core.files.writing import temporary_name

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
