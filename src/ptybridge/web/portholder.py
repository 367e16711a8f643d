"""Who listens on a port: from /proc/net/tcp to the socket's inode, and from there to the process that has it open."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

# Column 4 of /proc/net/tcp: TCP_LISTEN of include/net/tcp_states.h.
_LISTEN: Final = "0A"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


def holder_of(port: int) -> str:
    """Name the process that listens on `port`, as far as it can be seen: "python3 (pid 123)". Blocking, briefly."""
    inodes = set(_listening_inodes(port))
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for entry in os.scandir("/proc") if inodes and os.path.isdir("/proc") else ():
        if entry.name.isdecimal() and _has_open(entry.path, wanted):
            return f"{_name(entry.path)} (pid {entry.name})"
    return "a process of another user" if inodes else "another process"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in _TABLES:
        with contextlib.suppress(OSError), open(table) as rows:
            next(rows, None)
            for row in rows:
                columns = row.split()
                if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]


def _has_open(process: str, wanted: set[str]) -> bool:
    with contextlib.suppress(OSError):  # not ours to look into, or gone meanwhile
        for entry in os.scandir(f"{process}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path) in wanted:
                    return True
    return False


def _name(process: str) -> str:
    with contextlib.suppress(OSError), open(f"{process}/comm") as file:
        # Any process may call itself anything.
        return "".join(char if char.isprintable() else "?" for char in file.read().strip())
    return "a process"
