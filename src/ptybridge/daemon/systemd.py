"""What a service manager is told of a daemon's life: sd_notify(3) by hand, a datagram for each thing to tell.

Without `NOTIFY_SOCKET` nobody waits for it, and all of this does nothing. The variable stays in the environment,
because a daemon that takes over from us has to tell, too; sessions never get it.
"""

import array
import logging
import os
import select
import socket

import trio

log = logging.getLogger(__name__)

# How long the manager may take to understand that another process is the service now.
BARRIER_SECONDS = 5.0


def notify(*assignments: str, fds: tuple[int, ...] = ()) -> None:
    """Tell the service manager, e.g. "READY=1". What it cannot be told it must do without: we go on."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect("\0" + path[1:] if path.startswith("@") else path)
            sock.sendmsg(["\n".join(assignments).encode()], rights)
    except OSError as exc:
        log.warning("cannot tell the service manager %s: %s", assignments[0], exc)


def hand_over(pid: int) -> None:
    """Name `pid` as the service's main process and wait until the manager knows, so that we may end. Blocking."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return
    notify(f"MAINPID={pid}")
    # The manager closes its copy of the descriptor when it has read everything before it.
    ours, theirs = os.pipe()
    try:
        notify("BARRIER=1", fds=(theirs,))
    finally:
        os.close(theirs)
    poll = select.poll()
    poll.register(ours, 0)
    if not poll.poll(BARRIER_SECONDS * 1000):
        log.warning("the service manager has not confirmed that pid %d is the daemon now", pid)
    os.close(ours)


def watchdog_seconds() -> float | None:
    """Return the time within which the manager wants a sign of life (sd_watchdog_enabled(3)), None for none."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdecimal():
        return None
    return int(microseconds) / 1_000_000 or None


async def feed_watchdog() -> None:
    """Give a sign of life twice as often as wanted, for as long as the loop turns."""
    interval = watchdog_seconds()
    while interval is not None:
        notify("WATCHDOG=1")
        await trio.sleep(interval / 2)
    await trio.lowlevel.checkpoint()
