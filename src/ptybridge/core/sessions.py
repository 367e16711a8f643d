"""All sessions of a daemon: creating, restoring, finding and ending them.

`run` is the supervisor: each session runs in a task of its own whose failure is logged and ends that session alone.
"""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import trio

from ptybridge import config
from ptybridge.core import closing, environment
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.commands import SavedCommands
from ptybridge.core.eventlog import EventLog
from ptybridge.core.housekeeping import Housekeeping
from ptybridge.core.integration import Integration, prepare
from ptybridge.core.labels import Labels, Names, check_labels
from ptybridge.core.leases import Presence
from ptybridge.core.limits import Limits
from ptybridge.core.memory import Remembered, SavedLog, SavedScreen
from ptybridge.core.redaction import Secrets
from ptybridge.core.saver import restore_into
from ptybridge.core.screen import Screen
from ptybridge.core.session import Session
from ptybridge.core.sessionlogs import SessionLogs
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InvalidParams, LimitReached, SessionNotFound, ShuttingDown
from ptybridge.model import Closed, Created, SizePolicy, WindowSize

log = logging.getLogger(__name__)

# Without 0/o, 1/l/i and vowels: ids are read aloud, typed, and must not spell words.
ID_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
ID_LENGTH = 8
TICK_SECONDS = 0.25
SLOW_TICK_SECONDS = 1.0

Spawn = Callable[[ChildSpec], Awaitable[tuple[Child, Transcript]]]


class SessionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run and how."""

    command: str | list[str] | None = None
    backend: str = "pty"
    cwd: str | None = None
    env: dict[str, str | None] = {}
    caller_env: dict[str, str] | None = None
    size: WindowSize = WindowSize(30, 120)
    policy: SizePolicy = "latest"
    max_output_bytes: int = 1 << 20
    echo: bool = True
    shell_integration: Integration = "auto"
    log_dir: str | None = None
    facts: dict[str, Any] = {}  # more that its log says of its beginning


class Sessions:
    """The registry. `spawners` maps a backend's name to what makes its children."""

    def __init__(
        self, spawners: Mapping[str, Spawn], events: EventLog, limits: config.Daemon, defaults: config.Session
    ) -> None:
        self.secrets = Secrets()
        self.logs = SessionLogs(defaults, self.secrets)
        self.events = events
        self.limits = limits
        self.presence = Presence()
        self._scrollback_lines = defaults.scrollback_lines
        self._spawners = spawners
        self._by_id: dict[str, Session] = {}
        self._names = Names(self._runs)
        self._threads = trio.CapacityLimiter(2)  # screen parsing: more threads than cores only wait for each other
        self._nursery: trio.Nursery | None = None
        self._starting = 0
        self._stopping = False
        self._housekeeping = Housekeeping(self)

    @property
    def events(self) -> EventLog:
        """What happens to sessions."""
        return self._events

    @events.setter
    def events(self, events: EventLog) -> None:
        self._events = events
        events.on_event = self.logs.heard

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> list[Session]:
        """Return the sessions, oldest first."""
        return list(self._by_id.values())

    def running(self) -> list[Session]:
        """Return the sessions whose child runs."""
        return [one for one in self._by_id.values() if one.state == "running"]

    def get(self, session_id: str) -> Session:
        """Return the session with this id. Raises `SessionNotFound`."""
        session = self._by_id.get(session_id)
        if session is None:
            raise SessionNotFound(f"there is no session {session_id[:64]!r}")
        return session

    def workspace_of(self, session: Session) -> list[Session]:
        """Return the sessions of the same workspace and owner, this one among them; without workspace it alone."""
        return self.workspace_members(session.labels) if session.labels.workspace is not None else [session]

    def workspace_members(self, labels: Labels) -> list[Session]:
        """Return the sessions of the workspace that a session with these labels is in; without workspace none."""
        if labels.workspace is None:
            return []
        where = (labels.owner, labels.workspace)
        return [one for one in self._by_id.values() if (one.labels.owner, one.labels.workspace) == where]

    # -- creating -------------------------------------------------------------------------------------------

    async def create(self, spec: SessionSpec, labels: Labels, limits: Limits, created_by: str) -> Session:
        """Start a child and supervise it. Nothing is left behind when it fails."""
        if self._stopping or self._nursery is None:
            raise ShuttingDown("the daemon is shutting down and starts nothing")
        check_labels(labels)
        if len(self.running()) + self._starting >= self.limits.max_sessions:
            raise LimitReached(
                f"{self.limits.max_sessions} sessions are running, which is the limit",
                hint="close sessions, or raise max_sessions",
            )
        if spec.max_output_bytes > self.limits.max_output_bytes:
            raise InvalidParams(f"max_output_bytes may be at most {self.limits.max_output_bytes} here")
        session_id = self._new_id()
        env = environment.child_environment(
            spec.caller_env, spec.env, session_id=session_id, terminal=spec.backend != "pipes"
        )
        argv = environment.resolve_command(spec.command, env)
        marked = prepare(argv, env) if spec.shell_integration == "auto" and spec.backend == "pty" else None
        child_spec = ChildSpec(
            argv=marked.argv if marked is not None else argv,
            cwd=environment.resolve_cwd(spec.cwd, None, env.get("HOME")),
            env=marked.env if marked is not None else env,
            size=spec.size,
            echo=spec.echo,
            capacity=spec.max_output_bytes,
            session_id=session_id,
            name=labels.name,
            owner=labels.owner,
            workspace=labels.workspace,
        )
        self._starting += 1
        log_directory = None
        try:
            self._names.claim(labels, session_id)
            log_directory = await self.logs.make_directory(session_id, spec.log_dir)
            child, transcript = await self._spawners[spec.backend](child_spec)
        except BaseException:
            self._names.release(labels, session_id)
            if log_directory is not None:
                os.rmdir(log_directory)
            raise
        finally:
            self._starting -= 1
        nonce = marked.nonce if marked is not None else None
        return await self._start(
            session_id, child, transcript, child_spec, spec, labels, limits, created_by, argv, nonce, log_directory
        )

    async def _start(
        self,
        session_id: str,
        child: Child,
        transcript: Transcript,
        child_spec: ChildSpec,
        spec: SessionSpec,
        labels: Labels,
        limits: Limits,
        created_by: str,
        command: list[str],
        nonce: str | None,
        log_directory: str | None,
    ) -> Session:
        session = self._build(
            session_id,
            child,
            transcript,
            self._new_screen(spec.size, spec.backend),
            command=command,
            cwd=child_spec.cwd,
            policy=spec.policy,
            labels=labels,
            limits=limits,
            created_by=created_by,
            nonce=nonce,
        )
        if log_directory is not None:
            journal = self.logs.start(self._nursery, session, SavedLog(directory=log_directory))
            journal.spawned(session.facts() | spec.facts)
        self.events.publish(Created, session_id, name=labels.name, command=session.command, owner=labels.owner)
        session.saver.record()
        session.saver.commands()
        await self._run(session)
        if child.notebook is not None:
            await child.notebook.settle()
        return session

    async def restore(self, child: Child, transcript: Transcript, remembered: Remembered) -> Session:
        """Take up a session that an earlier daemon has created, with its screen as it was to the last byte."""
        record, saved = remembered.record, remembered.screen
        if saved is not None:
            screen = saved.restore(self._scrollback_lines)
        else:
            screen = self._new_screen(WindowSize(*record.first_size), child.backend)
            screen.offset = transcript.start
        resizes = saved.resizes if saved is not None else record.first_resize
        session = self._build(
            record.session_id,
            child,
            transcript,
            screen,
            command=record.command,
            cwd=record.cwd,
            policy=record.policy,
            labels=record.labels(),
            limits=record.limits(),
            created_by=record.created_by,
            saved_screen=saved,
            saved_commands=remembered.commands,
        )
        session.sizes.count = resizes
        # The record may be older than the saved screen, which then has some of its changes behind it.
        for offset, rows, cols in record.sizes[max(0, resizes - record.first_resize) :]:
            session.restore_size(offset, WindowSize(rows, cols))
        restore_into(session, remembered)
        if session.exited_at_ms is None:
            self._names.restore(session.labels, session.session_id)
        session.rebuild()
        if remembered.log is not None:
            self.logs.start(self._nursery, session, remembered.log)
        await self._run(session)
        return session

    def _build(
        self,
        session_id: str,
        child: Child,
        transcript: Transcript,
        screen: Screen,
        *,
        command: list[str],
        cwd: str,
        policy: SizePolicy,
        labels: Labels,
        limits: Limits,
        created_by: str,
        saved_screen: SavedScreen | None = None,
        nonce: str | None = None,
        saved_commands: SavedCommands | None = None,
    ) -> Session:
        session = Session(
            session_id,
            child=child,
            transcript=transcript,
            screen=screen,
            command=command,
            cwd=cwd,
            size=screen.size,
            policy=policy,
            labels=labels,
            limits=limits,
            created_by=created_by,
            events=self.events,
            threads=self._threads,
            max_input_bytes=lambda: self.limits.max_input_bytes,
            saved_screen=saved_screen,
            nonce=nonce,
            saved_commands=saved_commands,
            presence=self.presence,
        )
        session.input.set_rate(limits.input_rate)
        self._by_id[session_id] = session
        return session

    async def _run(self, session: Session) -> None:
        assert self._nursery is not None
        # A caller cancelled right here must not leave a child without its supervisor.
        with trio.CancelScope(shield=True):
            await self._nursery.start(self._supervise, session)

    def _new_screen(self, size: WindowSize, backend: str) -> Screen:
        screen = Screen(size, scrollback_lines=self._scrollback_lines)
        if backend == "pipes":
            # No line discipline adds carriage returns, so the screen does: newline mode, ECMA-48 7.2.8 LNM.
            screen.feed(b"\x1b[20h")
            screen.offset = 0
        return screen

    async def _supervise(self, session: Session, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128
        try:
            await session.run(task_status=task_status)
        except Exception:
            log.exception("session %s failed; the other sessions go on", session.session_id)

    def _runs(self, session_id: str) -> bool | None:
        session = self._by_id.get(session_id)
        return session.state == "running" if session is not None else None

    def _new_id(self) -> str:
        while True:
            session_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
            if session_id not in self._by_id and not session_id.isdigit():
                return session_id

    # -- labels ---------------------------------------------------------------------------------------------

    def relabel(self, session: Session, labels: Labels) -> None:
        """Give a session other labels. Raises `NameTaken` and changes nothing when the name is not free."""
        check_labels(labels)
        if session.state == "running":
            self._names.claim(labels, session.session_id)
        old, session.labels = session.labels, labels
        if (old.owner, old.name) != (labels.owner, labels.name):
            self._names.release(old, session.session_id)

    # -- ending ---------------------------------------------------------------------------------------------

    async def close(self, session: Session, grace: float, *, escaped: bool | None = None) -> closing.Ended:
        """End a session's processes and forget it; `escaped` as for `closing.end`."""
        ended = await closing.end(session, "closed", grace, escaped=escaped)
        await self.forget(session)
        return ended

    async def forget(self, session: Session) -> None:
        """Forget a session without a signal to anybody; what its program has left in the background runs on."""
        if self._by_id.pop(session.session_id, None) is None:
            return  # somebody else closed it at the same time
        self._names.release(session.labels, session.session_id)
        self._housekeeping.forget(session)
        await session.forget()
        self.secrets.forget(session.session_id)
        self.events.publish(Closed, session.session_id)

    async def stop(self, within: float, survives: Callable[[Session], bool] = lambda session: False) -> None:
        """End all sessions but those that are to survive us `within` so many seconds, and start no more."""
        self._stopping = True
        for session in self.all():
            if survives(session):
                await session.leave()
        with trio.move_on_after(within):
            async with trio.open_nursery() as nursery:
                for session in self.all():
                    # What agents' programs have left behind when they exited is ended with us, too.
                    if not survives(session) and (session.state == "running" or session.labels.profile is not None):
                        nursery.start_soon(closing.end, session, "closed", within / 4)

    async def leave(self) -> None:
        """Stop supervising all sessions and start no more; what is kept lives on."""
        self._stopping = True
        for session in self.all():
            await session.leave()

    async def hold_input(self) -> None:
        """Let what programs have not read yet wait for the daemon that is about to take over."""
        for session in self.all():
            await session.input.hold(session.saver.input)

    def release_input(self) -> None:
        """Go on with it: no other daemon has taken over."""
        for session in self.all():
            session.saver.forget_input()
            session.input.release()

    # -- supervision and housekeeping -----------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                active = any(trio.current_time() - one.active_at < 2 for one in self._by_id.values())
                await trio.sleep(TICK_SECONDS if active else SLOW_TICK_SECONDS)
                self._housekeeping.tick(nursery)
