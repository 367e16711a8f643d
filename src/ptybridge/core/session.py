"""A session: a child, its transcript and screen, its input, and who is on it — supervised by one nursery.

How it works: `run` opens the session's nursery. In it the child's pump writes the transcript, the input queue writes
the child's terminal, the screen follows the transcript, and the body waits for the end. "The child exited" and "its
output is closed" are separate facts: the exit is published once both are known, or `linger` after the exit when
something else still holds the terminal; a later event then tells of the closing.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

import trio

from ptybridge.core.child import Child
from ptybridge.core.commands import CommandLog, SavedCommands
from ptybridge.core.emulator import BellRang, Notified, ScreenEvent, TitleChanged
from ptybridge.core.eventlog import EventLog, now_ms
from ptybridge.core.follower import ScreenFollower
from ptybridge.core.input import InputQueue
from ptybridge.core.labels import Labels
from ptybridge.core.leases import Lease, Presence
from ptybridge.core.limits import Limits
from ptybridge.core.memory import SavedScreen
from ptybridge.core.polling import PollingReaders
from ptybridge.core.ratelimit import OutputDelay
from ptybridge.core.returning import Returning
from ptybridge.core.saver import Saver
from ptybridge.core.screen import Screen
from ptybridge.core.sessionlog import SessionLog
from ptybridge.core.signals import signal_number
from ptybridge.core.transcript import Transcript
from ptybridge.core.winsize import Attachment, Attachments, SizeHistory
from ptybridge.errors import PtybridgeError, SessionExited
from ptybridge.model import (
    Attached,
    Bell,
    Detached,
    Exited,
    ExitReason,
    ExitStatus,
    Notification,
    OutputClosed,
    Resized,
    SessionState,
    SizePolicy,
    Title,
    WindowSize,
)

log = logging.getLogger(__name__)

# Positions of readers that never come back must not pile up.
KEPT_POSITIONS = 1024
# A disk that hangs must not keep a session from ending.
LOG_SECONDS = 2.0


class Session:
    """One session. Build it, then `await nursery.start(session.run)`; `close` is `closing.end`'s business."""

    def __init__(
        self,
        session_id: str,
        *,
        child: Child,
        transcript: Transcript,
        screen: Screen,
        command: list[str],
        cwd: str,
        size: WindowSize,
        policy: SizePolicy,
        labels: Labels,
        limits: Limits,
        created_by: str,
        events: EventLog,
        threads: trio.CapacityLimiter,
        max_input_bytes: Callable[[], int],
        saved_screen: SavedScreen | None = None,
        nonce: str | None = None,
        saved_commands: SavedCommands | None = None,
        presence: Presence | None = None,
    ) -> None:
        self.session_id = session_id
        self.child = child
        self.log = transcript
        self.follower = ScreenFollower(transcript, screen, threads)
        self.follower.on_advance = self._screen_advanced
        self.command = command
        self.cwd = cwd
        self.labels = labels
        self.limits = limits
        self.created_by = created_by
        self.attachments = Attachments(policy, size)
        self.input = InputQueue(child, max_input_bytes)
        self.commands = CommandLog(transcript, nonce, saved_commands)
        if self.commands.active:
            self.follower.prompts = self.commands.prompts_until
        self.commands.count_input = lambda: (self.input.enters, self.input.accepted_bytes)
        self.created_at_ms = now_ms()
        self.started_at = trio.current_time()
        self.exited_at_ms: int | None = None
        self.status: ExitStatus | None = None
        self.exit_reason: ExitReason | None = None
        self.ending: ExitReason | None = None
        self.signalled: int | None = None
        self.output_closed = False
        self.title = ""
        self.recovered_at_ms: int | None = None  # when it was taken over from a daemon that was gone
        self.waiting_for_input = False
        self.exited = trio.Event()
        self.sizes = SizeHistory()
        self.first_size = size
        self.positions: dict[tuple[str, ...], int] = {}
        self.repaint: set[Callable[[], None]] = set()
        self.saver = Saver(self, child.notebook, saved_screen)
        self.commands.on_saved = self.saver.commands
        self.returning = Returning(transcript)
        self.lease = Lease(presence or Presence())
        self.journal: SessionLog | None = None
        self.polling = PollingReaders(transcript, self.position)
        self.followers = 0
        self.attended_at = trio.current_time()
        self._events = events
        self._delay_scope: trio.CancelScope | None = None
        self._start_delay: Callable[[], None] = lambda: None
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._forgotten = False
        self._leaving = False

    # -- facts ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """Running until the exit is published."""
        return "exited" if self.exited.is_set() else "running"

    @property
    def leaving(self) -> bool:
        """Whether the daemon goes and the child lives on without it."""
        return self._leaving

    @property
    def size(self) -> WindowSize:
        """The terminal's size."""
        return self.attachments.size

    @property
    def answers_itself(self) -> bool:
        """Whether what runs the child is a terminal that answers programs' queries; then nobody else may."""
        return self.child.backend == "tmux"

    @property
    def active_at(self) -> float:
        """Trio's time of the last input or output."""
        return max(self.log.grew_at, self.input.written_at)

    @property
    def used_at(self) -> float:
        """Trio's time of the last input, output or read from a position; looking at its state is no use."""
        return max(self.active_at, self.polling.read_at)

    @property
    def clients(self) -> int:
        """How many are attached or follow."""
        return len(self.attachments) + self.followers

    def unattended(self, now: float) -> float:
        """For how long nobody was attached, followed, read from a position or wrote."""
        return 0.0 if self.clients else now - max(self.attended_at, self.input.written_at, self.polling.read_at)

    def facts(self) -> dict[str, Any]:
        """Return what a log says of the session's beginning, in pty-mcp's words."""
        labels = self.labels
        return {
            "command": self.command,
            "cwd": self.cwd,
            "cols": self.size.cols,
            "rows": self.size.rows,
            "name": labels.name,
            "tag": labels.tags[0] if labels.tags else None,
            "tags": labels.tags,
            "owner": labels.owner,
            "scope": labels.access,
            "backend": self.child.backend,
            "created_by": self.created_by,
            "profile": labels.profile,
        }

    def position(self, key: tuple[str, ...]) -> int:
        """Return where this reader stands: at the start of what is kept if it is new."""
        return self.positions.get(key, self.log.start)

    def move(self, key: tuple[str, ...], offset: int) -> None:
        """Remember where this reader stands."""
        self.positions.pop(key, None)
        if len(self.positions) >= KEPT_POSITIONS:
            oldest = next(iter(self.positions))
            del self.positions[oldest]
            self.saver.position(oldest, None)
        self.positions[key] = offset
        self.saver.position(key, offset)
        self.polling.read(key)

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the child until its output is closed and its exit published, or `forget` is called."""
        self.log.add_floor(self.follower.floor)
        self.log.add_floor(self._viewers_floor)
        self.log.add_floor(self.saver.floor)
        self.log.add_floor(self.returning.floor)
        self.log.add_floor(self.commands.floor)
        self.log.add_floor(self._polling_floor)
        if self.journal is not None:
            self.log.add_floor(self.journal.floor)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self.input.on_queued = _starter(nursery, self.input.run)
                    self.input.wake()
                    self._start_delay = _starter(nursery, self._delay_output)
                    if self.limits.output_rate is not None:
                        self._start_delay()
                    nursery.start_soon(self.returning.run)
                    nursery.start_soon(self.commands.run)
                    task_status.started()
                    await self._live()
                    nursery.cancel_scope.cancel()
                if self.child.notebook is not None:
                    # The keeper has it until it is forgotten, and a new keeper would need our descriptors of it.
                    await trio.sleep_forever()
        finally:
            # Cancelled from outside, the daemon ends by a defect: what others keep lives on, as if it had been killed.
            if self.child.notebook is not None and trio.current_effective_deadline() == -inf:
                self._leaving = True
            if not self.exited.is_set() and not self._leaving:
                self._publish_exit("lost" if self.status is None else self._reason())
            self.output_closed = True
            self.log.close()
            if self.journal is not None:
                with trio.move_on_after(LOG_SECONDS, shield=True):
                    await self.journal.catch_up(leaving=self._leaving)
            self._done.set()
            with trio.move_on_after(2, shield=True):
                if self._forgotten:
                    self.child.discard()
                await self.child.aclose()

    async def _live(self) -> None:
        async with trio.open_nursery() as nursery:
            output_ended = trio.Event()

            async def pump() -> None:
                await self.child.pump(self.log)
                output_ended.set()

            nursery.start_soon(pump)
            nursery.start_soon(self.follower.run)
            self.status = await self.child.wait()
            self.input.close()
            with trio.move_on_after(self.limits.linger):
                await output_ended.wait()
            self.output_closed = output_ended.is_set()
            if self.output_closed:
                await self._screen_final()
            self._publish_exit(self._reason())
            if not self.output_closed:
                await output_ended.wait()
                await self._screen_final()
                self.output_closed = True
                self._events.publish(OutputClosed, self.session_id, end_offset=self.log.end)

    async def _screen_final(self) -> None:
        # Closed last, so that nobody finds a closed log without an exit, for which they could not wait.
        await self.follower.catch_up()
        self.log.close()

    def _reason(self) -> ExitReason:
        if self.ending is not None:
            return self.ending
        if self.status is None or self.status == ExitStatus():
            return "lost"  # nobody can know how it ended any more
        if self.status.signal is None:
            return "exited"
        # A client's own `session.signal` ended it, or somebody else's signal did.
        return "killed" if signal_number(self.status.signal) == self.signalled else "signaled"

    def _publish_exit(self, reason: ExitReason) -> None:
        self.waiting_for_input = False
        if self.exited_at_ms is None:  # else the daemon before us has told it
            self.exit_reason = reason
            self.exited_at_ms = now_ms()
            status = self.status or ExitStatus()
            self._events.publish(
                Exited,
                self.session_id,
                exit_code=status.code,
                exit_signal=status.signal,
                exit_reason=reason,
                end_offset=self.log.end,
                output_closed=self.output_closed,
            )
        self.exited.set()
        self.saver.record()
        self.nudge()

    def nudge(self) -> None:
        """Let everybody who waits on this session look again; something beside the bytes has changed."""
        self.log.wake_all()
        for repaint in tuple(self.repaint):
            repaint()

    async def forget(self) -> None:
        """Stop supervising and release everything; attachments are told. The child is not touched."""
        for attachment in self.attachments:
            attachment.ended("closed", "the session was closed")
        self._forgotten = True
        self._scope.cancel()
        await self._done.wait()

    async def leave(self) -> None:
        """Stop supervising without a word: the child lives on in the keeper's hands."""
        self._leaving = True
        self._scope.cancel()
        await self._done.wait()
        await self.input.hold(self.saver.input)

    def rebuild(self) -> None:
        """Let a restored screen come up to the transcript's end without the past happening again."""

        def past(events: list[ScreenEvent]) -> None:
            for event in events:
                if isinstance(event, TitleChanged):
                    self.title = event.title

        self.follower.rebuild(past)

    # -- input, size, viewers -------------------------------------------------------------------------------

    def require_running(self) -> None:
        """Raise `SessionExited` once the child has exited."""
        if self.status is not None or self.exited.is_set():
            raise SessionExited(f"session {self.session_id} has exited")

    def set_size(self, size: WindowSize) -> None:
        """Give the terminal a size, in order with the output; the same size again does nothing."""
        if size == self.attachments.size:
            return
        self.attachments.size = size
        self.child.resize(size)
        self.follower.resize(size)
        self.sizes.add(self.log.end, size)
        self.saver.resized()
        self._events.publish(Resized, self.session_id, rows=size.rows, cols=size.cols)
        self.nudge()

    def size_after(self, changes: int) -> WindowSize:
        """Return the size after so many changes; the present one where it is not remembered."""
        return self.sizes.size_after(changes) or (self.size if changes else self.first_size)

    def restore_size(self, offset: int, size: WindowSize) -> None:
        """Repeat a change of size that a daemon before us made at `offset`; the terminal has it already."""
        self.attachments.size = size
        self.sizes.add(offset, size)
        self.follower.resize_at(offset, size)

    def apply_policy(self) -> None:
        """Recompute the size after somebody came, went, resized or became the latest."""
        self.set_size(self.attachments.wanted_size())

    def attach(self, attachment: Attachment) -> None:
        """Put a client on the session."""
        self.attachments.add(attachment)
        self.apply_policy()
        self._events.publish(
            Attached,
            self.session_id,
            attachment_id=attachment.attachment_id,
            client_id=attachment.client_id,
            mode=attachment.mode,
        )

    def heard_from(self, attachment: Attachment) -> None:
        """Note that a client is really there.

        What was waiting in the listener's queue when a daemon died may have been given up by its client since: such
        an attachment must not pass for a viewer that has come back.
        """
        if not attachment.heard:
            attachment.heard = True
            if self.returning.expected:
                self.returning.came()
                self.log.floor_moved()
            self._viewers_changed()

    def detach(self, attachment: Attachment, reason: str) -> None:
        """Take a client off; the size is recomputed for those who stay."""
        self.attachments.remove(attachment)
        self.attended_at = trio.current_time()
        if not self._leaving:
            self._viewers_changed()
        self.apply_policy()
        self.log.floor_moved()
        self._events.publish(
            Detached,
            self.session_id,
            attachment_id=attachment.attachment_id,
            client_id=attachment.client_id,
            reason=reason,
        )

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Count a follower as long as the block runs."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1
            self.attended_at = trio.current_time()

    def set_output_rate(self, rate: int | None) -> None:
        """Limit output to `rate` bytes per second from now on, or lift the limit."""
        self.limits.output_rate = rate
        if self._delay_scope is not None:
            self._delay_scope.cancel()
        elif rate is not None:
            self._start_delay()

    async def _delay_output(self) -> None:
        while True:
            with trio.CancelScope() as self._delay_scope:
                rate = self.limits.output_rate
                if rate is None:
                    await trio.sleep_forever()
                else:
                    await OutputDelay(self.log, rate).run()

    @property
    def viewers_waited_for(self) -> int:
        """How many attachments the program is to wait for: those that are here and those that a lost daemon had."""
        return sum(one.heard for one in self.attachments) + self.returning.expected

    def _viewers_changed(self) -> None:
        if self.limits.overflow == "pause":
            self.saver.record()

    def _viewers_floor(self) -> int | None:
        if self.limits.overflow != "pause":
            return None
        return min((one.acked_offset for one in self.attachments), default=None)

    def _polling_floor(self) -> int | None:
        return self.polling.floor() if self.limits.overflow == "pause" else None

    # -- the screen's side effects --------------------------------------------------------------------------

    def _screen_advanced(self) -> None:
        screen = self.follower.screen
        for event in screen.take_events():
            self._tell(event)
        self.saver.screen_advanced()
        replies = screen.take_replies()
        if replies and not self.answers_itself and self.attachments.latest() is None and self.status is None:
            # Nobody who could answer is attached, so the program would wait in vain (fish: 10 s for DA1).
            with suppress(PtybridgeError):
                self.input.answer_nowait(replies)
        for repaint in tuple(self.repaint):
            repaint()

    def _tell(self, event: ScreenEvent) -> None:
        match event:
            case TitleChanged(title=title):
                self.title = title
                self._events.publish(Title, self.session_id, title=title)
            case Notified(title=title, body=body):
                self._events.publish(Notification, self.session_id, title=title, body=body)
            case BellRang():
                self._events.publish(Bell, self.session_id)


def _starter(nursery: trio.Nursery, task: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Return what starts a task when it is first called: each that only waits costs a session 3 kB."""
    started = False

    def start() -> None:
        nonlocal started
        if not started:
            started = True
            with suppress(RuntimeError):  # the session has just ended
                nursery.start_soon(task)

    return start
