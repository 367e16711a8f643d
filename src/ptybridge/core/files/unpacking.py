"""Extracting archives: all or nothing, into a directory that appears when it is complete.

How it works: everything goes into a temporary directory beside the target that only we know, through descriptors that
follow no link, so a link of the archive leads nowhere while it is unpacked. Links must stay inside afterwards as well:
their targets are relative, and `..` stands only at their beginning and no more often than the link lies deep. As all
directories on the way are real ones, going up from them is harmless, and going down may only pass links of which the
same is true.
"""

import ctypes
import os
import stat
from typing import Final

import msgspec

from ptybridge.core.files import trees
from ptybridge.core.files.compression import by_content
from ptybridge.core.files.copying import check_replaced, discard, rename
from ptybridge.core.files.facts import Checked
from ptybridge.core.files.failures import failing
from ptybridge.core.files.members import Member, members
from ptybridge.core.files.openat import open_beneath
from ptybridge.core.files.places import Place
from ptybridge.core.files.writing import Note, hold, sync_directory, temporary_place, umask
from ptybridge.errors import FileTooLarge, PtybridgeError, UnsafeArchive

# Below this the ratio does not matter: a page of zeros is no bomb.
_HARMLESS_BYTES: Final = 64 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class Limits(msgspec.Struct, frozen=True):
    """What an archive may hold at most; `ratio` is of what it holds to its own size."""

    total_bytes: int
    entries: int
    ratio: int


class Work(msgspec.Struct):
    """How far it is, to be looked at from another thread."""

    entries: int = 0
    done_bytes: int = 0
    name: str = ""


def extract(
    source: Place,
    target: Place,
    *,
    overwrite: bool,
    limits: Limits,
    work: Work,
    check: Checked,
    note: Note | None = None,
) -> Work:
    """Extract an archive to exactly `target`, a directory that is not there or (`overwrite`) empty."""
    trees.refuse_root(target)
    fd = source.open_file()
    try:
        with failing(source.path):
            kind = by_content(fd, source.path)
            archive = os.fstat(fd)
        temporary = temporary_place(target, note)
        with failing(target.path):
            os.mkdir(temporary.name, 0o700, dir_fd=temporary.dir_fd)
        try:
            into = temporary.open_directory()
            try:
                hold(into)
                check_replaced(target, os.fstat(into), overwrite)
                unpacking = _Unpacking(source.path, target, into, _Meter(archive.st_size, limits, work, check))
                for member in members(fd, source.path, kind, unpacking.meter.passed):
                    unpacking.add(member)
                unpacking.finish()
            finally:
                os.close(into)
            with failing(target.path):
                rename(temporary, target, overwrite)
                sync_directory(target)
        except BaseException:
            discard(temporary)
            raise
    finally:
        os.close(fd)
    return work


class _Meter:
    """Counts, and stops what grows out of bounds."""

    def __init__(self, archive_bytes: int, limits: Limits, work: Work, check: Checked) -> None:
        self.work = work
        self._limits = limits
        self._check = check
        self._passed = 0
        self._by_ratio = max(_HARMLESS_BYTES, archive_bytes * limits.ratio)

    def entry(self, name: str) -> None:
        """Count a member."""
        self._check()
        self.work.name = name
        self.work.entries += 1
        if self.work.entries > self._limits.entries:
            raise FileTooLarge(f"the archive holds more than {self._limits.entries} members", hint="give `max_entries`")

    def wrote(self, count: int) -> None:
        """Count what is written."""
        self.work.done_bytes += count
        self._bound(self.work.done_bytes)
        self._check()

    def passed(self, count: int) -> None:
        """Count what was decompressed, which also holds headers and what is skipped."""
        self._passed += count
        # A header and padding come with each member.
        self._bound(self._passed - 2048 * self.work.entries)
        self._check()

    def _bound(self, count: int) -> None:
        if count > self._limits.total_bytes:
            raise FileTooLarge(f"the archive holds more than {self._limits.total_bytes} bytes", hint="give `max_bytes`")
        if count > self._by_ratio:
            raise FileTooLarge(
                f"the archive holds more than {self._limits.ratio} times its own size, like those made to fill disks",
                hint="give `max_ratio` if it is to be trusted",
            )


