"""What is known of a file: kind, times, permissions, owner, type of content, etag, checksum."""

import ctypes
import grp
import hashlib
import mimetypes
import os
import pwd
import stat
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from ptybridge.core.files.failures import failing
from ptybridge.core.files.places import Place

Kind = Literal["file", "directory", "symlink", "fifo", "socket", "device", "unknown"]
Checked = Callable[[], None]

CHUNK_BYTES: Final = 1 << 20
# statx(2): the time of birth, which stat(2) does not have.
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_STATX_BTIME: Final = 0x800
_BTIME_OFFSET: Final = 80
_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)

_KINDS: Final[dict[int, Kind]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a directory. Times are milliseconds since 1970."""

    name: str
    path: str
    type: Kind
    size: int
    modified_ms: int
    mode: str
    permissions: str
    hidden: bool
    target: str | None = None
    name_base64: str | None = None


class Details(Facts, frozen=True, kw_only=True):
    """Everything about one."""

    accessed_ms: int
    changed_ms: int
    created_ms: int | None
    uid: int
    gid: int
    owner: str | None
    group: str | None
    links: int
    readable: bool
    writable: bool
    executable: bool
    mime_type: str | None
    etag: str
    sha256: str | None = None


def kind_of(found: os.stat_result) -> Kind:
    """Return what it is."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "unknown")


def etag_of(found: os.stat_result) -> str:
    """Return a tag that changes with every change: of content, of permissions, or of the file in this place."""
    return f"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}-{found.st_ctime_ns:x}"


def readable_name(name: str) -> tuple[str, str | None]:
    """Return a name that can be shown, and its bytes in base64 if they are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        from base64 import b64encode

        raw = os.fsencode(name)
        return raw.decode("utf-8", "backslashreplace"), b64encode(raw).decode()
    return name, None


def facts(place: Place, found: os.stat_result) -> Facts:
    """Return what a list shows of an entry."""
    return Facts(**_common(place, found))


def details(place: Place, found: os.stat_result, *, checksum: bool, check: Checked) -> Details:
    """Return everything about an entry; `checksum` reads it."""
    digest = None
    if checksum and stat.S_ISREG(found.st_mode):
        fd = place.open_file()
        try:
            digest = sha256_of(fd, place.path, check)
        finally:
            os.close(fd)
    return Details(
        **_common(place, found),
        accessed_ms=found.st_atime_ns // 1_000_000,
        changed_ms=found.st_ctime_ns // 1_000_000,
        created_ms=_born(place),
        uid=found.st_uid,
        gid=found.st_gid,
        owner=_user(found.st_uid),
        group=_group(found.st_gid),
        links=found.st_nlink,
        readable=_may(place, os.R_OK),
        writable=_may(place, os.W_OK),
        executable=_may(place, os.X_OK),
        mime_type=mime_type(place.name) if stat.S_ISREG(found.st_mode) else None,
        etag=etag_of(found),
        sha256=digest,
    )


def sha256_of(fd: int, path: str, check: Checked) -> str:
    """Return the checksum of everything in a file, calling `check` now and then."""
    digest = hashlib.sha256()
    offset = 0
    with failing(path):
        while data := os.pread(fd, CHUNK_BYTES, offset):
            digest.update(data)
            offset += len(data)
            check()
    return digest.hexdigest()


def mime_type(name: str) -> str | None:
    """Return the type of content that a name promises."""
    return mimetypes.guess_type(name, strict=False)[0]


def _common(place: Place, found: os.stat_result) -> dict[str, Any]:
    name = os.path.basename(place.path) or "/"
    shown, raw = readable_name(name)
    target = None
    if stat.S_ISLNK(found.st_mode):
        with failing(place.path):
            target = readable_name(os.readlink(place.name, dir_fd=place.dir_fd))[0]
    return {
        "name": shown,
        "path": readable_name(place.path)[0],
        "type": kind_of(found),
        "size": found.st_size,
        "modified_ms": found.st_mtime_ns // 1_000_000,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "permissions": stat.filemode(found.st_mode)[1:],
        "hidden": name.startswith("."),
        "target": target,
        "name_base64": raw,
    }


def _may(place: Place, what: int) -> bool:
    # Through the descriptor, so that a link is not followed; os.access cannot do without on every libc.
    try:
        return os.access(place.name, what, dir_fd=place.dir_fd, effective_ids=True, follow_symlinks=not place.confined)
    except (NotImplementedError, OSError):
        return False


def _born(place: Place) -> int | None:
    if _statx is None:
        return None
    buffer = ctypes.create_string_buffer(256)
    if _statx(place.dir_fd, os.fsencode(place.name), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer) != 0:
        return None
    if not struct.unpack_from("=I", buffer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_OFFSET)
    return int(seconds * 1000 + nanoseconds // 1_000_000)


@lru_cache(1024)
def _user(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


@lru_cache(1024)
def _group(gid: int) -> str | None:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None
