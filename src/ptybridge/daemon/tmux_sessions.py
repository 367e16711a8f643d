"""Sessions in tmux: made, written down in the index, found again after a restart, and recovered from other daemons."""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import trio

from ptybridge.backends.tmux import Place, TmuxChild
from ptybridge.backends.tmux_spawn import TmuxServer, check_directory, group_name, prepare_directory
from ptybridge.config import Paths
from ptybridge.core import procinfo
from ptybridge.core.child import Child, ChildSpec
from ptybridge.core.eventlog import now_ms
from ptybridge.core.memory import RECORD, Record, Remembered, SavedLog, recall
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions
from ptybridge.core.transcript import Transcript
from ptybridge.errors import Conflict, NameTaken, SessionNotFound, Unavailable, UnsafePath
from ptybridge.store.sqlite import Index, Row

log = logging.getLogger(__name__)

# Offsets are written down in blocks, so that after a crash none is used a second time.
_BLOCK_BYTES: Final = 4 << 20
# What is needed to take a session up.
Found = tuple[Row, Remembered, TmuxChild, Transcript]
# A daemon that hands over lets go of its sessions within milliseconds.
_RELEASE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


def process_name(pid: int) -> str:
    """Return a name of a running process that no other process ever has on this machine until it restarts."""
    stat = procinfo.process_stat(pid)
    return f"{pid}:{0 if stat is None else stat.start_time}"


def _is_alive(holder: str) -> bool:
    pid = holder.partition(":")[0]
    return pid.isdecimal() and process_name(int(pid)) == holder and not holder.endswith(":0")


class IndexNotebook:
    """One session's notes in the index; implements `core.memory.Notebook`."""

    keeps_screens = False

    def __init__(self, index: Index, row: Row) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self._index = index
        self._row = row
        self._forgotten = False

    def write(self, key: str, value: object) -> None:
        """Have the record written; positions and screens are not kept."""
        if key != RECORD or self._forgotten:
            return
        record = msgspec.to_builtins(value)
        row = self._row
        row.record, row.name, row.owner, row.workspace = record, record["name"], record["owner"], record["workspace"]
        self._index.put(row)

    def note_end(self, end: int) -> None:
        """Keep the written offset ahead of the transcript's end."""
        if end + _BLOCK_BYTES // 2 > self._row.reserved_end and not self._forgotten:
            self._row.reserved_end = end + _BLOCK_BYTES
            self._index.put(self._row)

    def release(self, end: int) -> None:
        """Let another daemon have the session; its transcript has come to `end`."""
        if self._forgotten:
            return
        self._forgotten = True
        row = self._row
        row.holder = ""
        if end:
            # One more, so that whoever has read everything here sees that there is a gap.
            row.reserved_end = end + 1
        self._index.put(row)

    def forget(self) -> None:
        """Have the session removed."""
        self._forgotten = True
        self._index.remove(self._row.session_id)

    async def settle(self) -> None:
        """Wait until it is written."""
        await self._index.settle()


class IndexedChild(TmuxChild):
    """A child that leaves the index when it is given up."""

    def discard(self) -> None:
        """Close the window and forget the session."""
        super().discard()
        if isinstance(self.notebook, IndexNotebook):
            self.notebook.forget()

    async def aclose(self) -> None:
        """Let go of the session; another daemon may have it."""
        if isinstance(self.notebook, IndexNotebook):
            self.notebook.release(self.end)
        await super().aclose()


