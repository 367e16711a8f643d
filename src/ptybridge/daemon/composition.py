"""Builds the objects of a daemon, opens the nurseries in order, and stops them in reverse.

Nothing here decides anything a session or a front end could decide; it is the only place that knows them all.
"""

import enum
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from ptybridge.api.registry import contract
from ptybridge.backends import inprocess
from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.kept import KeptBackend, KeptChild
from ptybridge.config import Config, config_file
from ptybridge.core.approvals import Approvals
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.confirmations import Confirmations
from ptybridge.core.eventlog import EventLog
from ptybridge.core.files.leftovers import Leftovers
from ptybridge.core.files.places import Places, Rules
from ptybridge.core.keyring import Keyring
from ptybridge.core.labels import Labels
from ptybridge.core.limits import Limits
from ptybridge.core.memory import recall
from ptybridge.core.policy import Policy
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions, SessionSpec, Spawn
from ptybridge.core.transcript import Transcript
from ptybridge.daemon import systemd
from ptybridge.daemon.handover import KEEPER_PROBLEM, Handover
from ptybridge.daemon.tmux_sessions import TmuxSessions
from ptybridge.daemon.warmup import Warmup, warm_grammar, warm_screens
from ptybridge.daemon.wayback import WayBack
from ptybridge.errors import Unavailable
from ptybridge.mcp.front import McpFront
from ptybridge.rpc.server import Server
from ptybridge.service.admission import Admissions
from ptybridge.service.app import AppService
from ptybridge.service.approval import ApprovalService
from ptybridge.service.archive import ArchiveService
from ptybridge.service.attach import AttachService
from ptybridge.service.command import CommandService
from ptybridge.service.dispatcher import Dispatcher
from ptybridge.service.exec import ExecService
from ptybridge.service.fetch import FetchService
from ptybridge.service.file import FileService, FileThreads
from ptybridge.service.find import FindService
from ptybridge.service.follow import FollowService
from ptybridge.service.guard import Guard
from ptybridge.service.journal import Journal
from ptybridge.service.key import KeyService
from ptybridge.service.lease import LeaseService
from ptybridge.service.mcp import McpService
from ptybridge.service.node import NodeService
from ptybridge.service.policy import PolicyService
from ptybridge.service.recovery import RecoveryService
from ptybridge.service.redacting import Redaction
from ptybridge.service.secret import SecretService
from ptybridge.service.session import SessionService
from ptybridge.service.share import ShareService
from ptybridge.service.terminal import TerminalService
from ptybridge.service.transfer import TransferService
from ptybridge.service.watch import WatchService
from ptybridge.service.web import WebService
from ptybridge.service.whoami import WhoamiService
from ptybridge.web.auth import Authority
from ptybridge.web.context import Web
from ptybridge.web.front import WebFront

log = logging.getLogger(__name__)

# How often the loop's own delay is measured.
LAG_SECONDS = 1.0
# How long the end waits for what is left to be written of sessions' logs.
LOG_SECONDS = 2.0
EVENT_NUMBER = "event_number"
SCREENS = "screens"
# In the state directory.
KEYS = "keys.json"
UPLOADS = "uploads"
UNFINISHED = "unfinished"
# What has begun may not be locked yet.
UNFINISHED_SECONDS = 60.0
# Beside the socket: what is served to the web.
SERVED = "served.json"
# Event numbers are written down in blocks, so that they go on growing after a crash.
EVENT_BLOCK = 1000


class Outcome(enum.Enum):
    """Why a daemon has ended."""

    STOPPED = "stopped"  # its sessions were ended
    DETACHED = "detached"  # its sessions live on
    HANDED_OVER = "handed over"  # another daemon has them
    RESTART = "restart"  # its sessions were ended, and a new daemon is wanted


