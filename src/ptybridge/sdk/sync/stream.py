# Made from `sdk/aio` by `make docs`; do not edit.
"""A terminal that calls back: `server.terminal.stream()`, as cmdop's first generation has it.

How it works: `session.follow` is read beside the caller's own work, in a task (for the blocking client: a thread) that
lives from `connect` or `attach` to `close`. Input, sizes and signals are calls of their own. The stream is taken up
behind the last byte when the daemon is restarted. What a callback raises ends the stream, and is raised by `wait` and
`close`: nothing is swallowed.
"""

import base64
from collections import defaultdict
from collections.abc import Callable
from time import time
from types import TracebackType
from typing import Any, Self

from ptybridge.api import command
from ptybridge.api.attach import FOLLOW, ExitedEvent, Follow, OutputEvent
from ptybridge.errors import ClientClosed, Conflict
from ptybridge.sdk.shapes import History, StreamMetrics, StreamState, Terminal
from ptybridge.sdk.sync.connection import Background, Event, called
from ptybridge.sdk.sync.link import Events, Link
from ptybridge.sdk.sync.session import Session

# A shell with integration prints it behind each command (see docs/commands.md). Its end is a number and a nonce.
COMMAND_END = b"\x1b]133;D"
# How many commands are looked at when some have ended.
MOST_COMMANDS = 100

Callback = Callable[..., Any]


