"""The index of sessions that live in tmux: enough to find them again when their daemon is gone.

How it works: one SQLite file (WAL, so that several daemons may use it) in a private directory. `put` and `remove` only
note what is to be written; one task writes what has gathered, in a thread, in one transaction. Of a session it holds
its record (labels, limits, command), where it is, and an offset its transcript has not passed; neither its
environment nor anything that was typed or printed.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import trio

from ptybridge.errors import Unavailable

T = TypeVar("T")

SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 5.0
_COLUMNS: Final = ("session_id", "owner", "name", "workspace", "home", "holder", "place", "record", "reserved_end")


class Row(msgspec.Struct, kw_only=True):
    """A session. `home` is its daemon's socket, `holder` names that daemon's process; the dictionaries are JSON."""

    session_id: str
    home: str
    holder: str
    place: dict[str, Any]
    record: dict[str, Any]
    reserved_end: int
    owner: str | None = None
    name: str | None = None
    workspace: str | None = None


class Index:
    """The index in the file `path`, which is made when it is first written. `run` writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._limiter = trio.CapacityLimiter(1)  # a connection belongs to one thread at a time
        self._pending: dict[str, Row | None] = {}
        self._wake = trio.Event()
        self._written = trio.Event()
        self._writing = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled, and what is left then."""
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                await self._write()
        finally:
            with trio.move_on_after(_BUSY_SECONDS, shield=True):
                await self._write()

    def put(self, row: Row) -> None:
        """Have a session written."""
        self._pending[row.session_id] = row
        self._wake.set()

    def remove(self, session_id: str) -> None:
        """Have a session forgotten."""
        self._pending[session_id] = None
        self._wake.set()

    async def settle(self) -> None:
        """Wait until everything so far is written."""
        while self._pending or self._writing:
            written = self._written
            self._wake.set()
            await written.wait()

    async def _write(self) -> None:
        self._wake = trio.Event()
        pending, self._pending = self._pending, {}
        if pending:
            self._writing = True
            try:
                await self._work(lambda database: _save(database, pending))
            finally:
                self._writing = False
        self._written.set()
        self._written = trio.Event()

    async def all(self) -> list[Row]:
        """Return all sessions. Raises `Unavailable` when the file cannot be read."""
        if not self.path.exists():
            return []
        return await self._work(_load)

    async def claim(self, rows: Sequence[Row], holder: str, home: str) -> bool:
        """Make `holder` the one daemon of all these sessions, or of none if another was faster."""
        return await self._work(lambda database: _claim(database, rows, holder, home))

    async def _work(self, what: Callable[[sqlite3.Connection], T]) -> T:
        def work() -> T:
            database = _open(self.path)
            try:
                with database:
                    return what(database)
            finally:
                database.close()

        try:
            return await trio.to_thread.run_sync(work, limiter=self._limiter)
        except sqlite3.Error as exc:
            raise Unavailable(f"the index of tmux sessions cannot be used: {exc}", hint=str(self.path)) from exc


def _open(path: Path) -> sqlite3.Connection:
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # Before SQLite makes it, with a mode that depends on the umask.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it is of a newer version ({version})")
        if version < SCHEMA_VERSION:
            with database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS sessions (session_id TEXT PRIMARY KEY, owner TEXT, name TEXT,"
                    " workspace TEXT, home TEXT NOT NULL, holder TEXT NOT NULL, place TEXT NOT NULL,"
                    " record TEXT NOT NULL, reserved_end INTEGER NOT NULL)"
                )
                database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _save(database: sqlite3.Connection, pending: dict[str, Row | None]) -> None:
    marks = ", ".join("?" * len(_COLUMNS))
    for session_id, row in pending.items():
        if row is None:
            database.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
        else:
            values = msgspec.structs.asdict(row)
            values |= {name: msgspec.json.encode(values[name]).decode() for name in ("place", "record")}
            database.execute(
                f"INSERT OR REPLACE INTO sessions ({', '.join(_COLUMNS)}) VALUES ({marks})",
                [values[name] for name in _COLUMNS],
            )


def _load(database: sqlite3.Connection) -> list[Row]:
    found = database.execute(f"SELECT {', '.join(_COLUMNS)} FROM sessions ORDER BY rowid").fetchall()
    rows = []
    for values in found:
        fields = dict(zip(_COLUMNS, values, strict=True))
        fields |= {name: msgspec.json.decode(fields[name]) for name in ("place", "record")}
        rows.append(msgspec.convert(fields, Row))
    return rows


def _claim(database: sqlite3.Connection, rows: Sequence[Row], holder: str, home: str) -> bool:
    database.execute("BEGIN IMMEDIATE")
    for row in rows:
        changed = database.execute(
            "UPDATE sessions SET holder = ?, home = ? WHERE session_id = ? AND holder = ?",
            (holder, home, row.session_id, row.holder),
        ).rowcount
        if changed != 1:
            database.rollback()
            return False
    return True
