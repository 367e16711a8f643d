"""Parts of uploads that nobody has resumed: remembered where they lie, and deleted when they are old.

How it works: the place of each part is added to a list in the state directory when it begins. Now and then the list
is gone through: what is no more there is forgotten, and what has not grown for the time that parts are kept is deleted,
unless a connection holds its lock. Nothing is deleted that does not look like such a part and is not ours.
"""

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

from ptybridge.core.files.writing import TEMPORARY

log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 3600.0
# As `writing.temporary_name` makes them of an upload's id.
_NAME: Final = re.compile(rb"^\..*" + re.escape(TEMPORARY.encode()) + rb"[0-9a-z]{8,32}$", re.DOTALL)


class Leftovers:
    """The list. `note` and `clean` block, and may be called from any thread."""

    def __init__(self, path: Path, keep: float) -> None:
        """`keep`: for how many seconds a part may lie there untouched."""
        self._path = path
        self._keep = keep
        self._lock = threading.Lock()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Clean up at the beginning and every hour."""
        task_status.started()
        while True:
            await trio.to_thread.run_sync(self.clean)
            await trio.sleep(INTERVAL_SECONDS)

    def note(self, path: str) -> None:
        """Remember a part that begins."""
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
                # The upload is worth more than its being tidied up.
                log.warning("a part of an upload cannot be noted: %s", exc.strerror)

    def clean(self) -> None:
        """Delete what is old, and forget what is gone."""
        with self._lock:
            try:
                lines = self._path.read_text(encoding="ascii").splitlines()
            except FileNotFoundError:
                return
            except (OSError, ValueError) as exc:
                log.warning("the list of parts of uploads cannot be read: %s", exc)
                return
            left = [one for one in dict.fromkeys(lines) if self._stays(one)]
            if len(left) == len(lines):
                return
            try:
                new = self._path.with_suffix(".new")
                new.write_text("".join(f"{one}\n" for one in left), encoding="ascii")
                new.replace(self._path)
            except OSError as exc:
                log.warning("the list of parts of uploads cannot be written: %s", exc.strerror)

    def _stays(self, line: str) -> bool:
        """Tell whether a part is still to be remembered."""
        try:
            path = json.loads(line).encode("latin-1")
        except (ValueError, AttributeError):
            return False  # torn when the machine went down
        if not _NAME.match(os.path.basename(path)):
            return False
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # maybe a file system that is not there now
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
                return False
            if time.time() - found.st_mtime < self._keep:
                return True
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            os.unlink(path)
            log.info("deleted a part of an upload that nobody has resumed: %s", os.fsdecode(path))
            return False
        except OSError:
            return True
        finally:
            os.close(fd)