class TerminalStream:
    """A session's output by callbacks. Best inside `with`, which connects, and closes at the end.

    Callbacks: `on_output(bytes)`, `on_status(StreamState)`, `on_command_complete(Command)` (of shells with
    integration), `on_history(History)`, `on_error(exception)`, `on_disconnect(reason)`; the asynchronous client's may
    be coroutine functions. They are called one after the other; the next output waits for them.
    """

    def __init__(
        self,
        link: Link,
        create: Callable[[], Terminal],
        history: Callable[[str, int, int], History],
        session_id: str | None = None,
    ) -> None:
        self.session_id = session_id
        self.state = StreamState.IDLE
        self.metrics = StreamMetrics()
        self.error: BaseException | None = None
        self.exit: ExitedEvent | None = None
        self._link = link
        self._create = create
        self._history = history
        self._callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self._made = False
        self._events: Events[Any] | None = None
        self._background: Background | None = None
        self._ended: Event | None = None
        self._tail = b""
        self._commands = 0

    # -- callbacks ------------------------------------------------------------------------------------------

    def on_output(self, callback: Callback) -> Self:
        """Call with each piece of output, bytes."""
        return self._on("output", callback)

    def on_status(self, callback: Callback) -> Self:
        """Call with each new state."""
        return self._on("status", callback)

    def on_error(self, callback: Callback) -> Self:
        """Call with what has ended the stream; `wait` and `close` raise it as well."""
        return self._on("error", callback)

    def on_command_complete(self, callback: Callback) -> Self:
        """Call with each command that has ended in the session's shell: its line, exit code and place."""
        return self._on("command", callback)

    def on_history(self, callback: Callback) -> Self:
        """Call with what `request_history` gets."""
        return self._on("history", callback)

    def on_disconnect(self, callback: Callback) -> Self:
        """Call at the end, with "exited", "detached", "closed" or "error"."""
        return self._on("disconnect", callback)

    # -- life -----------------------------------------------------------------------------------------------

    def connect(self, timeout: float = 10.0) -> str:
        """Start a session and follow it; return its id. `close` will end it. The client's settings bound each step.

        `timeout` is there for programs that were written for cmdop, and has no effect.
        """
        if self.session_id is None:
            self._become(StreamState.CONNECTING)
            self.session_id = (self._create()).session_id
            self._made = True
        return self.attach(self.session_id, timeout, offset=0 if self._made else None)

    def attach(self, session_id: str, timeout: float = 10.0, *, offset: int | None = None) -> str:
        """Follow a session that is there, from now on (or from `offset`); `close` will leave it as it is."""
        if self._background is not None:
            raise Conflict("this stream is connected already", hint="each session has a stream of its own")
        self.session_id = session_id
        self._become(StreamState.CONNECTING)
        if offset is None:
            offset = (Session(self._link, session_id).get()).end_offset
        if self._callbacks["command"]:
            self._commands = self._newest_command()
        self._events = self._link.stream(FOLLOW, Follow(session_id=session_id, offset=offset, encoding="base64"))
        self._events.open()
        self._ended = Event()
        self._background = Background()
        self._background.begin()
        self._become(StreamState.CONNECTED)
        self._background.start(self._run)
        return session_id

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Connect, if that was not done yet."""
        if self._background is None:
            self.connect(timeout)

    def wait(self) -> ExitedEvent | None:
        """Wait until the program has ended, or the stream was closed. Raises what a callback has raised."""
        if self._ended is not None:
            self._ended.wait()
        self._raise()
        return self.exit

    def detach(self) -> str:
        """Leave the session as it is; return its id."""
        self._made = False
        self._end("detached")
        return self.session_id or ""

    def close(self, reason: str = "closed") -> None:
        """End the stream, and the session if this stream has made it. Raises what a callback has raised."""
        try:
            self._end(reason)
        finally:
            if self._made and self.session_id is not None:
                self._made = False
                # It is shielded and bounded there.
                Session(self._link, self.session_id).__exit__(None, None, None)
        self._raise()

    def __enter__(self) -> Self:
        if self._background is None:
            self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self.error = None  # that of the block comes first
        self.close()

    # -- the other way --------------------------------------------------------------------------------------

    def send_input(self, data: bytes | str) -> None:
        """Send input, all of it or nothing."""
        accepted = self._session().write(data)
        self.metrics.bytes_sent += accepted
        self.metrics.messages_sent += 1
        self.metrics.last_activity = time()

    def send_resize(self, cols: int, rows: int) -> None:
        """Set the size of the terminal."""
        self._session().resize(cols, rows)

    def send_signal(self, signal: str | int) -> None:
        """Send a signal, by name or number."""
        if isinstance(signal, int):
            import signal as signals

            signal = signals.Signals(signal).name
        self._session().signal(str(signal))

    def request_history(self, limit: int = 100, offset: int = 0) -> History:
        """Get lines the terminal has shown before; callbacks get them, too."""
        found = self._history(self._session().session_id, limit, offset)
        self._call("history", found)
        return found

    @property
    def is_connected(self) -> bool:
        """Whether output is being followed."""
        return self.state is StreamState.CONNECTED

    # -- inside ---------------------------------------------------------------------------------------------

    def _on(self, what: str, callback: Callback) -> Self:
        self._callbacks[what].append(callback)
        return self

    def _session(self) -> Session:
        if self.session_id is None:
            raise ClientClosed("this stream has no session yet", hint="`connect` makes one, `attach` takes one")
        return Session(self._link, self.session_id)

    def _raise(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _call(self, what: str, value: object) -> None:
        for callback in self._callbacks[what]:
            called(callback, value)

    def _become(self, state: StreamState) -> None:
        if state is not self.state:
            self.state = state
            self._call("status", state)

    def _end(self, reason: str) -> None:
        background, events = self._background, self._events
        if background is None or events is None:
            return
        if self.state in (StreamState.CONNECTED, StreamState.CONNECTING):
            self._become(StreamState.CLOSING)
        events.interrupt()
        if background.inside:
            return  # a callback: the task ends behind it
        self._background = self._events = None
        background.close()
        if self.state is StreamState.CLOSING:
            self._become(StreamState.CLOSED)
            self._call("disconnect", reason)
        if self._ended is not None:
            self._ended.set()

    def _run(self) -> None:
        failed: Exception | None = None
        try:
            self._read()
        except Exception as exc:  # a callback may raise anything
            if not (isinstance(exc, ClientClosed) and self.state is StreamState.CLOSING):
                failed = exc
        if failed is not None:
            self.error = failed
            self.metrics.errors += 1
            self._become(StreamState.ERROR)
            self._call("error", failed)
            self._call("disconnect", "error")
        elif self.state is StreamState.CONNECTED:
            self._become(StreamState.CLOSED)
            self._call("disconnect", "exited")
        if self._ended is not None:
            self._ended.set()

    def _read(self) -> None:
        events = self._events
        if events is None:
            return
        try:
            for event in events:
                if isinstance(event, OutputEvent):
                    self._output(base64.b64decode(event.data))
                elif isinstance(event, ExitedEvent):
                    self.exit = event
                self.metrics.reconnect_count = events.resumed
                if self.state is StreamState.CLOSING:
                    return
        finally:
            events.close()

    def _output(self, data: bytes) -> None:
        metrics = self.metrics
        metrics.bytes_received += len(data)
        metrics.messages_received += 1
        metrics.last_activity = time()
        self._call("output", data)
        if self._callbacks["command"]:
            around = self._tail + data
            self._tail = around[-len(COMMAND_END) + 1 :]
            if COMMAND_END in around:
                self._tell_commands()

    def _tell_commands(self) -> None:
        params = command.ListCommands(session_id=self._session().session_id, limit=MOST_COMMANDS)
        found = self._link.call(command.LIST, params)
        for one in reversed(found.commands):
            if one.number > self._commands and one.ended_at_ms is not None:
                self._commands = one.number
                self._call("command", one)

    def _newest_command(self) -> int:
        params = command.ListCommands(session_id=self._session().session_id, limit=MOST_COMMANDS)
        found = self._link.call(command.LIST, params)
        return max((one.number for one in found.commands if one.ended_at_ms is not None), default=0)
