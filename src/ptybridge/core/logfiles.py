"""The files of a session's log on disk: private to their owner, bounded by rotation, never half written.

All of it blocks and belongs into a thread.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
# Append only, and nobody can lay a link in our way.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def make_directory(base: str, session_id: str) -> str:
    """Make the session's directory below `base`, which is made as well if need be. Raises OSError."""
    Path(base).mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    path = Path(base, session_id)
    path.mkdir(DIRECTORY_MODE)
    path.chmod(DIRECTORY_MODE)  # whatever the umask, and a directory with a default ACL
    return str(path)


class DirectoryLock:
    """Keeps a second daemon from writing the same log while the first one, which hands over, still does."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd: int | None = None

    def acquire(self, within: float) -> bool:
        """Take it, waiting so many seconds for its holder, which may have died. Raises OSError."""
        self._fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        deadline = time.monotonic() + within
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.05)
            else:
                return True

    def release(self) -> None:
        """Give it back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class RotatingFile:
    """One file that is followed by `.1`, `.2` …, its predecessors. `max_bytes` each, `files` in all."""

    def __init__(self, directory: str, name: str, max_bytes: int, files: int) -> None:
        self.size = 0
        self._path = os.path.join(directory, name)
        self._max_bytes = max_bytes
        self._files = files
        self._fd: int | None = None

    def open(self, known_size: int | None = None) -> None:
        """Open it for appending. What it holds beyond `known_size` was never noted and is cut off."""
        fd = os.open(self._path, _FLAGS, FILE_MODE)
        try:
            os.fchmod(fd, FILE_MODE)
            size = os.fstat(fd).st_size
            if known_size is not None and size > known_size:
                os.ftruncate(fd, known_size)
                size = known_size
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._fd, self.size = fd, size

    def is_full_for(self, size: int) -> bool:
        """Tell whether so many bytes more should go into the next file."""
        return self.size > 0 and self.size + size > self._max_bytes

    def rotate(self) -> None:
        """Begin the next file; the oldest one goes."""
        self.close()
        for number in range(self._files - 1, 0, -1):
            older = f"{self._path}.{number}"
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            if os.path.lexists(newer):
                os.replace(newer, older)
        if self._files == 1:
            os.unlink(self._path)
        self.open()

    def write(self, data: bytes) -> None:
        """Append all of `data` or nothing. Raises OSError."""
        if self._fd is None:
            self.open()
        assert self._fd is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        """Close it; `write` opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
