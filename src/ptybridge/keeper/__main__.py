"""The keeper's program: `python -m ptybridge.keeper --control PATH --listen PATH`."""

import argparse
import gc
import os
import resource
import signal
import socket
import sys

from ptybridge.keeper.process import Keeper
from ptybridge.keeper.pump import Pump
from ptybridge.keeper.requests import Requests
from ptybridge.keeper.runtime import (
    LOCK_PATIENCE_SECONDS,
    AlreadyRunningError,
    RefusedError,
    Sockets,
    inherited_sockets,
    listen,
    notify_ready,
    prepare_directory,
    take_lock,
)
from ptybridge.keeper.upgrade import Upgrade, check, read_state, restore

# Beyond this, closing what a child must not inherit would take noticeable time.
_MOST_DESCRIPTORS = 1 << 20


def main() -> int:
    """Run the keeper; returns only when it must not start: 75 when there is another one, 1 for other reasons."""
    options = _parse()
    try:
        if options.check is not None:
            check(options.check)  # whatever it raises ends us with a status that is not 0, and the old image stays
            return 0
        if options.state is not None:
            # Ignored signals and limits were inherited from the image before.
            state = read_state(options.state)
            os.close(options.state)
            keeper = restore(state)
        else:
            keeper = _start(options.control, options.listen, inherited_sockets(), options.children_nofile)
    except AlreadyRunningError as error:
        print(error, file=sys.stderr)
        return os.EX_TEMPFAIL
    except (RefusedError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    keeper.dispatch = Requests(keeper, Upgrade(keeper)).dispatch
    notify_ready()
    # What was imported will never be garbage: keep the collector from looking at it, and its pages shared by forks.
    gc.freeze()
    keeper.run()
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ptybridge.keeper", description=__doc__)
    parser.add_argument("--control", metavar="PATH", help="socket for daemons (or inherited, type SEQPACKET)")
    parser.add_argument("--listen", metavar="PATH", help="socket for clients (or inherited, type STREAM)")
    parser.add_argument(
        "--children-nofile", metavar="N", type=int, help="soft limit on open files for children (default: ours)"
    )
    parser.add_argument("--check", metavar="FD", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--state", metavar="FD", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _start(
    control_path: str | None, listen_path: str | None, inherited: Sockets, children_nofile: int | None
) -> Keeper:
    control, listener = inherited
    control_path = _path_of(control, control_path)
    listen_path = _path_of(listener, listen_path)
    if control_path is None or listen_path is None:
        raise RefusedError("both --control and --listen are needed, as paths or as inherited sockets")
    directory = os.path.dirname(control_path)
    prepare_directory(directory)
    lock_fd = take_lock(directory, patience=LOCK_PATIENCE_SECONDS)
    control = control or listen(control_path, socket.SOCK_SEQPACKET)
    listener = listener or listen(listen_path, socket.SOCK_STREAM)
    _settle()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(limits[1], _MOST_DESCRIPTORS) if limits[1] != resource.RLIM_INFINITY else _MOST_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], most), limits[1]))
    children = (limits[0] if children_nofile is None else children_nofile, limits[1])
    keeper = Keeper(control, listener, lock_fd, Pump.create(), children)
    keeper.activated = any(inherited)
    return keeper


def _path_of(sock: socket.socket | None, path: str | None) -> str | None:
    if sock is not None:
        return str(sock.getsockname())
    return None if path is None else os.path.abspath(path)


def _settle() -> None:
    """Become independent of who started us: its terminal, its session, its directory."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.getsid(0) != os.getpid() and os.getpgrp() != os.getpid():
        os.setsid()
    os.chdir("/")


if __name__ == "__main__":
    sys.exit(main())