class _Unpacking:
    """Puts members below a directory."""

    def __init__(self, archive: str, target: Place, into: int, meter: _Meter) -> None:
        self.meter = meter
        self._archive = archive
        self._target = target
        self._into = into
        self._umask = umask()
        # Permissions and times come last: a directory that may not be written is filled first.
        self._directories: list[tuple[str, int, float]] = []

    def add(self, member: Member) -> None:
        """Put one member where it belongs. Raises `UnsafeArchive`."""
        parts = self._parts(member.name)
        self.meter.entry("/".join(parts))
        if not parts:
            if member.kind != "directory":
                raise self._unsafe(member, "has no name")
            return
        path = "/".join(parts)
        if self._target.rules is not None:
            self._target.rules.check(os.path.join(self._target.path, path))
        with failing(os.path.join(self._target.path, path)):
            parent = self._parent(member, parts[:-1])
            try:
                self._make(member, parent, parts)
            except FileExistsError as exc:
                raise self._unsafe(member, "comes twice") from exc
            finally:
                os.close(parent)

    def finish(self) -> None:
        """Give directories their permissions and times, and bring everything to the disk."""
        with failing(self._target.path):
            for path, mode, modified in reversed(self._directories):
                fd = open_beneath(self._into, path)
                try:
                    os.chmod(f"/proc/self/fd/{fd}", mode)
                    os.utime(f"/proc/self/fd/{fd}", (modified, modified))
                finally:
                    os.close(fd)
            os.fchmod(self._into, 0o777 & ~self._umask)
            # One sync of the file system costs less than one for each of thousands of small files: syncfs(2).
            if _libc.syncfs(ctypes.c_int(self._into)) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def _make(self, member: Member, parent: int, parts: list[str]) -> None:
        name = parts[-1]
        match member.kind:
            case "directory":
                try:
                    os.mkdir(name, 0o700, dir_fd=parent)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                        raise
                mode = 0o777 if member.mode is None else member.mode & 0o777
                self._directories.append(("/".join(parts), mode & ~self._umask, member.modified))
            case "symlink":
                self._check_link(member, len(parts) - 1)
                os.symlink(member.target, name, dir_fd=parent)
            case "hardlink":
                self._link(member, parent, name)
            case "file":
                self._file(member, parent, name)

    def _file(self, member: Member, parent: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            at = 0
            for data in member.pieces():
                self.meter.wrote(len(data))
                # What is only zeros stays a hole.
                if data.count(0) != len(data):
                    view = memoryview(data)
                    begin = at
                    while view:
                        count = os.pwrite(fd, view, begin)
                        view, begin = view[count:], begin + count
                at += len(data)
            os.ftruncate(fd, at)
            # Never set-user-ID and the like, and what the user's own mask takes away.
            os.fchmod(fd, (0o666 if member.mode is None else member.mode & 0o777) & ~self._umask)
            os.utime(fd, (member.modified, member.modified))
        finally:
            os.close(fd)

    def _link(self, member: Member, parent: int, name: str) -> None:
        to = self._parts(member.target)
        if not to:
            raise self._unsafe(member, "is a hard link to nothing")
        if self._target.rules is not None:
            self._target.rules.check(os.path.join(self._target.path, *to))
        there = self._parent(member, to[:-1], make=False)
        try:
            found = os.stat(to[-1], dir_fd=there, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise self._unsafe(member, "is a hard link to what is no file")
            os.link(to[-1], name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as exc:
            raise self._unsafe(member, "is a hard link to what did not come before it") from exc
        finally:
            os.close(there)

    def _parent(self, member: Member, parts: list[str], *, make: bool = True) -> int:
        """Open the directory of these names, made if need be; refuses links on the way."""
        path = "/".join(parts)
        try:
            try:
                return open_beneath(self._into, path)
            except FileNotFoundError:
                if not make:
                    raise
            for count in range(1, len(parts) + 1):
                above = open_beneath(self._into, "/".join(parts[: count - 1]))
                try:
                    os.mkdir(parts[count - 1], 0o777 & ~self._umask | 0o700, dir_fd=above)
                except FileExistsError:
                    pass  # opening it tells whether it is a directory
                finally:
                    os.close(above)
            return open_beneath(self._into, path)
        except OSError as exc:
            raise self._unsafe(member, f"leads through what is no directory ({exc.strerror})") from exc

    def _parts(self, name: str) -> list[str]:
        parts = [one for one in name.split("/") if one not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise UnsafeArchive(f"{name!r} in {self._archive} leads out of the directory", path=self._archive)
        if len(parts) > trees.MOST_LEVELS:
            raise UnsafeArchive(f"{name[:200]!r} in {self._archive} lies too deep", path=self._archive)
        return parts

    def _check_link(self, member: Member, depth: int) -> None:
        target = member.target
        parts = [one for one in target.split("/") if one not in ("", ".")]
        ups = 0
        while ups < len(parts) and parts[ups] == "..":
            ups += 1
        if not target or target.startswith("/") or "\0" in target or ups > depth or ".." in parts[ups:]:
            raise self._unsafe(member, f"is a link that leads out of the directory, to {target[:200]!r}")

    def _unsafe(self, member: Member, why: str) -> PtybridgeError:
        return UnsafeArchive(f"{member.name[:200]!r} in {self._archive} {why}", path=self._archive)
