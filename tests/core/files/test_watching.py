"""Watching for confined callers, and what the kernel could not keep."""

import os
from pathlib import Path

from ptybridge.core.files.places import Places, Rules
from ptybridge.core.files.watching import Watch
from ptybridge.model import Caller

USER = Caller(principal="uid:1", connection_id="c1")
AGENT = Caller(principal="uid:1", connection_id="c2", profile="mcp")


def go_on() -> None:
    """Nobody cancels here."""


def watching(root: Path, caller: Caller) -> Watch:
    with Places(Rules([str(root)])).at(caller, str(root)) as place:
        return Watch(place, recursive=True, most=100, check=go_on)


def test_s30_a_confined_caller_is_told_nothing_of_credentials_nor_through_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / ".ssh").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    watch = watching(root, AGENT)
    try:
        (root / ".ssh" / "id").touch()
        (root / ".env").touch()
        (tmp_path / "outside" / "f").touch()
        (root / "d").mkdir()
        (root / "d" / ".aws").mkdir()
        (root / "e").touch()
        assert [one.path for one in watch.take() if one.what == "created"] == [str(root / "d"), str(root / "e")]
    finally:
        watch.close()


def test_what_the_kernel_could_not_keep_is_a_gap(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    watch = watching(tmp_path, USER)
    try:
        # Alternating, because the kernel makes one of equal neighbours.
        for _ in range(most // 2 + 10):
            os.utime(tmp_path / "a")
            os.utime(tmp_path / "b")
        changes = []
        while taken := watch.take():
            changes += taken
        assert changes[-1].what == "gap"
        (tmp_path / "c").touch()
        assert watch.take()[0].what == "created"
    finally:
        watch.close()
