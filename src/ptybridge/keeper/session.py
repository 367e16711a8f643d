"""A session as the keeper holds it: descriptors by name, ring, and the exit status of a child, its own or adopted.

How it works: a pidfd becomes readable when the child has exited. For our own child `waitid` then tells the status.
An adopted child's parent is init, which reaps it; after that (the pidfd hangs up) Linux ≥ 6.15 still tells the status
through the pidfd. An older kernel cannot, and the status is unknown (None).
"""

import contextlib
import errno
import fcntl
import os
import struct
from typing import Any

from ptybridge.keeper.protocol import KeeperError, SessionInfo, close_all
from ptybridge.keeper.pump import Flow
from ptybridge.keeper.ring import Ring, Segments

_NAMES = {
    "pty": ("pty", "ring", "wake", "process"),
    "pipes": ("stdin", "stdout", "stderr", "ring", "segments", "wake", "process"),
}
_OUTPUTS = {"pty": ("pty",), "pipes": ("stdout", "stderr")}

# <linux/pidfd.h>: struct pidfd_info of 64 bytes, mask first, exit_code last.
_PIDFD_INFO_BYTES = 64
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO_BYTES << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


class KeptSession:
    """One session. Owns its descriptors until `close`."""

    def __init__(self, info: SessionInfo, fds: dict[str, int]) -> None:
        """Take over `fds`; on failure they stay with the caller. Raises KeeperError, LayoutError."""
        required = set(_NAMES.get(info.kind, ())) - {"stdin"}
        if not required or not required <= fds.keys():
            raise KeeperError("invalid", f"a session of kind {info.kind!r} with {sorted(fds)}")
        self.sid, self.kind, self.pid = info.sid, info.kind, info.pid
        self.overflow = info.overflow
        self.exited, self.status = info.exited, info.status
        self.fds = fds
        self.ring = Ring.from_fd(fds["ring"])
        self.segments = Segments.from_fd(fds["segments"]) if "segments" in fds else None
        self.flow = Flow(self.sid, [fds[name] for name in _OUTPUTS[info.kind]], self.ring, self.segments)
        self.flow.reopens = info.kind == "pty" and not info.exited
        # Who moves the output instead of the keeper: one of its peers.
        self.lent_to: object = None

    @property
    def names(self) -> list[str]:
        """What to send a daemon, in a fixed order."""
        return [name for name in _NAMES[self.kind] if name in self.fds]

    def info(self) -> SessionInfo:
        """Return the session as told to daemons."""
        ring = self.ring
        eof = ring.eof  # before `end`, which then is final
        return SessionInfo(
            self.sid, self.kind, self.pid, self.overflow, self.exited, self.status, ring.start, ring.end, eof
        )

    def wake(self) -> None:
        """Tell the reader of the ring that there is news. No flag "told already": that would be a race."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.fds["wake"], 1)

    def renew_wake(self) -> None:
        """Make a new wake-up for a new reader; the former one could take it away from under its eyes."""
        os.close(self.fds["wake"])
        self.fds["wake"] = make_wake()

    def look_for_exit(self, *, hung_up: bool) -> bool:
        """Note the exit status if there is one by now; return whether the child is known to have exited.

        `hung_up` is the pidfd's EPOLLHUP: the child has been reaped.
        """
        if self.exited:
            return True
        try:
            result = os.waitid(os.P_PIDFD, self.fds["process"], os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            known, self.status = _status_of_stranger(self.fds["process"])
            self.exited = known or hung_up
            return self.exited
        if result is None:
            return False
        self.exited = True
        self.status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        return True

    def close_input(self) -> None:
        """Close our copy of the child's stdin; it reads end of file when the daemon has closed its own."""
        if self.kind != "pipes":
            raise KeeperError("invalid", "a terminal's input is closed by its EOF character")
        if "stdin" in self.fds:
            os.close(self.fds.pop("stdin"))

    def close(self) -> None:
        """Give up everything. If no daemon has copies the terminal hangs up."""
        self.ring.close()
        if self.segments is not None:
            self.segments.close()
        close_all(self.fds.values())
        self.fds = {}


def make_wake() -> int:
    """Return a new eventfd."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def _status_of_stranger(pidfd: int) -> tuple[bool, int | None]:
    """Return whether the process is known to have exited, and its status."""
    info: Any = bytearray(_PIDFD_INFO_BYTES)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError as error:
        # A kernel that does not know the question will not say more later. Gone without a trace is known, too.
        return error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH), None
    if struct.unpack_from("=Q", info)[0] & _PIDFD_INFO_EXIT:
        return True, os.waitstatus_to_exitcode(struct.unpack_from("=i", info, _PIDFD_INFO_BYTES - 4)[0])
    return False, None
