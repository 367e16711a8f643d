"""Answers with the names cmdop's first generation gave them, beside the contract's own."""

import dataclasses
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec

from ptybridge.api import file, session
from ptybridge.api.operation import Operation, Params

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)


class SignalType(StrEnum):
    """Signals by name; any other name the system knows will do as well."""

    SIGINT = "SIGINT"
    SIGTERM = "SIGTERM"
    SIGKILL = "SIGKILL"
    SIGSTOP = "SIGSTOP"
    SIGCONT = "SIGCONT"
    SIGHUP = "SIGHUP"


class SessionMode(StrEnum):
    """Who may type: everybody, only this client (it takes the lease), or nobody."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    READONLY = "readonly"


class StreamState(StrEnum):
    """What a stream with callbacks is at. While a daemon is replaced it stays connected, and loses nothing."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSING = "closing"
    CLOSED = "closed"
    ERROR = "error"


class StreamMetrics(msgspec.Struct, kw_only=True):
    """What a stream has carried. `last_activity` is a time as `time.time` gives it, 0 before anything came."""

    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    reconnect_count: int = 0
    errors: int = 0
    last_activity: float = 0.0


class Terminal(session.SessionInfo, frozen=True, kw_only=True):
    """A session as `server.terminal` gives it."""

    @property
    def shell(self) -> str:
        """The program."""
        return self.command[0] if self.command else ""

    @property
    def working_dir(self) -> str:
        """The directory it started in."""
        return self.cwd

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return _time(self.created_at_ms)

    @property
    def connected_clients(self) -> int:
        """How many clients are attached."""
        return len(self.clients)


class Terminals(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions; `total` counts also those beyond the limit."""

    sessions: list[Terminal]
    total: int = 0
    workspace_name: str | None = None


class _Ended(NamedTuple):
    output: bytes
    exit_code: int


class Executed(_Ended):
    """What a command printed and its exit code: -1 when it had not ended in time, 128 + n after the signal n.

    Of very much output the middle is left out: `omitted_bytes`, at the place where `output` says so.
    """

    omitted_bytes: int = 0

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")


class HeadTail:
    """Collects output: all of it, or so many bytes of its beginning and as many of its end."""

    def __init__(self, kept_bytes: int) -> None:
        self._kept = kept_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._omitted = 0

    def add(self, data: bytes) -> None:
        """Add a piece."""
        room = self._kept - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # Not for every piece: what is left has to be moved.
        if len(self._tail) > 2 * self._kept:
            self._cut()

    def executed(self, exit_code: int) -> Executed:
        """Return what has come."""
        self._cut()
        mark = b"\n[... %d bytes left out ...]\n" % self._omitted if self._omitted else b""
        made = Executed(bytes(self._head) + mark + bytes(self._tail), exit_code)
        made.omitted_bytes = self._omitted
        return made

    def _cut(self) -> None:
        beyond = max(0, len(self._tail) - self._kept)
        del self._tail[:beyond]
        self._omitted += beyond


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of output, oldest first; `total_lines` are kept, and there are older ones if `has_more`."""

    session_id: str
    data: bytes
    total_lines: int
    has_more: bool


class Entry(file.FileEntry, frozen=True, kw_only=True):
    """An entry of a directory."""

    @property
    def modified_at(self) -> datetime:
        """When its content changed."""
        return _time(self.modified_ms)

    @property
    def is_hidden(self) -> bool:
        """Whether its name begins with a dot."""
        return self.hidden


class Listing(file.FilePage, frozen=True, kw_only=True):
    """A page of a directory; iterate over `entries`."""

    entries: list[Entry]  # type: ignore[assignment]  # each is one of the contract's and more

    @property
    def next_page_token(self) -> str | None:
        """What gets the next page."""
        return self.next_cursor

    @property
    def total_count(self) -> int:
        """How many entries the whole directory has."""
        return self.total


class Info(file.FileDetails, frozen=True, kw_only=True):
    """Everything about an entry."""

    @property
    def modified_at(self) -> datetime:
        """When its content changed."""
        return _time(self.modified_ms)

    @property
    def accessed_at(self) -> datetime:
        """When it was read."""
        return _time(self.accessed_ms)

    @property
    def created_at(self) -> datetime | None:
        """When it was made, where the file system knows."""
        return None if self.created_ms is None else _time(self.created_ms)

    @property
    def is_hidden(self) -> bool:
        """Whether its name begins with a dot."""
        return self.hidden

    @property
    def is_readable(self) -> bool:
        """Whether the daemon may read it."""
        return self.readable

    @property
    def is_writable(self) -> bool:
        """Whether the daemon may write it."""
        return self.writable

    @property
    def is_executable(self) -> bool:
        """Whether the daemon may execute it."""
        return self.executable


def shaped(operation: Operation[P, Any], shape: type[R]) -> Operation[P, R]:
    """Return an operation that reads its answer as another shape of the same fields."""
    return dataclasses.replace(operation, result=shape)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
