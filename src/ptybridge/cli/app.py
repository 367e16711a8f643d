"""One invocation of a command: its configuration, its connections, and how it prints."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec

from ptybridge.api.operation import Operation, Params
from ptybridge.cli.unwritten import end_with_reader
from ptybridge.config import Config, Loaded, load
from ptybridge.errors import ConnectionLost, DaemonUnreachable
from ptybridge.sdk.blocking import Connection, connect
from ptybridge.sdk.repeats import unknown
from ptybridge.sdk.resume import Client, ResumingStream, come_back

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
        self._client: Client | None = None
        self._opened: list[Client | ResumingStream[Any]] = []

    def close(self) -> None:
        """Close the shared connection and the streams."""
        for opened in self._opened:
            opened.close()

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
            connection = connect(path)
        except DaemonUnreachable:
            from ptybridge.sdk.autostart import ensure_daemon  # rarely needed, and it takes time to import

            connection = ensure_daemon(self.config, announce=note)
        return self._stubborn(connection)

    def reconnect(self) -> Connection:
        """Open a connection of the caller's own; never starts a daemon."""
        return connect(self.config.paths.socket)

    def come_back(self) -> Connection:
        """Connect to the daemon that follows one that has gone; see `sdk.resume.come_back`."""
        return self._stubborn(come_back(self.config, announce=note))

    def revive(self, announce: Callable[[str], None]) -> None:
        """Have a daemon again after one has gone, as `come_back` does."""
        come_back(self.config, announce=announce).close()

    def _stubborn(self, connection: Connection) -> Connection:
        connection.revive = lambda: self.revive(note)
        return connection

    @property
    def client(self) -> Client:
        """What a command's calls share; it survives the daemon."""
        if self._client is None:
            self._use(Client(self.connect(), self.come_back))
        assert self._client is not None
        return self._client

    @property
    def connection(self) -> Connection:
        """The connection that the calls share at the moment."""
        return self.client.connection

    def use(self, connection: Connection) -> None:
        """Share this connection from now on, and no other one after it; it is closed at the end."""
        self._use(Client(connection))

    def _use(self, client: Client) -> None:
        self._client = client
        self._opened.append(client)

    def call(self, operation: Operation[P, R], params: P, timeout: float | None = ANSWER_SECONDS) -> R:
        """Call an operation. What only reads waits for a daemon that is being replaced."""
        return self.client.call(operation, params, timeout)

    def stream(self, operation: Operation[P, R], params: P) -> ResumingStream[R]:
        """Open a stream on a connection of its own, which is closed at the end. It goes on with the next daemon."""
        end_with_reader()
        stream = self.client.stream(operation, params)
        self._opened.append(stream)
        return stream

    @contextmanager
    def once(self, operation: Operation[Any, Any]) -> Iterator[Connection]:
        """Give a connection of its own for a stream that no other daemon can go on with."""
        with self.connect() as connection:
            try:
                yield connection
            except ConnectionLost as exc:
                raise unknown(operation) from exc

    # -- printing -------------------------------------------------------------------------------------------

    def emit(self, value: object) -> None:
        """Print a value as JSON, indented for people."""
        text = msgspec.json.format(msgspec.json.encode(value), indent=2)
        print(harmless_json(text.decode()))

    def emit_line(self, value: object) -> None:
        """Print a value as one line of JSON, at once."""
        print(harmless_json(msgspec.json.encode(value).decode()), flush=True)


def harmless_json(text: str) -> str:
    """Escape what JSON may hold as it is, but what would steer or deceive a terminal, or what is not in its letters."""
    if text.isascii():
        return text
    import codecs
    import json

    if codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8":
        return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    if not sys.stdout.isatty():
        return text

    from ptybridge.text import UNPRINTABLE

    return UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def note(message: str) -> None:
    """Tell the user something beside the output."""
    from ptybridge.text import printable

    print(f"ptybridge: {printable(message, 2000)}", file=sys.stderr, flush=True)
