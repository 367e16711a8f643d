"""Small files for their owner's eyes alone: read with a look at whom they belong to, replaced whole or not at all."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

# None of ours comes near; a larger one is not ours.
MAX_BYTES: Final = 16 << 20


def read_private(path: Path) -> bytes | None:
    """Return what the file holds, None when there is none. Raises `OSError`, also for a link or another's file.

    Blocking.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as source:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{path} is not a file of this user's")
        if found.st_mode & 0o077:
            raise PermissionError(f"others may read or write {path}; chmod 600 it, after a look at what it holds")
        return source.read(MAX_BYTES)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file; its directory is made if need be. Raises `OSError`, and then it is as it was. Blocking."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # No name that anybody could have put there before.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as target:
            target.write(data)
            target.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
