"""Making archives: files and trees into one file, which has its name when it is complete and on the disk.

Links are kept as links. What is no file (devices, FIFOs, sockets) is left out and counted.
"""

import contextlib
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Sequence
from typing import IO, Final, Protocol, cast

from ptybridge.core.files import trees
from ptybridge.core.files.compression import Format, compressing
from ptybridge.core.files.facts import CHUNK_BYTES, Checked
from ptybridge.core.files.failures import failing
from ptybridge.core.files.places import Place
from ptybridge.core.files.unpacking import Work
from ptybridge.core.files.writing import Note, replace
from ptybridge.errors import FileFailed, InvalidParams

# APPNOTE 4.4.6: the years a zip file can tell.
_FIRST_YEAR, _LAST_YEAR = 1980, 2107
# From here on the entry of a zip file needs the larger fields; below, every program can read it.
_LARGE_BYTES: Final = (1 << 31) - (1 << 20)


class _Writer(Protocol):
    def directory(self, name: str, found: os.stat_result) -> None: ...
    def symlink(self, name: str, found: os.stat_result, target: str) -> None: ...
    def file(self, name: str, found: os.stat_result, source: "_Counting") -> None: ...
    def close(self) -> None: ...


class Packed(Work):
    """What went in. `skipped`: devices, FIFOs and sockets."""

    files: int = 0
    directories: int = 0
    links: int = 0
    skipped: int = 0


def archive(
    sources: Sequence[Place],
    target: Place,
    kind: Format,
    *,
    overwrite: bool,
    work: Packed,
    check: Checked,
    note: Note | None = None,
) -> os.stat_result:
    """Put `sources`, each under its own name, into an archive at exactly `target`. Returns what that is now."""
    trees.refuse_root(target)
    names = [os.path.basename(one.path) for one in sources]
    for name in names:
        if not name:
            raise InvalidParams("the root directory has no name; archive what it holds")
        if names.count(name) > 1:
            raise InvalidParams(f"several of the sources are called {name}", hint="archive the directory above them")
    for one in sources:
        if stat.S_ISDIR(one.stat().st_mode):
            trees.check_tree(one, check)

    def fill(fd: int) -> None:
        with os.fdopen(os.dup(fd), "wb") as out:
            writer: _Writer = _Zip(out) if kind == "zip" else _Tar(out, kind)
            packing = _Packing(writer, os.fstat(fd), work, check)
            try:
                for name, one in zip(names, sources, strict=True):
                    packing.add(name, one, one.stat(), 1)
            except BaseException:
                # Later, from the collector, it would try to write its end into a closed file.
                with contextlib.suppress(OSError, ValueError):
                    writer.close()
                raise
            writer.close()

    return replace(target, fill, overwrite=overwrite, note=note)


class _Packing:
    def __init__(self, writer: _Writer, itself: os.stat_result, work: Packed, check: Checked) -> None:
        self._writer = writer
        self._itself = itself
        self._work = work
        self._check = check

    def add(self, name: str, place: Place, found: os.stat_result, level: int) -> None:
        """Add an entry and what is below it."""
        self._check()
        work = self._work
        work.name = name
        if os.path.samestat(found, self._itself):
            return
        if stat.S_ISDIR(found.st_mode):
            self._writer.directory(name, found)
            work.directories += 1
            work.entries += 1
            with trees.entries(place, level) as below:
                for entry, what in below:
                    self.add(f"{name}/{entry.name}", entry, what, level + 1)
        elif stat.S_ISLNK(found.st_mode):
            with failing(place.path):
                target = os.readlink(place.name, dir_fd=place.dir_fd)
            self._writer.symlink(name, found, target)
            work.links += 1
            work.entries += 1
        elif stat.S_ISREG(found.st_mode):
            fd = place.open_file()
            try:
                source = _Counting(fd, place.path, work, self._check)
                self._writer.file(name, source.found, source)
            finally:
                os.close(fd)
            work.files += 1
            work.entries += 1
        else:
            work.skipped += 1


