"""All sessions of a daemon: creating, finding, closing, and the housekeeping of limits and retention.

`run` is the supervisor: each session runs in a task of its own whose failure is logged and ends that session alone.
"""

import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

from ptybridge import config
from ptybridge.core import closing, environment, procinfo
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.commands import SavedCommands
from ptybridge.core.eventlog import EventLog, now_ms
from ptybridge.core.integration import Integration, prepare
from ptybridge.core.leases import Presence
from ptybridge.core.memory import Remembered, SavedLog, SavedScreen
from ptybridge.core.redaction import Secrets
from ptybridge.core.saver import restore_into
from ptybridge.core.screen import Screen
from ptybridge.core.session import Labels, Limits, Session
from ptybridge.core.sessionlogs import SessionLogs
from ptybridge.core.text import validate_label
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InvalidParams, LimitReached, NameTaken, SessionNotFound, ShuttingDown
from ptybridge.model import Closed, Created, ExitReason, Idle, SizePolicy, WaitingForInput, WindowSize

log = logging.getLogger(__name__)

# Without 0/o, 1/l/i and vowels: ids are read aloud, typed, and must not spell words.
ID_ALPHABET = "bcdfghjkmnpqrstvwxz23456789"
ID_LENGTH = 8
# "Waiting for input" needs this much silence; see docs/architecture.md.
WAITING_SECONDS = 0.5
# One `idle` event per silence of this length.
IDLE_EVENT_SECONDS = 5.0
# A snapshot that was taken in the middle of a flood is completed after this much silence.
QUIET_SECONDS = 1.0
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
        self._names: dict[tuple[str | None, str], str] = {}
        self._threads = trio.CapacityLimiter(2)  # screen parsing: more threads than cores only wait for each other
        self._nursery: trio.Nursery | None = None
        self._starting = 0
        self._stopping = False
        self._idle_told: dict[str, float] = {}
        self._waiting_checked: dict[str, tuple[float, float]] = {}

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
        self._check_labels(labels)
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
            self._claim_name(labels, session_id)
            log_directory = await self.logs.make_directory(session_id, spec.log_dir)
            child, transcript = await self._spawners[spec.backend](child_spec)
        except BaseException:
            self._release_name(labels, session_id)
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
            self.logs.start(self._nursery, session, SavedLog(directory=log_directory)).spawned(session.facts())
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
            labels=Labels(
                name=record.name,
                owner=record.owner,
                tags=record.tags,
                access=record.access,
                profile=record.profile,
                workspace=record.workspace,
            ),
            limits=Limits(
                overflow=record.overflow,
                idle_timeout=record.idle_timeout,
                max_runtime=record.max_runtime,
                linger=record.linger,
                input_rate=record.input_rate,
                output_rate=record.output_rate,
                keep=record.keep,
            ),
            created_by=record.created_by,
            saved_screen=saved,
            saved_commands=remembered.commands,
        )
        session.sizes.count = resizes
        # The record may be older than the saved screen, which then has some of its changes behind it.
        for offset, rows, cols in record.sizes[max(0, resizes - record.first_resize) :]:
            session.restore_size(offset, WindowSize(rows, cols))
        restore_into(session, remembered)
        if session.labels.name is not None and session.exited_at_ms is None:
            self._names[session.labels.owner, session.labels.name] = session.session_id
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

    def _new_id(self) -> str:
        while True:
            session_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
            if session_id not in self._by_id and not session_id.isdigit():
                return session_id

    # -- labels ---------------------------------------------------------------------------------------------

    def _check_labels(self, labels: Labels) -> None:
        for what, value in (
            ("name", labels.name),
            ("owner", labels.owner),
            ("workspace", labels.workspace),
            *(("tag", tag) for tag in labels.tags),
        ):
            if value is not None:
                validate_label(value, what)

    def _claim_name(self, labels: Labels, session_id: str) -> None:
        if labels.name is None:
            return
        key = (labels.owner, labels.name)
        holder = self._by_id.get(self._names.get(key, ""))
        claimed_by_starting = key in self._names and holder is None
        if claimed_by_starting or (holder is not None and holder.state == "running"):
            if self._names[key] == session_id:
                return
            raise NameTaken(
                f"the name {labels.name!r} belongs to running session {self._names[key]}",
                hint="choose another name, or close that session",
            )
        self._names[key] = session_id

    def _release_name(self, labels: Labels, session_id: str) -> None:
        if labels.name is not None and self._names.get((labels.owner, labels.name)) == session_id:
            del self._names[labels.owner, labels.name]

    def relabel(self, session: Session, labels: Labels) -> None:
        """Give a session other labels. Raises `NameTaken` and changes nothing when the name is not free."""
        self._check_labels(labels)
        if session.state == "running":
            self._claim_name(labels, session.session_id)
        old, session.labels = session.labels, labels
        if (old.owner, old.name) != (labels.owner, labels.name):
            self._release_name(old, session.session_id)

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
        self._release_name(session.labels, session.session_id)
        self._idle_told.pop(session.session_id, None)
        self._waiting_checked.pop(session.session_id, None)
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

    # -- supervision and housekeeping -----------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            while True:
                active = any(trio.current_time() - one.active_at < 2 for one in self._by_id.values())
                await trio.sleep(TICK_SECONDS if active else SLOW_TICK_SECONDS)
                self._tick(nursery)

    def _tick(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        for session in self.running():
            if session.log.ring.stalled:
                # Normally who moves a floor says so; a daemon that was just taking its leave may have been the last.
                session.log.floor_moved()
            session.polling.forget_old(now)
            session.saver.keep_count()
            silence = now - session.active_at
            self._tell_idle(session, silence)
            self._check_waiting(session, now)
            if silence >= QUIET_SECONDS:
                session.saver.quiet()
            limits = session.limits
            if session.ending is not None:
                continue
            if limits.max_runtime is not None and now - session.started_at >= limits.max_runtime:
                session.ending = "timeout"
                nursery.start_soon(self._end_quietly, session, "timeout")
            elif limits.idle_timeout is not None and self._unused(session, now) >= limits.idle_timeout:
                session.ending = "idle"
                nursery.start_soon(self._end_quietly, session, "idle")
        self._forget_old(nursery)

    def _unused(self, session: Session, now: float) -> float:
        """For how long nobody has used the session; 0 while somebody is attached or has its lease."""
        used = len(session.attachments) or session.lease.holder is not None
        return 0.0 if used else now - session.used_at

    async def _end_quietly(self, session: Session, reason: ExitReason) -> None:
        await closing.end(session, reason, 1.5)

    def _tell_idle(self, session: Session, silence: float) -> None:
        if silence >= IDLE_EVENT_SECONDS and self._idle_told.get(session.session_id) != session.active_at:
            self._idle_told[session.session_id] = session.active_at
            self.events.publish(Idle, session.session_id, idle_ms=int(silence * 1000))

    def _check_waiting(self, session: Session, now: float) -> None:
        """Look whether the program waits for input, ever less often while nothing changes."""
        since = session.active_at
        silence = now - since
        if silence < WAITING_SECONDS:
            session.waiting_for_input = False
            return
        last_since, last_at = self._waiting_checked.get(session.session_id, (0.0, 0.0))
        if last_since == since and now - last_at < min(30.0, (last_at - since) / 2):
            return
        self._waiting_checked[session.session_id] = (since, now)
        was = session.waiting_for_input
        session.waiting_for_input = self.waits_for_input(session)
        if session.waiting_for_input and not was:
            self.events.publish(WaitingForInput, session.session_id)

    def waits_for_input(self, session: Session) -> bool:
        """Tell whether the foreground process is blocked reading the terminal after half a second of silence."""
        if session.state != "running" or trio.current_time() - session.active_at < WAITING_SECONDS:
            return False
        session.commands.catch_up()
        if session.commands.at_prompt:
            return False  # a shell at its prompt has done what it was told
        pgid = session.child.foreground_pgid()
        return pgid is not None and bool(procinfo.is_blocked_reading_terminal(pgid, session.child.pid))

    def _forget_old(self, nursery: trio.Nursery) -> None:
        exited = sorted(
            (one for one in self._by_id.values() if one.state == "exited"), key=lambda one: one.exited_at_ms or 0
        )
        surplus = len(exited) - self.limits.max_exited_sessions
        for at, session in enumerate(exited):
            old = at < surplus or self._kept_long_enough(session)
            if old and len(session.attachments) == 0 and session.output_closed:
                nursery.start_soon(self.close, session, 1.5)

    def _kept_long_enough(self, session: Session) -> bool:
        since_exit = (now_ms() - (session.exited_at_ms or 0)) / 1000
        if session.limits.keep is None:
            return since_exit * 1000 > self.limits.exited_retention_ms
        unused = trio.current_time() - session.polling.read_at
        return min(since_exit, unused) > session.limits.keep
