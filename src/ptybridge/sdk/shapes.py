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


class Executed(NamedTuple):
    """What a command printed and its exit code: -1 when it had not ended in time, 128 + n after the signal n."""

    output: bytes
    exit_code: int

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", "replace")


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
