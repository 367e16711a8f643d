# Made from `sdk/aio` by `make docs`; do not edit.
"""`server.terminal`: the surface cmdop's first generation promised, over the operations that keep the promises.

A program written for it works with the import changed. One order of parameters holds in both clients: the session
comes first. Commands run as children of their own, so nothing is typed into anybody's shell unless a session is named.
"""

import base64
import os
from collections.abc import Mapping
from typing import Any

from ptybridge.api import attach, command, exec, lease, node, session, terminal
from ptybridge.errors import Conflict, ConnectionLost, NotFound
from ptybridge.sdk.durations import milliseconds
from ptybridge.sdk.shapes import Executed, HeadTail, History, SessionMode, Terminal, Terminals, shaped
from ptybridge.sdk.sync.link import Link
from ptybridge.sdk.sync.session import Session
from ptybridge.sdk.sync.stream import TerminalStream

CREATE, GET, LIST = shaped(session.CREATE, Terminal), shaped(session.GET, Terminal), shaped(session.LIST, Terminals)
MOST_LINES = 100_000
READ_BYTES = 1 << 20
# Of what a command prints, at either end.
KEPT_BYTES = 8 << 20


class TerminalService:
    """Sessions behind terminals, by id."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._session_id: str | None = None
        self._hostname: str | None = None

    # -- the calls of both of cmdop's clients ---------------------------------------------------------------

    def create(
        self,
        shell: str | None = None,
        cols: int = 80,
        rows: int = 24,
        env: Mapping[str, str | None] | None = None,
        working_dir: str | os.PathLike[str] | None = None,
        mode: str = SessionMode.SHARED,
    ) -> Terminal:
        """Start a shell (the user's, or `shell`). With the mode "exclusive" this client takes the lease."""
        readonly = mode == SessionMode.READONLY
        params = session.Create(
            command=None if shell is None else [shell],
            cols=cols,
            rows=rows,
            env=None if env is None else dict(env),
            cwd=None if working_dir is None else os.fspath(working_dir),
            access="read-only" if readonly else "admin",
        )
        made = self._link.call(CREATE, params)
        if mode == SessionMode.EXCLUSIVE:
            self._link.call(lease.ACQUIRE, lease.Acquire(session_id=made.session_id))
        return made

    def execute(
        self,
        command: str,
        timeout: float | None = 30.0,
        session_id: str | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> Executed:
        """Run a command to its end and return (output, exit code); both its streams, in the order they came.

        They come through two pipes: what is printed on both in the same instant may come either way round.
        After `timeout` seconds it is ended with everything it has started, and the code is -1. With `session_id`, or
        after `set_session_id`, it runs in that session's shell, and goes on after the time-out.
        """
        chosen = session_id or self._session_id
        if chosen is not None:
            return self._execute_in(chosen, command, timeout)
        params = exec.Stream(
            command=command,
            cwd=None if cwd is None else os.fspath(cwd),
            env=None if env is None else dict(env),
            encoding="base64",
            timeout_ms=milliseconds(timeout),
        )
        output = HeadTail(KEPT_BYTES)
        with self._link.stream(exec.STREAM, params) as events:
            for event in events:
                if isinstance(event, attach.OutputEvent):
                    output.add(base64.b64decode(event.data))
                elif isinstance(event, exec.FinishedEvent):
                    return output.executed(_status(event.exit_code, event.exit_signal, event.timed_out))
        raise ConnectionLost("the daemon has ended before the command had", hint="look before you repeat it")

    def stream(
        self,
        shell: str | None = None,
        cols: int = 80,
        rows: int = 24,
        env: Mapping[str, str | None] | None = None,
        working_dir: str | os.PathLike[str] | None = None,
    ) -> TerminalStream:
        """Return a stream that will start a shell of its own, and tells by callbacks what it prints."""
        return TerminalStream(self._link, lambda: self.create(shell, cols, rows, env, working_dir), self.get_history)

    def attach_stream(self, session_id: str) -> TerminalStream:
        """Return a stream for a session that is there; inside `with`, or after `connect`, it follows it."""
        return TerminalStream(self._link, lambda: self.create(), self.get_history, session_id)

    def send_input(self, session_id: str, data: bytes | str) -> None:
        """Send input, all of it or nothing."""
        Session(self._link, session_id).write(data)

    def resize(self, session_id: str, cols: int, rows: int) -> None:
        """Set the size of the terminal."""
        Session(self._link, session_id).resize(cols, rows)

    def send_signal(self, session_id: str, signal: str) -> None:
        """Send a signal by name. One that does not exist is an error."""
        Session(self._link, session_id).signal(str(signal))

    def close(self, session_id: str, force: bool = False) -> None:
        """End the session; with `force` its programs are killed without much waiting."""
        Session(self._link, session_id).close(grace=0.0 if force else 1.5)

    def get_history(self, session_id: str, lines: int = 1000, offset: int = 0) -> History:
        """Return what the terminal has shown, as lines without escape sequences, scrollback and all.

        The newest `lines` of them; `offset` lines from the end are left out, to page back.
        """
        params = terminal.GetScreen(session_id=session_id, scrollback_lines=MOST_LINES)
        try:
            picture = self._link.call(terminal.SCREEN, params)
            shown = [*picture.scrollback, *picture.lines]
        except Conflict:  # behind pipes there is no screen
            shown = (self.get_output(session_id)).decode("utf-8", "replace").splitlines()
        while shown and not shown[-1].strip():
            shown.pop()
        end = max(0, len(shown) - offset)
        first = max(0, end - lines)
        text = "".join(f"{line.rstrip()}\n" for line in shown[first:end])
        return History(session_id=session_id, data=text.encode(), total_lines=len(shown), has_more=first > 0)

    def get_output(self, session_id: str, limit: int = 0, offset: int = 0) -> bytes:
        """Return the raw output that is kept, from `offset` on; `limit` 0 is at most 1 MiB."""
        params = terminal.Read(session_id=session_id, offset=offset, max_bytes=limit or READ_BYTES, encoding="base64")
        return base64.b64decode((self._link.call(terminal.READ, params)).data)

    # -- those of its asynchronous client -------------------------------------------------------------------

    def list_sessions(self, hostname: str | None = None, status: str | None = None, limit: int = 20) -> Terminals:
        """List sessions; `status` is their state ("running", "exited"). Another machine's are not to be had yet."""
        if hostname is not None:
            self.set_machine(hostname)
        found = self._link.call(LIST, session.List(state=status))  # type: ignore[arg-type]  # the daemon checks
        return Terminals(sessions=found.sessions[:limit], total=len(found.sessions))

    def list_active_sessions(self, hostname: str | None = None, limit: int = 100) -> list[Terminal]:
        """List the sessions that run."""
        return (self.list_sessions(hostname, "running", limit)).sessions

    def get_active_session(self, hostname: str | None = None) -> Terminal | None:
        """Return the session that was used last of those that run, None if there is none."""
        found = self.list_active_sessions(hostname, 100_000)
        return max(found, key=lambda one: one.last_active_at_ms, default=None)

    def set_machine(self, hostname: str, partial_match: bool = True) -> node.NodeInfo:
        """Choose the machine. There is only this one; any other name raises `NotFound`."""
        info = self._link.call(node.INFO, node.GetInfo())
        if hostname != info.hostname and not (partial_match and hostname in info.hostname):
            raise NotFound(f"this is {info.hostname}; other machines come with the relay")
        self._hostname = info.hostname
        return info

    def set_session_id(self, session_id: str) -> None:
        """Let `execute` use the shell of this session."""
        self._session_id = session_id

    def clear_session(self) -> None:
        """Let `execute` run commands by themselves again."""
        self._session_id = None

    clear_session_id = clear_session

    @property
    def current_session(self) -> str | None:
        """What was set with `set_session_id`."""
        return self._session_id

    @property
    def current_hostname(self) -> str | None:
        """What was set with `set_machine`."""
        return self._hostname

    # -- inside ---------------------------------------------------------------------------------------------

    def _execute_in(self, session_id: str, line: str, timeout: float | None) -> Executed:
        params = command.RunCommand(
            session_id=session_id,
            command=line,
            timeout_ms=milliseconds(timeout),
            max_output_bytes=8 << 20,
            needs_input=False,
        )
        ran = self._link.call(command.RUN, params)
        return Executed(ran.output.encode(), -1 if ran.exit_code is None else ran.exit_code)


def _status(exit_code: int | None, exit_signal: str | None, timed_out: bool) -> int:
    if timed_out:
        return -1
    if exit_signal is not None:
        import signal

        found: Any = signal.Signals.__members__.get(exit_signal)
        return 128 + int(found or 0)
    return -1 if exit_code is None else exit_code
