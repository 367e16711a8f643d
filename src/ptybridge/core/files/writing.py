"""Writing files whole or not at all: into a temporary file beside the target, to the disk, then renamed.

Nothing half-written ever has the final name. Of the file that is replaced the new one takes permissions, owner and
extended attributes, as far as the system lets us.
"""

import errno
import fcntl
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ptybridge.core.files.facts import CHUNK_BYTES, Checked, etag_of
from ptybridge.core.files.failures import failing
from ptybridge.core.files.openat import rename_new
from ptybridge.core.files.places import Place
from ptybridge.errors import EtagMismatch, FileExists, IsADirectory, NotAFile, PermissionDenied

TEMPORARY: Final = ".ptybridge-"
# Is told where something that takes long begins to be made, so that it can be tidied up if the daemon is killed.
Note = Callable[[str], None]
# NAME_MAX of Linux: limits.h.
_NAME_MAX: Final = 255
# Between looking at the etag and renaming nobody else of this daemon may do the same.
_replacing: Final = threading.Lock()


def temporary_name(name: str, token: str | None = None) -> str:
    """Return a name for what will be `name`: hidden, beside it, and ours at a glance."""
    token = token or secrets.token_hex(6)
    room = _NAME_MAX - len(TEMPORARY) - len(token) - 1
    return os.fsdecode(b"." + os.fsencode(name)[:room]) + TEMPORARY + token


def temporary_place(place: Place, note: Note | None) -> Place:
    """Return where what will be at `place` is made."""
    name = temporary_name(place.name)
    if note is not None:
        note(os.path.join(os.path.dirname(place.path), name))
    # Messages name what it will be.
    return Place(place.dir_fd, name, place.path, place.rules)


