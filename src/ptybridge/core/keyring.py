"""Keys and logins: what proves who somebody is where no socket does, kept as hashes in one private file.

How it works: a secret is 256 random bits with a prefix that says what it is. Only its SHA-256 is kept; against guessing
so much randomness needs no slow hash, and a slow one would let strangers buy our time. Changes hold in memory at once
and are answered once they are on the disk. A grant that ends, by revocation or by its time, is told to everybody who
listens, so that what is open on it can be closed; logins end with the key they were made with.
While a daemon hands over to the next, both have the file. So a change is made under a lock, to what the file holds by
then, and whoever looks something up sees by the file's number and time that the other has changed it.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio

from ptybridge.core.eventlog import now_ms
from ptybridge.core.privatefile import read_private, write_private
from ptybridge.errors import ConfigInvalid, Conflict, KeyNotFound, LimitReached, NameTaken
from ptybridge.mistakes import misread
from ptybridge.model import Grant, Level, Value

log = logging.getLogger(__name__)

PREFIXES: Final[dict[str, str]] = {"key": "ptb_", "login": "ptl_"}
SECRET_BYTES: Final = 32
# Nobody types this many; a script that makes keys in a loop must not fill the disk. Of logins the oldest make room.
MAX_KEYS: Final = 1000
MAX_LOGINS: Final = 200
# When a grant was last used is written at most this often.
NOTE_SECONDS: Final = 60.0
# The other daemon holds the lock for the time that a small file takes to be written.
LOCK_SECONDS: Final = 10.0

Ended = Callable[[str], None]


class _Stored(Value):
    """A grant as it lies in the file."""

    grant: Grant
    sha256: str


class _File(Value):
    version: Literal[1] = 1
    grants: list[_Stored] = []


class Keyring:
    """One node's keys and logins. Without a path they live as long as the daemon."""

    def __init__(self, path: Path | None = None) -> None:
        """Load the file; a missing one is empty. Raises `ConfigInvalid` for one that is damaged or open to others."""
        self._path = path
        self._grants: dict[str, Grant] = {}
        self._hashes: dict[str, str] = {}
        self._by_hash: dict[str, str] = {}
        self._unsaved = False
        # What the file does not know yet; everything else that it does not have, somebody else has ended.
        self._made: set[str] = set()
        self._dropped: set[str] = set()
        self._seen: tuple[int, int, int] | None = None
        self._writing = trio.Lock()  # of two that change something, the later writes last
        self.ended: list[Ended] = []
        if path is not None:
            self._seen = _version(path)
            for one in _load(path):
                self._put(one.grant, one.sha256)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End what expires, and write down when grants were used, until cancelled."""
        task_status.started()
        while True:
            due = min((one.expires_at_ms for one in self._grants.values() if one.expires_at_ms), default=None)
            left = NOTE_SECONDS if due is None else max(0.05, (due - now_ms()) / 1000)
            await trio.sleep(min(left, NOTE_SECONDS))
            self._look()
            if self._expire() or self._unsaved:
                try:
                    await self._save()
                except OSError as exc:
                    log.warning("keys cannot be written to %s: %s", self._path, exc.strerror)

    # -- looking --------------------------------------------------------------------------------------------

    def find(self, secret: str) -> Grant | None:
        """Return the grant this secret proves, None for a wrong, revoked or expired one."""
        self._look()
        digest = _hash(secret)
        grant_id = self._by_hash.get(digest[:16])
        # What is looked up is the beginning of a hash, which tells a guesser nothing about the secret.
        if grant_id is None or not hmac.compare_digest(self._hashes[grant_id], digest):
            return None
        grant = self._grants[grant_id]
        if _over(grant):
            return None
        now = now_ms()
        if grant.last_used_at_ms is None or now - grant.last_used_at_ms > NOTE_SECONDS * 1000:
            self._grants[grant_id] = msgspec.structs.replace(grant, last_used_at_ms=now)
            self._unsaved = True
        return grant

    def get(self, grant_id: str) -> Grant | None:
        """Return a grant that is still good."""
        grant = self._grants.get(grant_id)
        return None if grant is None or _over(grant) else grant

    def all(self) -> list[Grant]:
        """Return what is good, oldest first."""
        self._look()
        return sorted((one for one in self._grants.values() if not _over(one)), key=lambda one: one.created_at_ms)

    # -- changing -------------------------------------------------------------------------------------------

    async def create_key(
        self,
        name: str,
        level: Level,
        *,
        expires_in_ms: int | None = None,
        session_ids: tuple[str, ...] | None = None,
    ) -> tuple[Grant, str]:
        """Make a key; return it and its secret, which nobody can find out again.

        Raises `NameTaken`, `LimitReached`, or `Conflict` when it cannot be written down; then there is none.
        """
        keys = [one for one in self.all() if one.kind == "key"]
        if any(one.name == name for one in keys):
            raise NameTaken(f"there is a key {name!r} already", hint="choose another name, or revoke that one")
        if len(keys) >= MAX_KEYS:
            raise LimitReached(f"there are {MAX_KEYS} keys already", hint="revoke those that are not used")
        grant_id = self._new_id("k")
        return await self._add(
            Grant(
                grant_id=grant_id,
                kind="key",
                name=name,
                level=level,
                principal=f"key:{grant_id}",
                created_at_ms=now_ms(),
                expires_at_ms=None if expires_in_ms is None else now_ms() + expires_in_ms,
                session_ids=session_ids,
            )
        )

    async def create_login(
        self,
        name: str,
        level: Level,
        principal: str,
        *,
        expires_in_ms: int,
        parent_id: str | None = None,
        session_ids: tuple[str, ...] | None = None,
    ) -> tuple[Grant, str]:
        """Make a login, as `create_key`. It never outlives the key it is made with."""
        logins = [one for one in self.all() if one.kind == "login"]
        for old in logins[: max(0, len(logins) - MAX_LOGINS + 1)]:
            self._drop(old.grant_id)
        expires = now_ms() + expires_in_ms
        parent = None if parent_id is None else self.get(parent_id)
        if parent is not None and parent.expires_at_ms is not None:
            expires = min(expires, parent.expires_at_ms)
        return await self._add(
            Grant(
                grant_id=self._new_id("l"),
                kind="login",
                name=name,
                level=level,
                principal=principal,
                created_at_ms=now_ms(),
                expires_at_ms=expires,
                parent_id=parent_id,
                session_ids=session_ids,
            )
        )

    async def revoke(self, which: str) -> list[Grant]:
        """End a grant, by its id or a key's name, and the logins made with it; return them. Raises `KeyNotFound`."""
        found = self.get(which) or next((one for one in self.all() if one.kind == "key" and one.name == which), None)
        if found is None:
            raise KeyNotFound(f"there is no key or login {which[:80]!r}")
        gone = [found, *(one for one in self.all() if one.parent_id == found.grant_id)]
        for one in gone:
            self._drop(one.grant_id)
        await self._saved("it is revoked, but will be good again after a restart of the daemon")
        return gone

    # -- inside ---------------------------------------------------------------------------------------------

    async def _add(self, grant: Grant) -> tuple[Grant, str]:
        secret = PREFIXES[grant.kind] + secrets.token_urlsafe(SECRET_BYTES)
        self._put(grant, _hash(secret))
        self._made.add(grant.grant_id)
        try:
            await self._saved("nothing was made")
        except BaseException:
            self._drop(grant.grant_id)
            raise
        return grant, secret

    def _put(self, grant: Grant, digest: str) -> None:
        self._grants[grant.grant_id] = grant
        self._hashes[grant.grant_id] = digest
        self._by_hash[digest[:16]] = grant.grant_id

    def _drop(self, grant_id: str) -> None:
        if self._grants.pop(grant_id, None) is not None:
            self._dropped.add(grant_id)
            self._made.discard(grant_id)
            self._by_hash.pop(self._hashes.pop(grant_id)[:16], None)
            for tell in list(self.ended):
                tell(grant_id)

    def _expire(self) -> bool:
        over = [one.grant_id for one in self._grants.values() if _over(one)]
        for grant_id in over:
            self._drop(grant_id)
        return bool(over)

    def _new_id(self, letter: str) -> str:
        while (grant_id := letter + secrets.token_hex(4)) in self._grants:
            pass
        return grant_id

    async def _saved(self, otherwise: str) -> None:
        try:
            await self._save()
        except OSError as exc:
            raise Conflict(f"{self._path} cannot be written ({exc.strerror}): {otherwise}") from exc

    async def _save(self) -> None:
        async with self._writing:
            if self._path is None:
                return
            path = self._path
            async with _locked(path):
                self._look()
                self._unsaved = False
                stored = [_Stored(grant=one, sha256=self._hashes[one.grant_id]) for one in self._grants.values()]
                made, dropped = set(self._made), set(self._dropped)
                data = msgspec.json.format(msgspec.json.encode(_File(grants=stored)), indent=1)
                with trio.CancelScope(shield=True):  # a rename is quick; half of one is none
                    await trio.to_thread.run_sync(write_private, path, data + b"\n")
                self._seen = _version(path)
                self._made -= made
                self._dropped -= dropped

    def _look(self) -> None:
        """Take over what another daemon has changed in the file. What cannot be read changes nothing."""
        if self._path is None or (version := _version(self._path)) in {None, self._seen}:
            return
        self._seen = version
        try:
            there = {one.grant.grant_id: one for one in _load(self._path)}
        except ConfigInvalid as exc:
            log.warning("%s", exc.message)
            return
        for grant_id in [one for one in self._grants if one not in there and one not in self._made]:
            self._drop(grant_id)
            self._dropped.discard(grant_id)
        for grant_id, one in there.items():
            if grant_id not in self._grants and grant_id not in self._dropped:
                self._put(one.grant, one.sha256)


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Keep other daemons from changing the file. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The file itself is replaced, so it cannot be what is locked; its directory stays.
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = trio.current_time() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if trio.current_time() >= deadline:
                    raise
            await trio.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what is another for each file that replaces the last, None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _over(grant: Grant) -> bool:
    return grant.expires_at_ms is not None and grant.expires_at_ms <= now_ms()


def _load(path: Path) -> list[_Stored]:
    try:
        data = read_private(path)
        return [] if data is None else msgspec.json.decode(data, type=_File).grants
    except (OSError, msgspec.MsgspecError) as exc:
        raise ConfigInvalid(
            f"the keys in {path} cannot be read: {misread(exc)}",
            hint="restore the file, or remove it: then no key and no login is good any more",
        ) from exc
