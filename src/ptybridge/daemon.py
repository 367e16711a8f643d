"""The composition root: builds the objects, opens the nurseries in order, and stops them in reverse.

Nothing here decides anything a session or a front end could decide; it is the only place that knows them all.
"""

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ptybridge import __version__
from ptybridge.api.registry import contract
from ptybridge.backends import inprocess
from ptybridge.config import Config
from ptybridge.core.eventlog import EventLog
from ptybridge.core.session import Labels, Limits
from ptybridge.core.sessions import Sessions, SessionSpec
from ptybridge.logs import set_up_logging
from ptybridge.rpc import listener
from ptybridge.rpc.server import Server
from ptybridge.service.attach import AttachService
from ptybridge.service.dispatcher import Dispatcher
from ptybridge.service.follow import FollowService
from ptybridge.service.node import NodeService
from ptybridge.service.session import SessionService
from ptybridge.service.terminal import TerminalService

log = logging.getLogger(__name__)

# How often the loop's own delay is measured.
LAG_SECONDS = 1.0


class Daemon:
    """One daemon: everything it is made of, and its life."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.restart_wanted = False
        self.events = EventLog()
        self.sessions = Sessions(inprocess.spawners(), self.events, config.daemon, config.session.scrollback_lines)
        registry = contract()
        self._stop = trio.Event()
        self._lag_ms = 0.0
        self.node = NodeService(
            self.sessions,
            registry,
            socket_path=config.paths.socket,
            keeper=False,
            stop=self.stop,
            restart=self.restart,
            clients=lambda: self.server.connections,
            lag=lambda: self._lag_ms,
        )
        self.dispatcher = Dispatcher(
            registry,
            [
                SessionService(self.sessions),
                TerminalService(self.sessions),
                FollowService(self.sessions),
                AttachService(self.sessions),
                self.node,
            ],
        )
        self.server = Server(self.dispatcher, config.daemon)

    def stop(self) -> None:
        """Begin the end; `run` returns when all is stopped."""
        self._stop.set()

    def restart(self) -> None:
        """Stop, and let `serve` start the installed version in this process's place."""
        self.restart_wanted = True
        self._stop.set()

    async def run(self, sock: socket.socket, ready: Callable[[], Awaitable[None]]) -> None:
        """Serve until `stop`. `ready` is awaited once requests are answered."""
        async with trio.open_nursery() as outer:
            await outer.start(self.sessions.run)
            outer.start_soon(self._watch_signals)
            outer.start_soon(self._measure_lag)
            async with trio.open_nursery() as front_ends:
                await front_ends.start(self.server.serve, sock)
                await ready()
                gc.freeze()  # what start-up made lives as long as the process
                await self._stop.wait()
                # Sessions end first, while clients still hear how; then the front ends go.
                await self.sessions.stop(self.config.daemon.stop_timeout_ms / 1000 - 1)
                with trio.move_on_after(0.5):
                    await self.server.drain()
                front_ends.cancel_scope.cancel()
            outer.cancel_scope.cancel()

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                log.info("%s: stopping", signal.Signals(number).name)
                self.stop()

    async def _measure_lag(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(LAG_SECONDS)
            self._lag_ms = max(0.0, (trio.current_time() - before - LAG_SECONDS) * 1000)

    async def first_session(self, command: str | list[str] | None) -> str:
        """Create the session `serve` was asked for; return its id."""
        spec = SessionSpec(command=command, cwd=os.getcwd(), caller_env=dict(os.environ))
        labels = Labels(name="main")
        session = await self.sessions.create(spec, labels, Limits(), f"uid:{os.geteuid()}")
        return session.session_id


def serve(
    config: Config,
    *,
    command: str | list[str] | None = None,
    with_shell: bool = False,
    announce: Callable[[str], None] = lambda line: None,
    ready_fd: int | None = None,
    foreground: bool = True,
) -> int:
    """Run a daemon until it is stopped; return the exit code.

    `announce` gets lines for the person who started it. `ready_fd` is closed after one byte is written to it once
    requests are answered; on failure it is closed without. Raises `PtybridgeError` when it cannot start.
    """
    path = Path(config.paths.socket)
    listener.prepare_directory(path.parent)
    set_up_logging(Path(config.paths.log_file), config.daemon, foreground=foreground)
    lock = listener.SocketLock(path)
    restart = False
    try:
        sock = listener.activated() or listener.bind(path)
        sock.setblocking(False)
        log.info("ptybridge %s starts as pid %d on %s", __version__, os.getpid(), path)
        restart = trio.run(_serve, config, sock, command, with_shell, announce, ready_fd)
        log.info("pid %d has stopped", os.getpid())
        if not restart:
            path.unlink(missing_ok=True)
    finally:
        lock.release()
    if restart:
        _start_anew(config)
    return 0


async def _serve(
    config: Config,
    sock: socket.socket,
    command: str | list[str] | None,
    with_shell: bool,
    announce: Callable[[str], None],
    ready_fd: int | None,
) -> bool:
    daemon = Daemon(config)

    async def ready() -> None:
        if command is not None or with_shell:
            session_id = await daemon.first_session(command)
            announce(f"session {session_id} (main) is running")
        if ready_fd is not None:
            os.write(ready_fd, b"\n")
            os.close(ready_fd)
        announce(f"serving on {config.paths.socket}")

    await daemon.run(sock, ready)
    return daemon.restart_wanted


def _start_anew(config: Config) -> None:
    """Replace this process by the installed version, with the same settings."""
    arguments = [sys.executable, "-m", "ptybridge", "serve", "--detached", "--socket", config.paths.socket]
    os.execv(sys.executable, arguments)
