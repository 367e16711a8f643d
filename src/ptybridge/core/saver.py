"""Writes down what of a session must outlive the daemon, at the moments when it must be written; see `core.memory`."""

from typing import TYPE_CHECKING

import msgspec
import trio

from ptybridge.core.eventlog import now_ms
from ptybridge.core.leases import Lease
from ptybridge.core.memory import (
    COMMANDS,
    LOG,
    RECORD,
    SCREEN,
    Notebook,
    Record,
    Remembered,
    SavedInput,
    SavedLog,
    SavedScreen,
    input_key,
    position_key,
)
from ptybridge.core.winsize import KEPT_RESIZES

if TYPE_CHECKING:
    from ptybridge.core.session import Session

# Scrollback makes a snapshot large; so in a flood it is left out, and added when the flood is over.
QUIET_BYTES = 16 * 1024
# Who needs a snapshot so soon after the last one is in a flood, even if everything is parsed at that moment.
FLOOD_SECONDS = 1.0
# The keeper takes notes of up to 1 MiB; base64 makes 4 bytes of 3.
MAX_SNAPSHOT_BYTES = 700 * 1024
MAX_INPUT_BYTES = 700 * 1024


class Saver:
    """One session's writer of notes. Without a notebook (sessions that live in the daemon) it does nothing."""

    def __init__(self, session: "Session", notebook: Notebook | None, screen: SavedScreen | None) -> None:
        self._session = session
        self._notebook = notebook
        self._screen = screen
        self._saved_at = float("-inf")
        self._whole = screen is None
        self._counted = 0
        self._pieces: list[SavedInput] = []
        self._keeps_screens = notebook is not None and notebook.keeps_screens
        self._capacity = session.log.ring.capacity
        if notebook is not None:
            notebook.on_lost = self.everything

    @property
    def active(self) -> bool:
        """Whether anything is written at all."""
        return self._notebook is not None

    @property
    def saved_offset(self) -> int:
        """The transcript from here on is needed to rebuild the screen."""
        return self._screen.offset if self._screen is not None else 0

    @property
    def _resizes_saved(self) -> int:
        return self._screen.resizes if self._screen is not None else 0

    def floor(self) -> int | None:
        """The transcript's writer must not overwrite what follows the newest snapshot."""
        return self.saved_offset if self._keeps_screens else None

    def screen_advanced(self) -> None:
        """Take a snapshot if so much has been printed that the transcript's writer would soon have to wait."""
        if not self._keeps_screens:
            return
        session = self._session
        if session.follower.screen.offset - self.saved_offset >= self._capacity // 4:
            behind = session.log.end - session.follower.screen.offset
            flood = behind > QUIET_BYTES or trio.current_time() - self._saved_at < FLOOD_SECONDS
            self._save_screen(0 if flood or not self._whole else None)

    def quiet(self) -> None:
        """The session is silent: complete a snapshot that was taken in a flood."""
        if self._keeps_screens and not self._whole and self._session.follower.screen.offset == self._session.log.end:
            self._save_screen(None)

    def keep_count(self) -> None:
        """Write down how much input there has been, if it has changed; called now and then, not for every keystroke."""
        if self._counted != self._session.input.accepted_bytes:
            self.record()

    def _save_screen(self, scrollback_lines: int | None) -> None:
        screen = self._session.follower.screen
        follower = self._session.follower
        # Those still ahead of the screen are made again, at their place, when it is restored; the others must not.
        resizes = self._session.sizes.count - follower.pending_resizes
        saved = SavedScreen.of(screen, scrollback_lines, resizes)
        if len(saved.snapshot) > MAX_SNAPSHOT_BYTES:
            saved = SavedScreen.of(screen, 0, resizes)
        self._whole = scrollback_lines is None
        self._write(SCREEN, saved.note())
        self._screen = saved
        self._saved_at = trio.current_time()
        self._session.log.floor_moved()
        self.record()

    def resized(self) -> None:
        """Write down a change of size; of many without output between them only so many can be remembered."""
        if self._keeps_screens and self._session.sizes.count - self._resizes_saved >= KEPT_RESIZES // 2:
            self._save_screen(None if self._whole else 0)
        self.record()

    def position(self, reader: tuple[str, ...], offset: int | None) -> None:
        """Write down how far a reader has come, or (None) that it is forgotten."""
        self._write(position_key(reader), offset)

    def commands(self) -> None:
        """Write down the commands and how far the shell's marks were read."""
        saved = self._session.commands.saved() if self.active else None
        if saved is not None:
            self._write(COMMANDS, msgspec.to_builtins(saved))

    def input(self, data: bytes | None) -> None:
        """Write down a piece of input for the next daemon to send, or (None) its end."""
        parts: list[bytes | None] = [None]
        if data is not None:
            parts = [data[at : at + MAX_INPUT_BYTES] for at in range(0, len(data), MAX_INPUT_BYTES)]
        for part in parts:
            saved = SavedInput(data=part)
            self._write(input_key(len(self._pieces)), msgspec.to_builtins(saved))
            self._pieces.append(saved)

    def forget_input(self, count: int | None = None) -> None:
        """Let no other daemon send it: neither what was written down here nor `count` pieces that were read."""
        for number in range(len(self._pieces) if count is None else count):
            self._write(input_key(number), None)
        self._pieces.clear()

    def log(self, saved: SavedLog) -> None:
        """Write down how far the session's log on disk has come."""
        self._write(LOG, msgspec.to_builtins(saved))

    def record(self) -> None:
        """Write down the session's facts."""
        if not self.active:
            return
        session = self._session
        self._counted = session.input.accepted_bytes
        labels, limits = session.labels, session.limits
        sizes = [(offset, size.rows, size.cols) for offset, size in session.sizes.since(self._resizes_saved)]
        first_resize = session.sizes.count - len(sizes)
        self._write(
            RECORD,
            Record(
                session_id=session.session_id,
                command=session.command,
                cwd=session.cwd,
                created_by=session.created_by,
                created_at_ms=session.created_at_ms,
                name=labels.name,
                owner=labels.owner,
                tags=labels.tags,
                access=labels.access,
                capacity=session.log.ring.capacity,
                recovered_at_ms=session.recovered_at_ms,
                overflow=limits.overflow,
                idle_timeout=limits.idle_timeout,
                max_runtime=limits.max_runtime,
                linger=limits.linger,
                input_rate=limits.input_rate,
                output_rate=limits.output_rate,
                keep=limits.keep,
                unattended_timeout=limits.unattended_timeout,
                max_clients=limits.max_clients,
                shared=session.labels.shared,
                profile=labels.profile,
                workspace=labels.workspace,
                lease=session.lease.saved(),
                policy=session.attachments.policy,
                first_size=(session.first_size.rows, session.first_size.cols),
                sizes=sizes,
                first_resize=first_resize,
                title=session.title,
                accepted_bytes=session.input.accepted_bytes,
                exit_reason=session.exit_reason,
                exited_at_ms=session.exited_at_ms,
                log_directory=session.journal.saved.directory if session.journal is not None else None,
                viewers=session.viewers_waited_for if limits.overflow == "pause" else 0,
            ),
        )

    def everything(self) -> None:
        """Write all of it anew, into an empty notebook."""
        if self._screen is not None:
            self._write(SCREEN, self._screen.note())
        self.record()
        self.commands()
        if self._session.journal is not None:
            self.log(self._session.journal.saved)
        for reader, offset in self._session.positions.items():
            self.position(reader, offset)
        for number, piece in enumerate(self._pieces):
            self._write(input_key(number), msgspec.to_builtins(piece))

    def _write(self, key: str, value: object) -> None:
        if self._notebook is not None:
            self._notebook.write(key, value)


def restore_into(session: "Session", remembered: Remembered) -> None:
    """Give a session what was remembered of it beyond what its constructor takes."""
    record = remembered.record
    session.created_at_ms = record.created_at_ms
    session.started_at -= max(0, now_ms() - record.created_at_ms) / 1000
    session.exit_reason = record.exit_reason
    session.exited_at_ms = record.exited_at_ms
    session.title = record.title
    session.recovered_at_ms = record.recovered_at_ms
    session.lease = Lease(session.lease.presence, record.lease)
    session.input.accepted_bytes = record.accepted_bytes
    session.positions = dict(remembered.positions)
    session.commands.bytes_seen = record.accepted_bytes
    # Whatever becomes of this daemon, input is sent at most once.
    session.saver.forget_input(len(remembered.input))
    session.input.restore(remembered.input)
    if record.viewers:
        session.returning.expect(record.viewers)
