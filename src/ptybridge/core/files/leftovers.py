"""What was begun beside a file's final name and never got it: remembered where it lies, and deleted when it is old.

These are parts of uploads that nobody has resumed, and what a killed daemon leaves of archives, extractions, fetches
and copies.

How it works: the place of each is added to a list in the state directory when it begins. Now and then the list is gone
through: what is no more there is forgotten, and what has not been touched for the time it is kept is deleted, unless
somebody who works on it holds its lock. Nothing is deleted that does not look like such a thing and is not ours.
"""

import errno
import fcntl
import json
import logging
import os
import re
import stat
import threading
import time
from pathlib import Path
from typing import Final

import trio

from ptybridge.core.files import trees
from ptybridge.core.files.openat import DIRECTORY
from ptybridge.core.files.places import Place
from ptybridge.core.files.writing import TEMPORARY
from ptybridge.errors import PtybridgeError

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 3600.0
# As `writing.temporary_name` makes them, for uploads of their ids.
_NAME: Final = re.compile(rb"^\..*" + re.escape(TEMPORARY.encode()) + rb"[0-9a-z]{8,32}$", re.DOTALL)


class Leftovers:
    """The list. `note` and `clean` block, and may be called from any thread."""

    def __init__(self, path: Path, keep: float) -> None:
        """`keep`: for how many seconds something may lie there untouched."""
        self._path = path
        self._keep = keep
        self._lock = threading.Lock()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up at the beginning, when what was too young then is old enough, and every hour."""
        task_status.started()
        pause = min(self._keep, INTERVAL_SECONDS)
        while True:
            await trio.to_thread.run_sync(self.clean)
            await trio.sleep(pause)
            pause = INTERVAL_SECONDS

    def note(self, path: str) -> None:
        """Remember something that begins."""
        line = json.dumps(os.fsencode(path).decode("latin-1")) + "\n"
        with self._lock:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.write(fd, line.encode())
                finally:
                    os.close(fd)
            except OSError as exc:
                # The work is worth more than its being tidied up.
                log.warning("what is begun cannot be noted: %s", exc.strerror)

    def clean(self) -> None:
        """Delete what is old, and forget what is gone."""
        with self._lock:
            known = dict.fromkeys(self._read())
        # A large tree takes its time to go, and others begin something meanwhile.
        gone = {one for one in known if not _stays(one, self._keep)}
        with self._lock:
            lines = self._read()
            left = [one for one in dict.fromkeys(lines) if one not in gone]
            if len(left) == len(lines):
                return
            try:
                new = self._path.with_suffix(".new")
                new.write_text("".join(f"{one}\n" for one in left), encoding="ascii")
                new.replace(self._path)
            except OSError as exc:
                log.warning("the list of what was begun cannot be written: %s", exc.strerror)

    def _read(self) -> list[str]:
        try:
            return self._path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as exc:
            log.warning("the list of what was begun cannot be read: %s", exc)
            return []


def _stays(line: str, keep: float) -> bool:
    """Tell whether something is still to be remembered; what is not any more is deleted."""
    try:
        path = json.loads(line).encode("latin-1")
    except (ValueError, AttributeError):
        return False  # torn when the machine went down
    if not _NAME.match(os.path.basename(path)):
        return False
    try:
        above = os.open(os.path.dirname(path), DIRECTORY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # maybe a file system that is not there now
    try:
        return _stays_there(Place(above, os.fsdecode(os.path.basename(path)), os.fsdecode(path), None), keep)
    finally:
        os.close(above)


def _stays_there(place: Place, keep: float) -> bool:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(place.name, flags, dir_fd=place.dir_fd)
    except FileNotFoundError:
        return False
    except OSError as exc:
        return exc.errno != errno.ELOOP  # a link is none of ours
    try:
        found = os.fstat(fd)
        directory = stat.S_ISDIR(found.st_mode)
        if found.st_uid != os.geteuid() or not (directory or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)):
            return False
        if time.time() - found.st_mtime < keep:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        trees.delete(place, recursive=True, missing_ok=True, check=_never)
        log.info("deleted what was begun and never completed: %s", place.path)
        return False
    except (OSError, PtybridgeError) as exc:
        log.warning("what was begun and never completed cannot be deleted: %s", exc)
        return True
    finally:
        os.close(fd)


def _never() -> None:
    """Go on: this is tidying up."""
