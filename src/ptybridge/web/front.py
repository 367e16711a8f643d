"""The web front as the daemon has it: off until it is opened, and then on the same port as before.

How it works: what serves is imported when it is first wanted, in a thread, because that takes a third of a second.
Where it listened is noted beside the daemon's socket until the daemon is stopped, so that after a crash or a restart
links and bookmarks still lead here.
"""

import importlib
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
import trio
from msgspec.structs import replace

from ptybridge import config
from ptybridge.errors import PtybridgeError, Unavailable
from ptybridge.model import Caller, Level
from ptybridge.web import listening
from ptybridge.web.context import Web

log = logging.getLogger(__name__)

NOTE: Final = "web.json"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Where the front listened: on `port`, because `wanted_port` of `host` was asked for.

    `given`: the addresses of sockets that were the service manager's.
    """

    port: int
    host: str = "127.0.0.1"
    wanted_port: int = 7373
    given: list[str] = []


class WebFront:
    """One daemon's web front."""

    def __init__(self, web: Web, inherited: Sequence[socket.socket] = (), given: Sequence[socket.socket] = ()) -> None:
        """`inherited`: the listening sockets of the daemon that hands over to this one.

        `given`: those that the service manager has for it; then it opens no port of its own.
        """
        self.web = web
        self._inherited = list(inherited)
        self._given = list(given)
        self._sockets: list[socket.socket] = []
        self._note = Path(web.config.paths.socket).parent / NOTE
        self._wanted = trio.Event()
        self._settled = trio.Event()
        self._ended = trio.Event()
        self._problem: PtybridgeError | None = None
        self._server: Any = None
        self.addresses: tuple[str, ...] = ()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._server.connections if self._server is not None else 0

    def filenos(self) -> list[int]:
        """Return the descriptors of the listening sockets, for a daemon that takes over."""
        return [sock.fileno() for sock in self._sockets if sock.fileno() >= 0]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve from when it is wanted until cancelled.

        Started at once, but where the configuration or the daemon before us wants it, only when it listens; then a
        failure is logged, for the daemon is of use without it.
        """
        if self.web.config.web.enabled or self._given or self._remembered() is not None:
            self._wanted.set()
        async with trio.open_nursery() as nursery:
            if self._wanted.is_set():
                await self._try(nursery)
            task_status.started()
            while self._server is None:
                await self._wanted.wait()
                await self._try(nursery)
        self._ended.set()

    async def open(self, caller: Caller, level: Level = "full", session_id: str | None = None) -> str:
        """Return an address that logs `caller` in; opens the front if it is not. Raises `PtybridgeError`."""
        if self._server is None:
            settled = self._settled
            self._wanted.set()
            await settled.wait()
            if self._problem is not None:
                raise self._problem
        return self.login_url(caller, level, session_id)

    def login_url(self, caller: Caller, level: Level = "full", session_id: str | None = None) -> str:
        """Return an address that logs `caller` in, and leads to the session if one is given; the front is open."""
        if not self.base_url:
            raise Unavailable(f"the web front listens on {', '.join(self.addresses)} only, where no browser can go")
        code = self.web.auth.one_time_code(caller, level) if self.web.auth is not None else None
        base = f"{self.base_url}{self.web.prefix}/"
        wanted = "" if session_id is None else f"?next={quote(f's/{session_id}', safe='')}"
        # The fragment stays in the browser: it is in no log, and in no Referer.
        return base if code is None else f"{base}login{wanted}#{code}"

    @property
    def base_url(self) -> str:
        """The scheme, host and port by which a browser on this machine gets here; empty without a port."""
        address = next((one for one in self.addresses if not one.startswith("unix:")), "")
        scheme = "https" if self.web.config.web.tls_cert else "http"
        return f"{scheme}://{_reachable(address)}" if address else ""

    async def close(self, *, for_good: bool) -> None:
        """End it within its grace time. `for_good`: a daemon to come need not open it."""
        if for_good:
            self._note.unlink(missing_ok=True)
        if self._server is not None:
            self._server.stop()
            with trio.move_on_after(self.web.config.web.grace_ms / 1000 + 1):
                await self._ended.wait()

    # -- inside ---------------------------------------------------------------------------------------------

    async def _try(self, nursery: trio.Nursery) -> None:
        self._problem = None
        try:
            server = await self._prepare()
            await nursery.start(server.serve)
        except PtybridgeError as exc:
            log.error("the web front does not open: %s", exc.message)
            self._problem, self.addresses = exc, ()
            self._wanted = trio.Event()
        else:
            self._server = server
            log.info("the web front listens on %s", ", ".join(self.addresses))
        self._settled.set()
        self._settled = trio.Event()

    async def _prepare(self) -> Any:
        settings, note = self.web.config.web, self._remembered()
        if note is not None:
            settings = replace(settings, host=note.host, port=note.wanted_port)
        sockets = self._take_inherited(settings, note)
        try:
            for sock in self._given:
                listening.check_given(sock, settings)
            if not self._given and not any(sock.family != socket.AF_UNIX for sock in sockets):
                port = note.port or settings.port if note is not None else settings.port
                sockets += await trio.to_thread.run_sync(listening.open_tcp, settings, port)
            if settings.unix_socket is not None and not any(sock.family == socket.AF_UNIX for sock in sockets):
                sockets.append(listening.open_unix(settings.unix_socket))
            if not sockets:
                raise Unavailable("neither web.host nor web.unix_socket says where to listen")
            self._remember(sockets, settings)
            self._sockets = list(sockets)
            self.addresses = tuple(listening.address_of(sock) for sock in sockets)
            # The interpreter's own lock makes whoever comes second wait for the first.
            server = await trio.to_thread.run_sync(importlib.import_module, "ptybridge.web.server")
            app = importlib.import_module("ptybridge.web.app")
            return server.WebServer(app.create(self.web), settings, sockets)
        except BaseException:
            for sock in sockets:
                if sock not in self._given:  # those stay the service manager's answer to where
                    sock.close()
            raise

    def _take_inherited(self, settings: config.Web, note: Note | None) -> list[socket.socket]:
        """Return the sockets of the daemon before us that are still wanted; close the others."""
        taken = []
        for sock in self._inherited:
            if note is not None and listening.address_of(sock) in note.given:
                self._given.append(sock)
                continue
            wanted = sock.getsockname() == settings.unix_socket if sock.family == socket.AF_UNIX else note is not None
            if wanted:
                taken.append(sock)
            else:
                sock.close()
        self._inherited = []
        return [*self._given, *taken]

    def _remembered(self) -> Note | None:
        """Return where the daemon before us listened, unless the configuration wants something else by now."""
        settings = self.web.config.web
        try:
            note = msgspec.json.decode(self._note.read_bytes(), type=Note)
        except (OSError, msgspec.MsgspecError):
            return None
        changed = settings.enabled and (note.host, note.wanted_port) != (settings.host, settings.port)
        return None if changed else note

    def _remember(self, sockets: list[socket.socket], settings: config.Web) -> None:
        port = next((sock.getsockname()[1] for sock in sockets if sock.family != socket.AF_UNIX), 0)
        try:
            fd = os.open(self._note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(fd, "wb") as file:
                given = [listening.address_of(sock) for sock in self._given]
                note = Note(port=port, host=settings.host, wanted_port=settings.port, given=given)
                file.write(msgspec.json.encode(note))
        except OSError as exc:
            log.warning("the web front's port cannot be noted, so another daemon may choose another: %s", exc)


def _reachable(address: str) -> str:
    """Return the address by which this machine gets to it: nobody can connect to "any address"."""
    host, _, port = address.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"
