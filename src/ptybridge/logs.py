"""The daemon's log: readable lines in the state directory, rotated, for the owner's eyes only, without secrets.

What is logged: starts, ends, failures, and who called what on which session. Never input, output, environments or
the text of commands.
"""

import logging
import os
import stat
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from ptybridge.config import Daemon
from ptybridge.errors import UnsafePath

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _PrivateFile(RotatingFileHandler):
    """Opens its files 0600 and never through a symbolic link.

    Files end with the line that fills them: the base class formats each line twice, and asks the disk twice, in order
    to end them before it.
    """

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o600)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, self.mode, encoding="utf-8", errors="backslashreplace")

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Tell whether the file is full."""
        if self.stream is None:
            self.stream = self._open()
        return self.maxBytes > 0 and self.stream.tell() >= self.maxBytes


def private_directory(path: Path) -> Path:
    """Make a directory 0700, or check that it is ours and a directory. Raises `UnsafePath`."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise UnsafePath(f"cannot make the directory {path}: {exc.strerror}", hint="set paths.state_dir") from exc
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise UnsafePath(f"{path} is not a directory of this user", hint="remove it, or set paths.state_dir")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def set_up_logging(log_file: Path, settings: Daemon, *, foreground: bool) -> None:
    """Log to the file; in the foreground warnings also go to standard error."""
    # What no line shows need not be found out ("Optimization" in Python's logging HOWTO): half the cost of a line, and
    # every write to a session is one.
    logging._srcfile = ""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    private_directory(log_file.parent)
    # `log_files` counts the current one too; rotation cuts at whole lines.
    try:
        file = _PrivateFile(log_file, maxBytes=settings.log_max_bytes, backupCount=settings.log_files - 1)
    except OSError as exc:
        raise UnsafePath(f"cannot write the log {log_file}: {exc.strerror}", hint="set paths.state_dir") from exc
    file.setFormatter(logging.Formatter(FORMAT))
    root = logging.getLogger()
    root.setLevel(settings.log_level.upper())
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(file)
    if foreground:
        console = logging.StreamHandler(sys.stderr)
        console.setLevel(logging.WARNING)
        console.setFormatter(logging.Formatter("ptybridge: %(message)s"))
        root.addHandler(console)
