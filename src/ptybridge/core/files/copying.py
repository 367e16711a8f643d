"""Copying and moving: whole or not at all, also trees and also across file systems.

A copy is made under a temporary name beside its target, and renamed when it is complete and on the disk. Links inside
a tree are copied as links. What a directory of the same name holds is never mixed with it, and never thrown away.
"""

import errno
import os
import stat
from typing import Final

from ptybridge.core.files import trees
from ptybridge.core.files.facts import CHUNK_BYTES, Checked
from ptybridge.core.files.failures import failing, translated
from ptybridge.core.files.openat import DIRECTORY, rename_new
from ptybridge.core.files.places import Place
from ptybridge.core.files.writing import Note, check_target, hold, replace, sync_directory, temporary_place
from ptybridge.errors import (
    DirectoryNotEmpty,
    FileExists,
    FileNotFound,
    InvalidParams,
    IsADirectory,
    NotADirectory,
    NotAFile,
    PtybridgeError,
)

# copy_file_range(2) between file systems that cannot do it.
_NO_RANGE: Final = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}


def copy(
    source: Place, target: Place, *, overwrite: bool, recursive: bool, check: Checked, note: Note | None = None
) -> int:
    """Copy a file, a link or, with `recursive`, a tree to exactly `target`; return how many entries were made."""
    trees.refuse_root(target)
    found = source.stat()
    if stat.S_ISREG(found.st_mode):
        _copy_file(source, target, found, overwrite, check, note)
        return 1
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise NotAFile(f"{source.path} is a device, a FIFO or a socket", path=source.path)
    if stat.S_ISDIR(found.st_mode):
        if not recursive:
            raise IsADirectory(f"{source.path} is a directory", hint="give `recursive`", path=source.path)
        _refuse_inside(found, source, target)
        trees.check_tree(source, check)
    check_replaced(target, found, overwrite)
    temporary = temporary_place(target, note)
    try:
        count = _copy_entry(source, temporary, found, check, 1)
        with failing(target.path):
            rename(temporary, target, overwrite)
            sync_directory(target)
    except BaseException:
        discard(temporary)
        raise
    return count


def move(source: Place, target: Place, *, overwrite: bool, check: Checked, note: Note | None = None) -> None:
    """Give an entry another name; between file systems copy it and then delete it. A link is moved as a link."""
    trees.refuse_root(source)
    trees.refuse_root(target)
    found = source.stat()
    if stat.S_ISDIR(found.st_mode):
        _refuse_inside(found, source, target)
        # In another place what is kept from the caller could be read.
        trees.check_tree(source, check)
    if not _same(found, target):
        check_replaced(target, found, overwrite)
    try:
        with failing(target.path):
            try:
                rename(source, target, overwrite)
            except OSError as exc:
                if exc.errno == errno.ENOENT:
                    raise FileNotFound(f"there is no {source.path}", path=source.path) from exc
                if exc.errno != errno.EXDEV:
                    raise
                copy(source, target, overwrite=overwrite, recursive=True, check=check, note=note)
                trees.delete(source, recursive=True, missing_ok=True, check=_never)
                return
            sync_directory(target)
            sync_directory(source)
    except OSError as exc:
        raise translated(exc, source.path) from exc


def rename(source: Place, target: Place, overwrite: bool) -> None:
    """Give an entry its final name."""
    if overwrite:
        os.rename(source.name, target.name, src_dir_fd=source.dir_fd, dst_dir_fd=target.dir_fd)
    else:
        rename_new(source.dir_fd, source.name, target.dir_fd, target.name)


def _copy_file(
    source: Place, target: Place, found: os.stat_result, overwrite: bool, check: Checked, note: Note | None
) -> None:
    fd = source.open_file()
    try:
        if _same(found, target):
            raise InvalidParams(f"{source.path} and {target.path} are the same file")
        mode = stat.S_IMODE(found.st_mode)
        replace(target, lambda to: _fill(fd, to, check), overwrite=overwrite, mode=mode, note=note)
    finally:
        os.close(fd)


