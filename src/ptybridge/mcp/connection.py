"""What belongs to one MCP connection: its settings and what its tools remember between calls."""

import os
import secrets
import time
from collections.abc import Mapping

import msgspec

from ptybridge.mcp.settings import Settings, read_settings
from ptybridge.model import Caller


class Connection:
    """One MCP client's settings and memory; it ends with the connection, the sessions do not."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.default_cwd: str | None = None
        self.started_at = time.monotonic()
        self.starting = 0  # sessions that count against the limit although they are not there yet
        self.read_timeouts: dict[str, int] = {}
        self.refused_input: dict[str, int] = {}
        self.closed_bytes = (0, 0)  # read and written, of sessions that were closed here
        self._read_as: dict[tuple[str, str | None], str | None] = {}
        # The owner of what is started without naming one. Its sessions need no owner on this connection.
        self.own_owner = "agent-" + secrets.token_hex(4)
        self.owner_optional = False  # pty-mcp's tools, too, take `own_owner` when none is given
        self.shells_known = False  # whether those of this client's earlier connection have been looked for
        self.shells: list[str] = []  # where pty_run runs commands, the one used last at the end
        self.in_use: set[str] = set()  # shells that a pty_run has just now
        self.seen: dict[str, int] = {}  # up to which offset the tools made for agents have shown a session

    @classmethod
    def of_client(
        cls, environ: Mapping[str, str], *, own_owner: str | None = None, owner_optional: bool = False
    ) -> "Connection":
        """Make one for a client with this environment. Raises `ConfigInvalid`."""
        made = cls(read_settings(environ))
        made.own_owner = own_owner or made.own_owner
        made.owner_optional = owner_optional
        return made

    def agent(self, caller: Caller) -> Caller:
        """Return who acts for this client: an AI agent, with the caution its settings ask for."""
        return msgspec.structs.replace(caller, profile="mcp", caution=self.settings.caution)

    # -- positions ------------------------------------------------------------------------------------------

    def reader(self, session_id: str, client_id: str | None) -> str | None:
        """Return whose position a read by `client_id` moves: its own, or (None) the connection's."""
        return self._read_as.setdefault((session_id, client_id), client_id)

    def take_on(self, session_id: str, client_id: str) -> None:
        """`client_id` gets the lease: unless it has read before, it goes on where the connection's reads stand.

        So who reads, attaches and reads on does not see everything twice, while an observer begins at the beginning.
        """
        self._read_as.setdefault((session_id, client_id), None)

    # -- other memory ---------------------------------------------------------------------------------------

    def read_timeout(self, session_id: str, asked: int | None) -> int:
        """Return how long a read waits for output: as asked, as its session's creator said, or as configured."""
        return asked if asked is not None else self.read_timeouts.get(session_id, self.settings.read_timeout_ms)

    def forget(self, session_id: str) -> None:
        """A session is gone."""
        self.read_timeouts.pop(session_id, None)
        self.refused_input.pop(session_id, None)
        self.seen.pop(session_id, None)
        for key in [key for key in self._read_as if key[0] == session_id]:
            del self._read_as[key]

    @property
    def uptime(self) -> float:
        """For how many seconds there has been this connection."""
        return time.monotonic() - self.started_at

    def directory(self, asked: str | None, command: str, cwd: str, home: str | None) -> str:
        """Return where a command starts: as asked, the default, where its program is, or where the client is."""
        if asked:
            return resolved(asked, cwd, home)
        if self.default_cwd:
            return self.default_cwd
        words = command.split(maxsplit=1)
        first = words[0].strip("'\"") if words else ""
        parent = os.path.dirname(first)
        return os.path.realpath(parent) if os.path.isabs(first) and os.path.isdir(parent) else cwd


def resolved(path: str, cwd: str, home: str | None) -> str:
    """Return an absolute path without links, `~` being `home`."""
    if home and (path == "~" or path.startswith("~/")):
        path = home + path[1:]
    return os.path.realpath(os.path.join(cwd, os.path.expanduser(path)))