class _Counting:
    """A file to be read once, exactly as long as it was when it was opened."""

    def __init__(self, fd: int, path: str, work: Packed, check: Checked) -> None:
        self.found = os.fstat(fd)
        self._fd = fd
        self._path = path
        self._work = work
        self._check = check
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises `FileFailed` when the file has become shorter."""
        self._check()
        with failing(self._path):
            data = os.pread(self._fd, size, self._at)
            while len(data) < size and (more := os.pread(self._fd, size - len(data), self._at + len(data))):
                data += more
        if len(data) < size:
            raise FileFailed(f"{self._path} has become shorter while it was archived", path=self._path)
        self._at += len(data)
        self._work.done_bytes += len(data)
        return data


class _Tar:
    """PAX tar: pax(1). Names of any length and any bytes."""

    def __init__(self, out: IO[bytes], kind: Format) -> None:
        self._out = out
        self._plain = compressing(out, kind)
        self._tar = tarfile.TarFile(
            fileobj=cast(IO[bytes], self._plain),
            mode="w",
            format=tarfile.PAX_FORMAT,
            errors="surrogateescape",
            copybufsize=CHUNK_BYTES,
        )

    def directory(self, name: str, found: os.stat_result) -> None:
        """Add a directory."""
        self._add(self._info(name, found, tarfile.DIRTYPE))

    def symlink(self, name: str, found: os.stat_result, target: str) -> None:
        """Add a link."""
        info = self._info(name, found, tarfile.SYMTYPE)
        info.linkname = target
        self._add(info)

    def file(self, name: str, found: os.stat_result, source: _Counting) -> None:
        """Add a file."""
        info = self._info(name, found, tarfile.REGTYPE)
        info.size = found.st_size
        self._add(info, source)

    def close(self) -> None:
        """Write the end."""
        try:
            self._tar.close()
        finally:
            if self._plain is not self._out:
                self._plain.close()

    def _add(self, info: tarfile.TarInfo, source: _Counting | None = None) -> None:
        self._tar.addfile(info, cast(IO[bytes], source) if source is not None else None)
        # It would remember every member.
        self._tar.members.clear()  # type: ignore[attr-defined]

    @staticmethod
    def _info(name: str, found: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        # Without names of users: they are of no use elsewhere, and nobody's business.
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = stat.S_IMODE(found.st_mode)
        info.mtime = int(found.st_mtime)
        return info


class _Zip:
    """Zip with deflate, and permissions and links as Unix programs write them: APPNOTE 4.4.15."""

    def __init__(self, out: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)

    def directory(self, name: str, found: os.stat_result) -> None:
        """Add a directory."""
        info = self._info(f"{name}/", found)
        info.external_attr |= 0x10  # as MS-DOS marks directories
        self._zip.writestr(info, b"")

    def symlink(self, name: str, found: os.stat_result, target: str) -> None:
        """Add a link: its content is where it leads."""
        self._zip.writestr(self._info(name, found), os.fsencode(target))

    def file(self, name: str, found: os.stat_result, source: _Counting) -> None:
        """Add a file."""
        info = self._info(name, found)
        info.file_size = found.st_size
        info.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=found.st_size >= _LARGE_BYTES) as into:
            left = found.st_size
            while left:
                into.write(source.read(min(left, CHUNK_BYTES)))
                left -= min(left, CHUNK_BYTES)

    def close(self) -> None:
        """Write the directory."""
        self._zip.close()

    @staticmethod
    def _info(name: str, found: os.stat_result) -> zipfile.ZipInfo:
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise InvalidParams(f"{name!r} is not UTF-8, and zip cannot tell such names", hint="use tar") from exc
        when = time.localtime(found.st_mtime)
        if when.tm_year < _FIRST_YEAR:
            moment = (_FIRST_YEAR, 1, 1, 0, 0, 0)
        elif when.tm_year > _LAST_YEAR:
            moment = (_LAST_YEAR, 12, 31, 23, 59, 58)
        else:
            moment = when[:6]
        info = zipfile.ZipInfo(name, moment)
        info.create_system = 3
        info.external_attr = (found.st_mode & 0xFFFF) << 16
        return info
