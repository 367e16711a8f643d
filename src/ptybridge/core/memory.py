"""What of a session must outlive the daemon beside the child itself, and how it comes back.

How it works: the keeper holds children, rings and opaque notes. A session writes its record (labels, limits, sizes,
how it ended) whenever it changes, readers' positions before they are answered, and a snapshot of its screen every so
often. The transcript's writer may not overwrite what came after the newest snapshot (`Saver.floor`), so the screen
can always be rebuilt exactly: snapshot, then the log from its offset.
"""

import base64
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ptybridge.core.commands import SavedCommands
from ptybridge.core.labels import Labels
from ptybridge.core.leases import SavedLease
from ptybridge.core.limits import Limits
from ptybridge.core.screen import Screen
from ptybridge.model import Access, ExitReason, Overflow, SizePolicy, WindowSize

RECORD = "record"
SCREEN = "screen"
POSITION = "position "
COMMANDS = "commands"
LOG = "log"
INPUT = "input "


class Notebook(Protocol):
    """Where one session's notes go. `write` is done when it returns, as far as a crash of the daemon is concerned."""

    on_lost: Callable[[], None]
    """Called when all notes are gone (the keeper was replaced) and have to be written anew."""

    keeps_screens: bool
    """Whether snapshots of the screen are worth writing; if not, only what is printed from now on is seen later."""

    def write(self, key: str, value: object) -> None: ...

    async def settle(self) -> None:
        """Wait until what was written is safe from our end."""
        ...


class Record(msgspec.Struct, kw_only=True):
    """A session's facts that are not in its child or its ring."""

    session_id: str
    command: list[str]
    cwd: str
    created_by: str
    created_at_ms: int
    name: str | None
    owner: str | None
    tags: list[str]
    access: Access
    overflow: Overflow
    idle_timeout: float | None
    max_runtime: float | None
    linger: float
    input_rate: int | None
    output_rate: int | None
    policy: SizePolicy
    first_size: tuple[int, int]
    sizes: list[tuple[int, int, int]]  # (offset, rows, cols), those since the saved screen among them
    first_resize: int = 0  # how many changes of size came before `sizes`
    title: str
    accepted_bytes: int
    exit_reason: ExitReason | None = None
    exited_at_ms: int | None = None
    keep: float | None = None
    profile: str | None = None
    workspace: str | None = None
    lease: SavedLease | None = None
    capacity: int | None = None
    recovered_at_ms: int | None = None
    log_directory: str | None = None
    unattended_timeout: float | None = None
    max_clients: int | None = None
    shared: bool = False
    viewers: int = 0  # attachments the program is to wait for: see `core.returning`

    def labels(self) -> Labels:
        """Return what clients call it."""
        return Labels(
            name=self.name,
            owner=self.owner,
            tags=self.tags,
            access=self.access,
            profile=self.profile,
            workspace=self.workspace,
            shared=self.shared,
        )

    def limits(self) -> Limits:
        """Return what it may do."""
        return Limits(
            overflow=self.overflow,
            idle_timeout=self.idle_timeout,
            max_runtime=self.max_runtime,
            linger=self.linger,
            input_rate=self.input_rate,
            output_rate=self.output_rate,
            keep=self.keep,
            unattended_timeout=self.unattended_timeout,
            max_clients=self.max_clients,
        )


class SavedScreen(msgspec.Struct, kw_only=True):
    """A snapshot, as of `offset` and after so many changes of size, of a terminal of this size."""

    offset: int
    rows: int
    cols: int
    snapshot: bytes
    resizes: int = 0

    @classmethod
    def of(cls, screen: Screen, scrollback_lines: int | None, resizes: int = 0) -> "SavedScreen":
        """Take a snapshot now."""
        size = screen.size
        offset, snapshot = screen.capture(scrollback_lines)
        return cls(offset=offset, rows=size.rows, cols=size.cols, snapshot=snapshot, resizes=resizes)

    def restore(self, scrollback_lines: int) -> Screen:
        """Return the screen it was taken of."""
        size = WindowSize(self.rows, self.cols)
        return Screen.restore(self.snapshot, self.offset, size, scrollback_lines=scrollback_lines)

    def note(self) -> dict[str, object]:
        """Return it as a note."""
        return {
            "offset": self.offset,
            "rows": self.rows,
            "cols": self.cols,
            "snapshot": base64.b64encode(self.snapshot).decode("ascii"),
            "resizes": self.resizes,
        }


class SavedLog(msgspec.Struct, frozen=True, kw_only=True):
    """A session's log on disk: written up to `offset` of the output when the transcript's file had this size.

    Without a size the file is as its last writer left it, and goes on behind that.
    """

    directory: str
    offset: int = 0
    size_bytes: int | None = 0


class SavedInput(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of input that the program has not read when a daemon handed over; None: the end of input."""

    data: bytes | None


class Remembered(msgspec.Struct, kw_only=True):
    """What notes say of a session. `input`: what waits to be sent, the pieces in order."""

    record: Record
    screen: SavedScreen | None
    positions: dict[tuple[str, ...], int]
    commands: SavedCommands | None = None
    log: SavedLog | None = None
    input: list[bytes | None] = msgspec.field(default_factory=list)


def input_key(number: int) -> str:
    """Return the key of the note of a piece of input."""
    return f"{INPUT}{number}"


def position_key(reader: tuple[str, ...]) -> str:
    """Return the note's key for a reader's position."""
    return POSITION + msgspec.json.encode(reader).decode()


def recall(notes: dict[str, Any]) -> Remembered | None:
    """Read a session's notes; None when there is no record. Raises ValueError for what this version cannot read."""
    if RECORD not in notes:
        return None
    try:
        record = msgspec.convert(notes[RECORD], Record)
        screen = notes.get(SCREEN)
        commands = notes.get(COMMANDS)
        saved_log = notes.get(LOG)
        return Remembered(
            record=record,
            screen=msgspec.convert(screen, SavedScreen) if screen is not None else None,
            positions={
                tuple(msgspec.json.decode(key.removeprefix(POSITION), type=list[str])): int(value)
                for key, value in notes.items()
                if key.startswith(POSITION)
            },
            commands=msgspec.convert(commands, SavedCommands) if commands is not None else None,
            log=msgspec.convert(saved_log, SavedLog) if saved_log is not None else None,
            input=_recall_input(notes),
        )
    except (msgspec.ValidationError, msgspec.DecodeError) as exc:
        raise ValueError(f"its notes cannot be read: {exc}") from exc


def _recall_input(notes: dict[str, Any]) -> list[bytes | None]:
    pieces: list[bytes | None] = []
    while (note := notes.get(input_key(len(pieces)))) is not None:
        pieces.append(msgspec.convert(note, SavedInput).data)
    return pieces
