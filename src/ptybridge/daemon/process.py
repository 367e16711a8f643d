"""A daemon as a process: its lock, its log, one run after another, and how it ends."""

import contextlib
import logging
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ptybridge import __version__
from ptybridge.backends import nofile
from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.keeper_start import CONTROL_NAME
from ptybridge.config import Config
from ptybridge.daemon import systemd
from ptybridge.daemon.composition import Daemon, Outcome, keeper_link
from ptybridge.daemon.handover import KEEPER_PROBLEM, Handover, Takeover
from ptybridge.daemon.wayback import WayBack
from ptybridge.errors import Unavailable
from ptybridge.keeper import protocol as keeper_protocol
from ptybridge.logs import set_up_logging
from ptybridge.model import Caller
from ptybridge.rpc import listener
from ptybridge.web import listening as web_listening

log = logging.getLogger(__name__)


def serve(
    config: Config,
    *,
    command: str | list[str] | None = None,
    with_shell: bool = False,
    announce: Callable[[str], None] = lambda line: None,
    ready_fd: int | None = None,
    foreground: bool = True,
    takeover: str | None = None,
    start_keeper: bool = True,
    until_closed: int | None = None,
) -> int:
    """Run a daemon until it is stopped; return the exit code.

    `announce` gets lines for the person who started it. `ready_fd` is closed after one byte is written to it once
    requests are answered; on failure it is closed without. Raises `PtybridgeError` when it cannot start.
    `takeover`: descriptors of an old daemon that hands over (see `daemon.handover`). Without `start_keeper` the
    keeper is a service of its own. `until_closed`: a pipe; when nobody can write to it any more, the daemon stops and
    removes the directory of its socket, which was made for it.
    """
    path = Path(config.paths.socket)
    listener.prepare_directory(path.parent)
    set_up_logging(Path(config.paths.log_file), config.daemon, foreground=foreground)
    taking = Takeover.parse(takeover) if takeover is not None else None
    nofile.raise_own(None if taking is None else taking.children_nofile)
    lock = listener.SocketLock(path, None if taking is None else taking.lock_fd)
    try:
        if taking is not None and not _verify(config, taking):
            return 1
        passed = listener.passed(own=not config.daemon.keeper)
        outcome, status = _run(
            config,
            path,
            lock,
            passed,
            command,
            with_shell,
            announce,
            ready_fd,
            taking,
            start_keeper=start_keeper,
            until_closed=until_closed,
        )
        log.info("pid %d has ended: %s", os.getpid(), outcome.value)
    finally:
        lock.release()
    if until_closed is not None:
        shutil.rmtree(path.parent, ignore_errors=True)
        return 0
    if outcome is Outcome.DETACHED:
        announce("the sessions live on; `ptybridge stop` ends them")
    if outcome is Outcome.RESTART:
        _start_anew(config, passed)
    return status


def _run(
    config: Config,
    path: Path,
    lock: listener.SocketLock,
    passed: listener.Passed,
    command: str | list[str] | None,
    with_shell: bool,
    announce: Callable[[str], None],
    ready_fd: int | None,
    taking: Takeover | None,
    *,
    start_keeper: bool,
    until_closed: int | None,
) -> tuple[Outcome, int]:
    """Return why it has ended, and the exit status that goes with it."""
    if config.web.enabled and taking is None and not passed.web:
        web_listening.check(config.web)  # whoever asked for it should hear why not
    kept = config.daemon.keeper
    if kept:
        listener.check_path(path)
    # The server closes its listener; the service manager's own is needed once more at a restart.
    sock = None if kept else passed.own.dup() if passed.own is not None else listener.bind(path)
    handover = Handover(config, lock.fd, start_keeper=start_keeper)

    async def ready(daemon: Daemon) -> None:
        nonlocal ready_fd, taking
        session_id = None
        if command is not None or with_shell:
            session_id = await daemon.first_session(command)
            announce(f"session {session_id} (main) is running")
        if ready_fd is not None:
            with contextlib.suppress(BrokenPipeError):  # who wanted it has been interrupted; others may be waiting
                os.write(ready_fd, b"\n")
            os.close(ready_fd)
            ready_fd = None
        if taking is not None:
            taking.ready()
            taking = None
        systemd.notify("READY=1", f"STATUS=Serving on {config.paths.socket}")
        announce(f"serving on {config.paths.socket}")
        if daemon.web.base_url:
            user = Caller(principal=f"uid:{os.geteuid()}", connection_id="-")
            # Right into the first session, if there is one.
            announce(f"in a browser: {daemon.web.login_url(user, session_id=session_id)}")
            if daemon.share.public and config.serve.public:
                announce(f"for visitors: {await daemon.share.invite()}")

    web_fds = taking.web_fds if taking is not None else ()
    while True:
        log.info("ptybridge %s starts as pid %d on %s", __version__, os.getpid(), path)
        link = keeper_link(config, start_keeper=start_keeper) if kept else None
        given = [one.dup() for one in passed.web]
        way_back = WayBack(lock, [path, path.with_name(CONTROL_NAME)]) if kept and until_closed is None else None
        outcome, status = trio.run(
            _run_once, config, link, sock, handover, ready, until_closed, web_fds, given, way_back
        )
        web_fds = ()  # they were the daemon's
        if outcome is Outcome.HANDED_OVER and not handover.succeeded():
            log.error("the new daemon has failed; this one takes the sessions back")
            continue
        # A socket of the service manager stays, so that the next client finds it and a daemon is started.
        theirs = passed.own is not None or (link is not None and link.activated)
        if outcome in {Outcome.STOPPED, Outcome.RESTART} and not theirs:
            path.unlink(missing_ok=True)
        return outcome, status


async def _run_once(
    config: Config,
    link: KeeperLink | None,
    sock: socket.socket | None,
    handover: Handover,
    ready: Callable[[Daemon], Awaitable[None]],
    until_closed: int | None,
    web_fds: tuple[int, ...],
    given: list[socket.socket],
    way_back: WayBack | None,
) -> tuple[Outcome, int]:
    if sock is not None:
        sock.setblocking(False)
    daemon = Daemon(config, link, handover, until_closed, web_fds, given, way_back)
    return await daemon.run(sock, lambda: ready(daemon)), daemon.exit_status


def _verify(config: Config, taking: Takeover) -> bool:
    """Look at the keeper without touching anything; everything needed has been imported by now."""
    control = Path(config.paths.socket).parent / "keeper.sock"
    try:
        channel = keeper_protocol.connect(str(control))
        try:
            channel.send({"op": "hello", "id": 0, "proto": list(keeper_protocol.PROTOCOL), "epoch": 0})
            answer = channel.receive()
            if answer is None:
                raise Unavailable("the keeper ended the connection")
            keeper_protocol.raise_error(answer.body)
        finally:
            channel.close()
    except (OSError, keeper_protocol.KeeperError, Unavailable) as exc:
        taking.failed(f"{KEEPER_PROBLEM}: {exc}")
        return False
    return taking.verified()


def _start_anew(config: Config, passed: listener.Passed) -> None:
    """Replace this process by the installed version, with the same settings and the service manager's sockets."""
    arguments = [sys.executable, "-m", "ptybridge", "--socket", config.paths.socket, "serve", "--detached"]
    if not config.daemon.keeper:
        arguments.append("--no-keeper")
    passed.hand_on()
    nofile.lower_own()
    os.execv(sys.executable, arguments)
