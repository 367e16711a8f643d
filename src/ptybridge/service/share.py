"""The shared session: started with the first visitor, ended when the last has been gone for a while.

How it works: it is a session like any other, created by the user, with a limit on how long nobody may be on it, and
an access level that lets only its creator end it, signal it and change its labels. Visitors have a key of level
`write` (or `read`) that is for the session called `SHARED`, whichever that is at the moment. What is served is noted
beside the daemon's socket, so that a daemon that follows this one serves it, too.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from ptybridge import config
from ptybridge.api import share as api
from ptybridge.api.key import described
from ptybridge.core.keyring import Keyring
from ptybridge.core.labels import Labels
from ptybridge.core.limits import Limits
from ptybridge.core.privatefile import read_private, write_private
from ptybridge.core.session import Session
from ptybridge.core.sessions import Sessions, SessionSpec
from ptybridge.core.signals import signal_number
from ptybridge.errors import NameTaken, Unavailable
from ptybridge.model import SHARED, Caller, ExitStatus, Level
from ptybridge.service import authority
from ptybridge.service.dispatcher import handles

log = logging.getLogger(__name__)

NAME: Final = "public"


class Front(Protocol):
    """What of the web front is needed."""

    @property
    def base_url(self) -> str: ...


class ShareService:
    """What `ptybridge serve -c CMD` serves to the web. `front` is set once there is one.

    `prefix`: what its paths begin with. `stop` ends the daemon with an exit status.
    """

    front: Front

    def __init__(
        self,
        sessions: Sessions,
        keyring: Keyring,
        settings: config.Serve,
        note: Path,
        prefix: str = "",
        stop: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._note = note
        self._prefix = prefix
        self._stop = stop
        self.settings = settings if settings.command is not None else self._remembered() or settings
        self._starting = trio.Lock()  # of two first visitors one starts it
        self._begun = trio.Event()
        # The one that was started last: a program that ends at once is no running session any more when `run` looks.
        self._last: Session | None = None

    @property
    def public(self) -> bool:
        """Whether there is something to share."""
        return self.settings.public and self.settings.command is not None

    def current(self) -> Session | None:
        """Return the shared session, while it runs."""
        return next((one for one in self._sessions.running() if one.labels.shared), None)

    def session_id(self) -> str | None:
        """Return the id of the session that visitors may see: the one that runs, or the last that ran."""
        found = [one for one in self._sessions.all() if one.labels.shared]
        return found[-1].session_id if found else None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End the daemon with the session where it is served once; else nothing."""
        task_status.started()
        if not self.settings.once:
            return
        await self._begun.wait()
        assert self._last is not None
        await self._last.exited.wait()
        self._stop(_status(self._last))

    def forget(self) -> None:
        """A daemon to come serves this no more."""
        try:
            self._note.unlink(missing_ok=True)
        except OSError as exc:
            log.warning("%s cannot be removed, so a daemon to come will serve what it says: %s", self._note, exc)

    async def invite(self) -> str:
        """Return a link for visitors, in place of the last that was made so. Raises `PtybridgeError`."""
        name = "visitor"
        if any(one.name == name and one.kind == "key" for one in self._keyring.all()):
            await self._keyring.revoke(name)
        ttl = self.settings.link_ttl_ms
        return (await self._link(name, read_only=False, expires_in_ms=ttl)).url

    # -- operations -----------------------------------------------------------------------------------------

    @handles(api.JOIN)
    async def join(self, caller: Caller, params: api.JoinShare) -> api.Joined:
        """Lead to it; start it."""
        if not self.public:
            raise Unavailable("this daemon shares no session", hint="start it with `ptybridge serve -c CMD --public`")
        async with self._starting:
            session, started = self.current(), False
            if session is None:
                if self.settings.once and self._last is not None:
                    raise Unavailable("the session has ended, and was served once")
                session, started = await self._start(), True
        authority.require_room(caller, session)
        return api.Joined(
            session_id=session.session_id,
            started=started,
            clients=session.clients,
            max_clients=session.limits.max_clients,
            backend=session.child.backend,
        )

    @handles(api.LINK)
    async def link(self, caller: Caller, params: api.LinkShare) -> api.ShareLink:
        """Make a link."""
        return await self._link(params.name, read_only=params.read_only, expires_in_ms=params.expires_in_ms)

    @handles(api.STATUS)
    def status(self, caller: Caller, params: api.ShareStatus) -> api.ShareState:
        """What is served."""
        settings, session = self.settings, self.current()
        return api.ShareState(
            command=settings.command,
            cwd=settings.cwd,
            public=self.public,
            read_only=settings.read_only,
            once=settings.once,
            session_id=None if session is None else session.session_id,
            clients=0 if session is None else session.clients,
            max_clients=settings.max_clients,
        )

    # -- inside ---------------------------------------------------------------------------------------------

    async def _link(self, name: str, *, read_only: bool, expires_in_ms: int) -> api.ShareLink:
        if not self.public or not self.front.base_url:
            raise Unavailable("nothing is shared over the web here", hint="`ptybridge serve -c CMD --public`")
        level: Level = "read" if read_only or self.settings.read_only else "write"
        grant, value = await self._keyring.create_key(name, level, expires_in_ms=expires_in_ms, session_ids=(SHARED,))
        url = f"{self.front.base_url}{self._prefix}/login?next=public#{value}"
        return api.ShareLink(url=url, key=described(grant))

    async def _start(self) -> Session:
        settings = self.settings
        spec = SessionSpec(
            command=settings.command, backend=settings.backend, cwd=settings.cwd, caller_env=dict(os.environ)
        )
        limits = Limits(unattended_timeout=settings.grace_ms / 1000, max_clients=settings.max_clients)
        labels = Labels(name=NAME, access="read-only" if settings.read_only else "read-write", shared=True)
        owner = f"uid:{os.geteuid()}"
        try:
            session = await self._sessions.create(spec, labels, limits, owner)
        except NameTaken:
            session = await self._sessions.create(spec, msgspec.structs.replace(labels, name=None), limits, owner)
        self._last = session
        self._begun.set()
        return session

    def remember(self) -> None:
        """Note what is served for a daemon to come. What is served once is not: another process cannot end as asked."""
        if self.settings.command is None or self.settings.once:
            return
        try:
            write_private(self._note, msgspec.json.encode(self.settings))
        except OSError as exc:
            log.warning("what is served cannot be noted, so a daemon to come will not serve it: %s", exc)

    def _remembered(self) -> config.Serve | None:
        try:
            data = read_private(self._note)
            return None if data is None else msgspec.json.decode(data, type=config.Serve)
        except (OSError, msgspec.MsgspecError):
            return None


def _status(session: Session) -> int:
    """Return the exit status to end with: the program's own, as shells tell it; 0 when we have ended it."""
    status = session.status or ExitStatus()
    if session.exit_reason in {"idle", "closed", "timeout"}:
        return 0
    if status.signal is not None:
        return 128 + signal_number(status.signal)
    return status.code or 0
