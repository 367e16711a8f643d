"""One invocation of a command: its configuration, its connections, and how it prints."""

import os
import sys
from typing import Any, Final, TypeVar

import msgspec

from ptybridge.api.operation import Operation, Params
from ptybridge.config import Config, Loaded, load
from ptybridge.errors import DaemonUnreachable
from ptybridge.sdk.blocking import Connection, Stream, connect

# For what is answered at once. A daemon that takes longer is stopped or sick, and the user should hear of it.
ANSWER_SECONDS: Final = 30.0

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)


class App:
    """What a command works with. Options write into it before the command runs."""

    def __init__(self) -> None:
        self.flags: dict[str, object] = {}
        self.config_file: str | None = None
        self.json = False
        self._loaded: Loaded | None = None
        self._connection: Connection | None = None
        self._opened: list[Connection] = []

    def close(self) -> None:
        """Close the shared connection and the streams."""
        for connection in self._opened:
            connection.close()

    # -- configuration --------------------------------------------------------------------------------------

    @property
    def loaded(self) -> Loaded:
        """The configuration, read when it is first needed; doubts about the environment go to standard error."""
        if self._loaded is None:
            self._loaded = load(os.environ, self.flags, self.config_file)
            for warning in self._loaded.warnings:
                note(warning)
        return self._loaded

    @property
    def config(self) -> Config:
        """The values alone."""
        return self.loaded.config

    # -- the daemon -----------------------------------------------------------------------------------------

    def connect(self) -> Connection:
        """Open a connection of the caller's own, starting the daemon if there is none. The caller closes it."""
        path = self.config.paths.socket
        try:
            return connect(path)
        except DaemonUnreachable:
            from ptybridge.sdk.autostart import ensure_daemon  # rarely needed, and it takes time to import

            return ensure_daemon(self.config, announce=note)

    def reconnect(self) -> Connection:
        """Open a connection of the caller's own; never starts a daemon."""
        return connect(self.config.paths.socket)

    @property
    def connection(self) -> Connection:
        """The connection that a command's calls share."""
        if self._connection is None:
            self.use(self.connect())
        assert self._connection is not None
        return self._connection

    def use(self, connection: Connection) -> None:
        """Share this connection from now on; it is closed at the end."""
        self._connection = connection
        self._opened.append(connection)

    def call(self, operation: Operation[P, R], params: P, timeout: float | None = ANSWER_SECONDS) -> R:
        """Call an operation."""
        return self.connection.call(operation, params, timeout)

    def stream(self, operation: Operation[P, R], params: P) -> Stream[R, Any]:
        """Open a stream on a connection of its own, which is closed at the end."""
        connection = self.connect()
        self._opened.append(connection)
        return connection.stream(operation, params)

    # -- printing -------------------------------------------------------------------------------------------

    def emit(self, value: object) -> None:
        """Print a value as JSON, indented for people."""
        text = msgspec.json.format(msgspec.json.encode(value), indent=2)
        print(harmless_json(text.decode()))

    def emit_line(self, value: object) -> None:
        """Print a value as one line of JSON, at once."""
        print(harmless_json(msgspec.json.encode(value).decode()), flush=True)


def harmless_json(text: str) -> str:
    """Escape what JSON may hold as it is, but what would steer or deceive a terminal."""
    if text.isascii() or not sys.stdout.isatty():
        return text
    import json

    from ptybridge.text import UNPRINTABLE

    return UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def note(message: str) -> None:
    """Tell the user something beside the output."""
    from ptybridge.text import printable

    print(f"ptybridge: {printable(message, 2000)}", file=sys.stderr, flush=True)