def _copy_entry(source: Place, target: Place, found: os.stat_result, check: Checked, level: int) -> int:
    """Make a copy under a name nobody else uses."""
    check()
    if stat.S_ISLNK(found.st_mode):
        with failing(source.path):
            os.symlink(os.readlink(source.name, dir_fd=source.dir_fd), target.name, dir_fd=target.dir_fd)
        return 1
    if stat.S_ISREG(found.st_mode):
        fd = source.open_file()
        try:
            with failing(target.path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                to = os.open(target.name, flags, 0o600, dir_fd=target.dir_fd)
                try:
                    _fill(fd, to, check)
                    _finish(to, found)
                finally:
                    os.close(to)
        finally:
            os.close(fd)
        return 1
    if not stat.S_ISDIR(found.st_mode):
        raise NotAFile(f"{source.path} is a device, a FIFO or a socket, which cannot be copied", path=source.path)
    count = 1
    with failing(target.path):
        os.mkdir(target.name, 0o700, dir_fd=target.dir_fd)
    into = target.open_directory()
    try:
        hold(into)
        with trees.entries(source, level) as below:
            for entry, what in below:
                there = Place(into, entry.name, os.path.join(target.path, entry.name), target.rules)
                count += _copy_entry(entry, there, what, check, level + 1)
        with failing(target.path):
            _finish(into, found)
    finally:
        os.close(into)
    return count


def _finish(fd: int, found: os.stat_result) -> None:
    os.fchmod(fd, stat.S_IMODE(found.st_mode))
    os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.fsync(fd)


def _fill(source: int, target: int, check: Checked) -> None:
    """Copy the contents; holes stay holes."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                break  # only a hole follows
            begin = at
        try:
            end = os.lseek(source, begin, os.SEEK_HOLE)
        except OSError:
            end = size
        at = _copy_range(source, target, begin, max(end, begin + 1), check)
        if at < end:
            break  # it has become shorter under us
    if size == 0:
        _copy_range(source, target, 0, 1 << 62, check)  # files of /proc say 0 and hold more


def _copy_range(source: int, target: int, begin: int, end: int, check: Checked) -> int:
    quick = True
    while begin < end:
        count = min(CHUNK_BYTES, end - begin)
        done = 0
        if quick:
            try:
                done = os.copy_file_range(source, target, count, begin, begin)
            except OSError as exc:
                if exc.errno not in _NO_RANGE:
                    raise
            quick = done > 0
        if not quick:
            data = os.pread(source, count, begin)
            done = len(data)
            written = 0
            while written < done:
                written += os.pwrite(target, data[written:], begin + written)
        if not done:
            return begin
        begin += done
        check()
    return begin


def check_replaced(target: Place, source: os.stat_result, overwrite: bool) -> None:
    """Raise why `target` cannot be replaced by what `source` is."""
    there = target.stat_or_none()
    if there is None:
        return
    if not overwrite:
        raise FileExists(f"{target.path} is there already", path=target.path)
    if stat.S_ISDIR(there.st_mode):
        if not stat.S_ISDIR(source.st_mode):
            raise IsADirectory(f"{target.path} is a directory", path=target.path)
        fd = target.open_directory()
        try:
            if os.listdir(fd):
                raise DirectoryNotEmpty(
                    f"{target.path} is not empty; trees are not mixed", hint="delete it first", path=target.path
                )
        finally:
            os.close(fd)
    elif stat.S_ISDIR(source.st_mode):
        raise NotADirectory(f"{target.path} is no directory, and one was to replace it", path=target.path)
    else:
        check_target(target, overwrite=True, if_match=None)


def _same(found: os.stat_result, target: Place) -> bool:
    there = target.stat_or_none()
    return there is not None and (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)


def _refuse_inside(found: os.stat_result, source: Place, target: Place) -> None:
    """Raise `InvalidParams` when the target's directory lies below the source, going up from it by descriptors."""
    with failing(target.path):
        fd = os.dup(target.dir_fd)
        try:
            while True:
                here = os.fstat(fd)
                if (here.st_dev, here.st_ino) == (found.st_dev, found.st_ino):
                    raise InvalidParams(f"{target.path} lies inside of {source.path}")
                above = os.open("..", DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = above
                if os.path.samestat(os.fstat(fd), here):
                    return
        finally:
            os.close(fd)


def discard(temporary: Place) -> None:
    """Throw away what was not completed."""
    try:
        trees.delete(
            Place(temporary.dir_fd, temporary.name, temporary.path, None), recursive=True, missing_ok=True, check=_never
        )
    except PtybridgeError:
        pass  # the failure that led here is the one to tell


def _never() -> None:
    """Go on: this is tidying up."""