class TmuxSessions:
    """All that this daemon has to do with tmux. `run` first."""

    def __init__(self, directory: Path, home: str, sessions: Callable[[], Sessions]) -> None:
        self.directory = directory
        self.index = Index(directory / "index.sqlite")
        self._home = home
        self._holder = process_name(os.getpid())
        self._sessions = sessions
        self._servers: dict[str, TmuxServer] = {}
        self._nursery: trio.Nursery | None = None
        self._recovering = trio.Lock()

    @property
    def socket(self) -> Path:
        """The socket of this daemon's own tmux server."""
        return Path(Paths(socket=self._home, tmux_dir=str(self.directory)).tmux_socket)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve connections and write the index until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.index.run)
            task_status.started()
            await trio.sleep_forever()

    async def _server(self, path: str) -> TmuxServer:
        server = self._servers.get(path)
        if server is None:
            assert self._nursery is not None
            server = self._servers[path] = TmuxServer(Path(path), IndexedChild)
            await self._nursery.start(server.run)
        return server

    # -- new ones -------------------------------------------------------------------------------------------

    async def spawn(self, spec: ChildSpec) -> tuple[Child, Transcript]:
        """Start a program in tmux; the spawner of the backend."""
        prepare_directory(self.directory)
        server = await self._server(str(self.socket))
        child, transcript = await server.spawn(spec)
        row = Row(
            session_id=spec.session_id,
            home=self._home,
            holder=self._holder,
            place=msgspec.to_builtins(child.place),
            record={},
            reserved_end=_BLOCK_BYTES,
        )
        self._keep(child, row)
        return child, transcript

    def _keep(self, child: TmuxChild, row: Row) -> None:
        notebook = IndexNotebook(self.index, row)
        child.notebook = notebook
        child.on_growth = notebook.note_end

    # -- old ones -------------------------------------------------------------------------------------------

    async def restore_own(self) -> None:
        """Take up what a daemon with the same socket has left; what has ended meanwhile is forgotten."""
        try:
            check_directory(self.directory)
            rows = await self._own_rows()
        except UnsafePath as exc:
            log.debug("there can be no sessions in tmux: %s", exc.message)  # nor does anybody ask for some
            return
        except Unavailable as exc:
            log.error("sessions in tmux are not restored: %s", exc.message)
            return
        for row in rows:
            try:
                found = await self._hold(row)
            except (LookupError, ValueError) as exc:
                log.warning("session %s is not in tmux any more: %s", row.session_id, exc)
                self.index.remove(row.session_id)
                await self._clear(row)
                continue
            except Unavailable as exc:
                log.error("session %s cannot be restored: %s", row.session_id, exc.message)
                continue
            await self._take_up(*found)

    async def _clear(self, row: Row) -> None:
        """Close the window of a session that is not taken up."""
        with contextlib.suppress(msgspec.ValidationError, Unavailable):
            place = msgspec.convert(row.place, Place)
            server = await self._server(place.socket)
            await server.clear(place)

    async def _own_rows(self) -> list[Row]:
        """Return what the daemon before us has left, once it has let go: it may still be about to."""
        deadline = trio.current_time() + _RELEASE_SECONDS
        while True:
            rows = [row for row in await self.index.all() if row.home == self._home]
            held = [row for row in rows if row.holder != self._holder and _is_alive(row.holder)]
            if not held or trio.current_time() > deadline:
                return [row for row in rows if row not in held]
            await trio.sleep(_POLL_SECONDS)

    async def recover(self, name: str, owner: str) -> tuple[str, Sequence[Session]]:
        """Take up the session of that name and owner with all of its workspace, or nothing at all."""
        check_directory(self.directory)
        async with self._recovering:
            # What has ended here may still be in the index for a moment.
            running = {one.session_id for one in self._sessions().running()}
            rows = [row for row in await self.index.all() if row.holder != self._holder or row.session_id in running]
            named = [row for row in rows if (row.name, row.owner) == (name, owner)]
            if not named:
                raise SessionNotFound(
                    f"no session in tmux has the name {name!r} and the owner {owner!r}",
                    hint="only sessions with a name, an owner and the backend tmux can be recovered",
                )
            first = next((row for row in named if not _is_alive(row.holder)), named[0])
            group = [first]
            if first.workspace is not None:
                group += [
                    row
                    for row in rows
                    if row is not first
                    and (row.workspace, row.owner, row.place.get("socket"))
                    == (first.workspace, first.owner, first.place.get("socket"))
                ]
            self._check(group)
            found = await self._find(group)
            if not await self.index.claim(group, self._holder, self._home):
                await self._release(found)
                raise Conflict("another daemon has just recovered it", retryable=True)
            now = now_ms()
            for _, remembered, _, _ in found:
                remembered.record = _detached(remembered.record, now)
            sessions = [await self._take_up(*one) for one in found]
        return _group_key(first), sessions

    def _check(self, group: Sequence[Row]) -> None:
        sessions = self._sessions()
        ids = {one.session_id for one in sessions.all()}
        names = {(one.labels.name, one.labels.owner) for one in sessions.running()}
        for row in group:
            if _is_alive(row.holder):
                raise Conflict(
                    f"session {row.session_id} belongs to a running daemon (pid {row.holder.partition(':')[0]})",
                    hint=f"it answers at {row.home}",
                )
            if row.session_id in ids:
                raise Conflict(f"there is a session {row.session_id} here already")
            if row.name is not None and (row.name, row.owner) in names:
                raise NameTaken(f"the name {row.name!r} belongs to a running session", hint="close or rename that one")

    async def _find(self, group: Sequence[Row]) -> list[Found]:
        """Take hold of all of them, or of none. Raises `Conflict` with the one that is missing."""
        found: list[Found] = []
        try:
            for row in group:
                try:
                    found.append(await self._hold(row))
                except (LookupError, ValueError) as exc:
                    raise Conflict(
                        f"session {row.session_id} cannot be recovered: {exc}",
                        hint="nothing was changed; a workspace is recovered as a whole or not at all",
                    ) from exc
            return found
        finally:
            if len(found) < len(group):
                with trio.move_on_after(_RELEASE_SECONDS, shield=True):
                    await self._release(found)

    async def _hold(self, row: Row) -> Found:
        remembered, place = _read(row)
        server = await self._server(place.socket)
        child, transcript = await server.restore(place, _capacity(row), row.reserved_end)
        return row, remembered, child, transcript

    async def _release(self, found: Sequence[Found]) -> None:
        for _, _, child, _ in found:
            await child.aclose()

    async def _take_up(self, row: Row, remembered: Remembered, child: TmuxChild, transcript: Transcript) -> Session:
        row.holder, row.home = self._holder, self._home
        row.reserved_end += _BLOCK_BYTES
        self._keep(child, row)
        self.index.put(row)
        session = await self._sessions().restore(child, transcript, remembered)
        session.saver.record()
        return session


