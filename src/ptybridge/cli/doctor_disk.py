"""What `doctor` finds of the disks that daemon and sessions write to: how much room is left."""

import os
from collections.abc import Iterable, Iterator
from typing import Final

from ptybridge.cli import output
from ptybridge.cli.doctor_checks import Finding

# A log and the one before it, at their usual size, and what else is written meanwhile.
LITTLE_BYTES: Final = 32 << 20
_FULL: Final = (
    "make room (`df -h {path}`): on a full disk sessions go on, but logs are cut short, and neither keys nor files "
    "can be stored"
)
_NO_FILES: Final = "remove files (`df -i {path}`): neither a log nor a socket can be made now"
_READ_ONLY: Final = "`dmesg` may tell why; or choose another place for it in the configuration"


def look(places: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Say how much room there is for what `places` name, each with its directory; one disk is told once."""
    disks: dict[int, tuple[str, list[str]]] = {}
    for what, path in places:
        # What does not exist yet will be made where its nearest parent is.
        while not os.path.exists(path) and path != os.path.dirname(path):
            path = os.path.dirname(path)
        try:
            disks.setdefault(os.stat(path).st_dev, (path, []))[1].append(what)
        except OSError:
            continue  # other checks tell of it
    for path, names in disks.values():
        try:
            yield _of(path, ", ".join(names))
        except OSError as exc:
            yield Finding("disk", "warn", f"nobody knows how much room is at {path}: {exc.strerror}")


def _of(path: str, what: str) -> Finding:
    disk = os.statvfs(path)
    place = f"for {what} ({path})"
    # Some of it is kept for root alone: statvfs(3).
    blocks, files = (disk.f_bfree, disk.f_ffree) if os.geteuid() == 0 else (disk.f_bavail, disk.f_favail)
    free, size = blocks * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if disk.f_flag & os.ST_RDONLY:
        return Finding("disk", "warn", f"the disk {place} is read-only", _READ_ONLY)
    # Disks that have no limit on files say that there are none in all.
    if disk.f_files and not files:
        return Finding("disk", "warn", f"no file can be made any more {place}", _NO_FILES.format(path=path))
    # A small one, such as one in memory for sockets alone, is never so empty.
    if size and free < min(LITTLE_BYTES, size // 2):
        return Finding(
            "disk", "warn", f"{output.size(free)} of {output.size(size)} left {place}", _FULL.format(path=path)
        )
    return Finding("disk", "ok", f"{output.size(free)} left {place}")
