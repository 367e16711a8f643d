"""What `doctor` says of the disks that are written to."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ptybridge.cli import doctor_disk
from ptybridge.cli.doctor_checks import Finding, examine
from ptybridge.config import load

GIB = 1 << 30


class Disk:
    """What statvfs(3) says of every disk, as the test has it."""

    def __init__(self) -> None:
        self.of_root = self.of_others = 10 * GIB
        self.size = 20 * GIB
        self.files, self.files_left = 1000, 500
        self.flags = 0
        self.error = 0

    def statvfs(self, path: str) -> Any:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return SimpleNamespace(
            f_frsize=4096, f_blocks=self.size // 4096, f_bfree=self.of_root // 4096, f_bavail=self.of_others // 4096,
            f_files=self.files, f_ffree=self.files_left, f_favail=self.files_left, f_flag=self.flags,
        )  # fmt: skip


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


def only(path: Path) -> Finding:
    (finding,) = doctor_disk.look([("state", str(path))])
    return finding


def test_a_real_disk_with_room(tmp_path: Path) -> None:
    finding = only(tmp_path)
    assert finding.check == "disk"
    assert finding.message.endswith(f" for state ({tmp_path})")


def test_a_full_one_says_how_much_is_left_and_what_to_do(disk: Disk, tmp_path: Path) -> None:
    disk.of_root = disk.of_others = 12 << 10
    finding = only(tmp_path)
    assert (finding.level, finding.message) == ("warn", f"12.0 KiB of 20.0 GiB left for state ({tmp_path})")
    assert f"make room (`df -h {tmp_path}`)" in finding.advice
    disk.of_root = disk.of_others = doctor_disk.LITTLE_BYTES
    assert (only(tmp_path).level, only(tmp_path).advice) == ("ok", "")


@pytest.mark.parametrize(("user", "level"), [(0, "ok"), (1000, "warn")])
def test_what_is_kept_for_root_is_roots(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, level: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    disk.of_others = 0
    assert only(tmp_path).level == level


def test_a_small_one_need_not_have_more_than_it_can(disk: Disk, tmp_path: Path) -> None:
    disk.size, disk.of_root, disk.of_others = 8 << 20, 7 << 20, 7 << 20
    assert only(tmp_path).level == "ok"


def test_no_files_left_and_no_limit_on_files(disk: Disk, tmp_path: Path) -> None:
    disk.files_left = 0
    assert (only(tmp_path).level, "df -i" in only(tmp_path).advice) == ("warn", True)
    disk.files = 0
    assert only(tmp_path).level == "ok"


def test_one_that_is_read_only_or_does_not_tell(disk: Disk, tmp_path: Path) -> None:
    disk.flags = os.ST_RDONLY
    assert (only(tmp_path).level, "read-only" in only(tmp_path).message) == ("warn", True)
    disk.error = errno.EIO
    assert "nobody knows" in only(tmp_path).message


def test_a_disk_is_told_once_with_what_lies_on_it_or_will(disk: Disk, tmp_path: Path) -> None:
    made, not_yet = tmp_path / "made", tmp_path / "not" / "yet"
    made.mkdir()
    (finding,) = doctor_disk.look([("state", str(made)), ("logs", str(not_yet))])
    assert finding.message == f"10.0 GiB left for state, logs ({made})"
    assert only(not_yet).message == f"10.0 GiB left for state ({tmp_path})"
    assert not not_yet.parent.exists()


def test_doctor_looks_at_all_that_is_written_to(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"], "ptybridge", "config.toml")
    config.parent.mkdir(parents=True)
    config.write_text(f'[session]\nlog_dir = "{tmp_path}/logs"\n')
    disk.of_root = disk.of_others = 0
    found = [one for one in examine(load(os.environ)) if one.check == "disk"]
    assert {one.level for one in found} == {"warn"}
    told = [one.message.partition(" left for ")[2].partition(" (")[0] for one in found]
    assert sorted(", ".join(told).split(", ")) == ["log", "logs of sessions", "sockets", "state"]