class Daemon:
    """One daemon: everything it is made of, and its life."""

    def __init__(
        self,
        config: Config,
        link: KeeperLink | None = None,
        handover: Handover | None = None,
        until_closed: int | None = None,
        web_fds: Sequence[int] = (),
        given: Sequence[socket.socket] = (),
        way_back: WayBack | None = None,
    ) -> None:
        """Build it. Without a link to a keeper its sessions live and die with it.

        `until_closed`: a pipe whose end ends the daemon. `web_fds`: sockets on which the web front goes on listening.
        `given`: sockets that the service manager has for it. `way_back`: for sockets that are not the manager's.
        """
        self._until_closed = until_closed
        self._way_back = way_back
        self.config = config
        self.link = link
        self.handover = handover
        self.events = EventLog()
        backend = KeptBackend(link) if link is not None else None
        self._backend = backend
        self.tmux = TmuxSessions(Path(config.paths.tmux_dir), config.paths.socket, lambda: self.sessions)
        spawners = inprocess.spawners() if backend is None else backend.spawners()
        spawners["tmux"] = self.tmux.spawn
        spawners = {name: self._when_warm(spawn) for name, spawn in spawners.items()}
        self.sessions = Sessions(spawners, self.events, config.daemon, config.session)
        self.policy = Policy(config.policy.rule)
        self.confirmations = Confirmations()
        self.approvals = Approvals(
            lambda: self.sessions.events, self.confirmations, ttl=config.policy.approval_ttl_ms / 1000
        )
        self.keyring = Keyring(Path(config.paths.state_dir) / KEYS)
        by_human = config.policy.confirm == "human"
        guard = Guard(self.policy, self.confirmations, self.approvals if by_human else None)
        registry = contract()
        self._end = trio.Event()
        self._going = trio.Event()
        self._outcome = Outcome.STOPPED
        # What the process ends with when it was stopped.
        self.exit_status = 0
        self._lag_ms = 0.0
        self.node = NodeService(
            self.sessions,
            registry,
            socket_path=config.paths.socket,
            keeper=link,
            stop=lambda: self._finish(Outcome.STOPPED),
            restart=self._restart,
            clients=lambda: self.server.connections,
            lag=lambda: self._lag_ms,
            web_connections=lambda: self.web.connections,
            counted=lambda: (endpoint.calls, endpoint.failures),
        )
        mcp, web = McpService(), WebService()
        note = Path(config.paths.socket).parent / SERVED
        self.share = ShareService(
            self.sessions, self.keyring, config.serve, note, config.web.prefix, lambda status: self._finish_with(status)
        )
        self._leftovers = Leftovers(Path(config.paths.state_dir) / UPLOADS, config.files.keep_partial_ms / 1000)
        self._unfinished = Leftovers(Path(config.paths.state_dir) / UNFINISHED, UNFINISHED_SECONDS)
        places, threads = Places(_file_rules(config)), FileThreads()
        services = [
            RecoveryService(self.sessions, self.tmux),
            SessionService(self.sessions, guard, lambda: self.share.settings),
            TerminalService(self.sessions, guard),
            CommandService(self.sessions, guard),
            FollowService(self.sessions),
            AttachService(self.sessions),
            LeaseService(self.sessions),
            PolicyService(self.policy, guard, registry),
            SecretService(self.sessions, config.secret.command),
            ApprovalService(self.approvals, self.sessions),
            KeyService(self.keyring),
            mcp,
            ExecService(self.sessions, guard),
            FileService(places, threads, self._unfinished),
            FindService(places, threads),
            TransferService(places, threads, self._leftovers),
            ArchiveService(places, threads, self._unfinished),
            WatchService(places, threads),
            FetchService(places, self._unfinished, allowed=config.files.fetch),
            self.node,
            WhoamiService(registry, places),
            web,
            self.share,
            AppService(self.sessions),
        ]
        admissions = Admissions(self.policy, registry, self.sessions)
        endpoint = Dispatcher(registry, services, Journal(self.sessions), Redaction(self.sessions), admissions.check)
        authority = Authority(self.keyring, config.web, gone=self.sessions.presence.gone, shared=self.share.session_id)
        self._mcp = McpFront(endpoint, lambda caller: authority.hold(caller, connection=True))
        mcp.speak = self._mcp.speak
        web_sockets = [socket.socket(fileno=fd) for fd in web_fds]
        self.web = web.front = WebFront(
            Web(config, registry, endpoint, authority, {"/mcp": self._mcp.http}), web_sockets, given
        )
        self.share.front = self.web
        self._warmup = Warmup(
            [(SCREENS, warm_screens), ("MCP", self._mcp.warm), ("the grammar of shells", warm_grammar)]
        )
        self.server = Server(endpoint, config.daemon, gone=self.sessions.presence.gone)

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self, sock: socket.socket | None, ready: Callable[[], Awaitable[None]]) -> Outcome:
        """Serve until the end; `ready` is awaited once requests are answered. Without `sock` the keeper has it."""
        async with trio.open_nursery() as outer:
            await outer.start(self.tmux.run)
            await outer.start(self.sessions.run)
            await outer.start(self.keyring.run)
            await outer.start(self._leftovers.run)
            await outer.start(self._unfinished.run)
            await outer.start(self.share.run)
            outer.start_soon(self._watch_signals)
            outer.start_soon(self._measure_lag)
            if self.handover is not None:
                outer.start_soon(self._watch_handover, self.handover)
            if self._until_closed is not None:
                outer.start_soon(self._watch_owner, self._until_closed)
            outer.start_soon(systemd.feed_watchdog)
            async with trio.open_nursery() as front_ends:
                if self.link is not None:
                    sock = await self._take_up(self.link, outer, front_ends)
                await self.tmux.restore_own()
                assert sock is not None
                await front_ends.start(self.server.serve, sock)
                await front_ends.start(self._mcp.run)
                self.share.remember()
                await front_ends.start(self.web.run)
                await ready()
                await outer.start(self._warmup.run)
                gc.freeze()  # what start-up made lives as long as the process
                await self._end.wait()
                if self._outcome in {Outcome.STOPPED, Outcome.DETACHED}:
                    systemd.notify("STOPPING=1")
                await self._wind_up()
                front_ends.cancel_scope.cancel()
            if self.link is not None:
                self.link.close()
            outer.cancel_scope.cancel()
        return self._outcome

    async def _take_up(self, link: KeeperLink, outer: trio.Nursery, front_ends: trio.Nursery) -> socket.socket:
        """Become the keeper's daemon and restore what it has kept."""
        sock, kept = await link.connect()
        sock.setblocking(False)
        await outer.start(link.run)
        outer.start_soon(self._watch_superseded, link)

        def serve_too(listener: socket.socket) -> None:
            listener.setblocking(False)
            self.server.retire_listeners()
            front_ends.start_soon(self.server.serve, listener)
            self._save_event_number()

        link.on_listener = serve_too
        if self._way_back is not None and not link.activated:
            outer.start_soon(self._way_back.run, link.rebind, self._end)
        assert self._backend is not None
        notes, held = await self._backend.hold(kept)
        self.events = self.sessions.events = EventLog(first=int(notes.get(0, {}).get(EVENT_NUMBER, 0)) + 1)
        self.events.on_block = self._save_event_number
        self.events.block = EVENT_BLOCK
        self._save_event_number()
        for sid, (child, transcript) in held.items():
            try:
                await self._restore(child, transcript, notes.get(sid, {}))
            except Exception:
                # It stays in the keeper's hands; a daemon of another version may be able to read it.
                log.exception("session %d of the keeper cannot be restored; the others are", sid)
        return sock

    async def _restore(self, child: KeptChild, transcript: Transcript, notes: dict[str, Any]) -> None:
        remembered = recall(notes)
        if remembered is not None:
            await self.sessions.restore(child, transcript, remembered)
            return
        # The daemon died between the start of the program and its first note: nobody was told of this session.
        log.warning("session %d of the keeper has no record; it is ended", child.sid)
        child.discard()
        await child.aclose()

    async def _wind_up(self) -> None:
        if self._outcome in {Outcome.STOPPED, Outcome.RESTART}:
            # Sessions end first, while clients still hear how; then the front ends go.
            await self.sessions.stop(self.config.daemon.stop_timeout_ms / 1000 - 1, self._survives)
            if self._outcome is Outcome.STOPPED:
                self.events.close()
            for session in self.sessions.all():
                if (self.link is not None or session.child.backend == "tmux") and not self._survives(session):
                    await self.sessions.close(session, 0)
            if self.link is not None:
                self.link.stop_keeper()
            self._mcp.close()
            if self._outcome is Outcome.STOPPED:
                self.share.forget()
            await self.web.close(for_good=self._outcome is Outcome.STOPPED)
            with trio.move_on_after(0.5):
                await self.server.drain()
        else:
            await self.sessions.leave()
            self._mcp.close()
            await self.web.close(for_good=False)
        await self.sessions.logs.end(LOG_SECONDS)

    def _when_warm(self, spawn: Spawn) -> Spawn:
        """Let who wants a screen while the emulator is being loaded wait without making everybody else wait."""

        async def spawn_when_warm(spec: ChildSpec) -> tuple[Child, Transcript]:
            await self._warmup.wait(SCREENS)
            return await spawn(spec)

        return spawn_when_warm

    def _survives(self, session: Session) -> bool:
        """Without a keeper sessions end with the daemon, but those in tmux that can be recovered live on."""
        if self.link is not None or session.child.backend != "tmux" or session.state != "running":
            return False
        named = session.labels.name is not None and session.labels.owner is not None
        return named or self._outcome is Outcome.RESTART

    def _finish_with(self, status: int) -> None:
        self.exit_status = status
        self._finish(Outcome.STOPPED)

    def _finish(self, outcome: Outcome) -> None:
        if not self._end.is_set():
            self._outcome = outcome
            self._end.set()

    def _save_event_number(self) -> None:
        if self.link is not None:
            self.link.post("note", sid=0, key=EVENT_NUMBER, data=self.events.newest + EVENT_BLOCK)

    # -- restart --------------------------------------------------------------------------------------------

    async def _restart(self) -> None:
        """Prepare a restart; raises `Unavailable` when the new daemon does not come up, and then nothing changes."""
        await trio.lowlevel.checkpoint()
        if self.link is None or self.handover is None:
            self._finish(Outcome.RESTART)
            return
        problem = await self.handover.prepare(self.web.filenos())
        if problem is not None:
            raise Unavailable(
                f"the new daemon does not start, so this one goes on: {problem}",
                hint="see the daemon's log",
                blocked_by="keeper" if problem.startswith(KEEPER_PROBLEM) else "daemon",
            )
        # Who connects from here on waits for the new daemon.
        self.server.stop_accepting()
        with trio.CancelScope(shield=True):
            await self.sessions.hold_input()
        if self.handover.go():
            self._going.set()
        else:
            self.sessions.release_input()
            self.server.resume_accepting()
            raise Unavailable("the new daemon has ended before it took over, so this one goes on", blocked_by="daemon")

    async def _watch_handover(self, handover: Handover) -> None:
        """Go on when the new daemon dies before it has taken anything; if it dies later, we have been superseded."""
        while True:
            await self._going.wait()
            self._going = trio.Event()
            await handover.wait_failed()
            log.error("the new daemon has failed; this one goes on")
            self.sessions.release_input()
            self.server.resume_accepting()

    async def _watch_superseded(self, link: KeeperLink) -> None:
        await link.superseded.wait()
        self._finish(Outcome.HANDED_OVER)

    # -- watching -------------------------------------------------------------------------------------------

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                log.info("%s: ending", signal.Signals(number).name)
                # What the keeper keeps is not ended with the daemon; `ptybridge stop` does that.
                self._finish(Outcome.STOPPED if self.link is None else Outcome.DETACHED)

    async def _watch_owner(self, fd: int) -> None:
        """Stop when whoever started us is gone, however it went: nobody ever writes to this pipe."""
        await trio.lowlevel.wait_readable(fd)
        log.info("the process this daemon was for has gone: ending")
        self._finish(Outcome.STOPPED)

    async def _measure_lag(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(LAG_SECONDS)
            self._lag_ms = max(0.0, (trio.current_time() - before - LAG_SECONDS) * 1000)

    async def first_session(self, command: str | list[str] | None) -> str:
        """Create the session `serve` was asked for, or find it running; return its id."""
        for session in self.sessions.running():
            if session.labels.name == "main" and session.labels.owner is None:
                return session.session_id
        spec = SessionSpec(command=command, cwd=os.getcwd(), caller_env=dict(os.environ))
        session = await self.sessions.create(spec, Labels(name="main"), Limits(), f"uid:{os.geteuid()}")
        return session.session_id


def _file_rules(config: Config) -> Rules:
    """Return what callers other than the user may touch; nothing of ours is theirs."""
    files, paths = config.files, config.paths
    own = [
        paths.state_dir,
        paths.runtime_dir,
        str(Path(paths.socket).parent),
        str(Path(config_file(os.environ)).parent),
    ]
    return Rules(files.roots, files.deny, hard_links=files.hard_links, own=own)


def keeper_link(config: Config, *, start_keeper: bool = True) -> KeeperLink:
    """Return the link to this configuration's keeper, not yet connected.

    Without `start_keeper` somebody else, such as systemd, starts it, as soon as its socket is connected to.
    """
    path = Path(config.paths.socket)
    return KeeperLink(path.parent, path, Path(config.paths.state_dir) / "keeper.log", may_start=start_keeper)