def _read(row: Row) -> tuple[Remembered, Place]:
    try:
        place = msgspec.convert(row.place, Place)
    except msgspec.ValidationError as exc:
        raise ValueError(f"its place cannot be read: {exc}") from exc
    remembered = recall({RECORD: row.record})
    assert remembered is not None
    record = remembered.record
    size = record.sizes[-1][1:] if record.sizes else record.first_size
    # The terminal has its size, and nothing of the log before is left that would need another one.
    remembered.record = msgspec.structs.replace(record, first_size=size, sizes=[], first_resize=0, viewers=0)
    if record.log_directory is not None:
        remembered.log = SavedLog(directory=record.log_directory, offset=row.reserved_end, size_bytes=None)
    return remembered, place


def _detached(record: Record, now: int) -> Record:
    """Return the record of a session that another daemon has recovered: nobody holds its lease any more."""
    lease = record.lease
    if lease is not None and lease.holder is not None:
        lease = msgspec.structs.replace(lease, holder=None, detached_at_ms=now)
    return msgspec.structs.replace(record, lease=lease, recovered_at_ms=now)


def _capacity(row: Row) -> int:
    return int(row.record.get("capacity") or 1 << 20)


def _group_key(row: Row) -> str:
    if row.workspace is None:
        return f"session:{row.session_id}"
    return f"workspace:{group_name(row.workspace, row.owner)}"