def hold(fd: int) -> None:
    """Lock what is being made, so that nobody takes it for left over. The kernel releases it, however we end."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass  # a file system without locks: there nothing is tidied up


def write(
    place: Place, data: bytes, *, overwrite: bool, mode: int | None, if_match: str | None, check: Checked
) -> os.stat_result:
    """Write a file whole. Raises `FileExists`, `EtagMismatch` and what the system says; then nothing has changed."""

    def fill(fd: int) -> None:
        write_all(fd, data, check)

    return replace(place, fill, overwrite=overwrite, mode=mode, if_match=if_match)


def replace(
    place: Place,
    fill: Callable[[int], None],
    *,
    overwrite: bool,
    mode: int | None = None,
    if_match: str | None = None,
    note: Note | None = None,
) -> os.stat_result:
    """Let `fill` write into a descriptor and give the result its name."""
    check_target(place, overwrite=overwrite, if_match=if_match)
    with failing(place.path), _temporary(place, note) as (fd, temporary):
        fill(fd)
        return settle(place, fd, temporary, overwrite=overwrite, mode=mode, if_match=if_match)


def settle(
    place: Place, fd: int, temporary: str, *, overwrite: bool, mode: int | None, if_match: str | None
) -> os.stat_result:
    """Bring a filled temporary file to the disk and give it the name of the place."""
    with failing(place.path):
        os.fsync(fd)
        with _replacing:
            before = check_target(place, overwrite=overwrite, if_match=if_match)
            dress(fd, before, place, mode)
            if overwrite:
                os.rename(temporary, place.name, src_dir_fd=place.dir_fd, dst_dir_fd=place.dir_fd)
            else:
                rename_new(place.dir_fd, temporary, place.dir_fd, place.name)
        found = os.fstat(fd)
        sync_directory(place)
    return found


def check_target(place: Place, *, overwrite: bool, if_match: str | None) -> os.stat_result | None:
    """Look at what is to be replaced. Raises why it cannot be."""
    found = place.stat_or_none()
    if if_match is not None and (found is None or etag_of(found) != if_match):
        now = "is gone" if found is None else "has changed"
        raise EtagMismatch(f"{place.path} {now}", path=place.path, etag=None if found is None else etag_of(found))
    if found is None:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectory(f"{place.path} is a directory", path=place.path)
    if not overwrite:
        raise FileExists(f"{place.path} is there already", path=place.path)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise NotAFile(f"{place.path} is a device, a FIFO or a socket", path=place.path)
    # Renaming over it would need no permission of its own.
    if stat.S_ISREG(found.st_mode) and not os.access(
        place.name, os.W_OK, dir_fd=place.dir_fd, effective_ids=True, follow_symlinks=not place.confined
    ):
        raise PermissionDenied(f"{place.path} may not be written", hint=f"chmod u+w {place.path}", path=place.path)
    return found


def append(place: Place, data: bytes, *, mode: int | None, if_match: str | None, check: Checked) -> os.stat_result:
    """Add to the end of a file, making it if need be. When it fails, what was added is cut off again."""
    found = place.stat_or_none()
    if found is None:
        return write(place, data, overwrite=False, mode=mode, if_match=if_match, check=check)
    check_target(place, overwrite=True, if_match=if_match)
    fd = place.open_file(os.O_WRONLY | os.O_APPEND)
    try:
        with failing(place.path):
            before = os.fstat(fd).st_size
            try:
                write_all(fd, data, check)
                os.fsync(fd)
            except BaseException:
                # Only if nobody else has added something meanwhile: theirs would go, too.
                if before < os.fstat(fd).st_size <= before + len(data):
                    os.ftruncate(fd, before)
                raise
            if mode is not None:
                os.fchmod(fd, mode)
            return os.fstat(fd)
    finally:
        os.close(fd)


def make_directory(place: Place, *, parents: bool, mode: int | None) -> bool:
    """Make a directory; with `parents` one that is there will do. Return whether it was made."""
    try:
        with failing(place.path):
            os.mkdir(place.name, dir_fd=place.dir_fd)
    except FileExists:
        found = place.stat()
        if parents and stat.S_ISDIR(found.st_mode):
            return False
        raise
    if mode is not None:
        fd = place.open_directory()
        try:
            with failing(place.path):
                os.fchmod(fd, mode)
        finally:
            os.close(fd)
    return True


def write_all(fd: int, data: bytes, check: Checked) -> None:
    """Write everything, in pieces."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:CHUNK_BYTES]) :]
        check()


def dress(fd: int, before: os.stat_result | None, place: Place, mode: int | None) -> None:
    """Give a new file what the old one had, or what new files get."""
    if before is not None and stat.S_ISREG(before.st_mode):
        try:
            os.fchown(fd, before.st_uid, before.st_gid)
        except PermissionError:
            pass  # it becomes ours, as with every program that replaces files
        _copy_attributes(place, fd)
        os.fchmod(fd, stat.S_IMODE(before.st_mode) if mode is None else mode)
    else:
        os.fchmod(fd, 0o666 & ~umask() if mode is None else mode)


def sync_directory(place: Place) -> None:
    """Bring the new name to the disk. What cannot be synced (some network file systems) is left to them."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.dir_fd)
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


@contextmanager
def _temporary(place: Place, note: Note | None) -> Iterator[tuple[int, str]]:
    name = temporary_place(place, note).name
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=place.dir_fd)
    try:
        hold(fd)
        yield fd, name
    finally:
        os.close(fd)
        try:
            os.unlink(name, dir_fd=place.dir_fd)
        except FileNotFoundError:
            pass  # it has its final name


def _copy_attributes(place: Place, fd: int) -> None:
    try:
        old = place.open_file()
    except (PermissionDenied, NotAFile):
        return  # what cannot be read cannot be copied
    try:
        for name in os.listxattr(old):
            try:
                os.setxattr(fd, name, os.getxattr(old, name))
            except OSError:
                continue  # of the system's own kinds some are not ours to set
    except OSError:
        pass  # this file system has none
    finally:
        os.close(old)


def umask() -> int:
    """Return the mask for new files; umask(2) can only be asked by setting it, /proc asks without."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o077
