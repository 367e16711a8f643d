# Made from `sdk/aio` by `make docs`; do not edit.
"""A session in hand: what it prints, what is typed into it, and what pexpect would be asked for."""

import base64
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from ptybridge.api import attach, command, session, terminal
from ptybridge.api.operation import Done
from ptybridge.errors import ClientClosed, ExpectExited, ExpectTimeout, SessionNotFound
from ptybridge.model import Encoding
from ptybridge.sdk.durations import milliseconds
from ptybridge.sdk.patterns import EXITED, TIMEOUT, Chunk, Expected, Match, Wanted
from ptybridge.sdk.sync.connection import now, to_the_end
from ptybridge.sdk.sync.link import Events, Link

# What a failed `expect` shows of what was printed instead.
SHOWN_CHARACTERS = 2000
# How long the end of a `with` may take; the ladder has three steps of 1.5 s.
CLOSE_SECONDS = 15.0
# Matches nothing, not even nothing.
NEVER = r"[^\s\S]"


class Session:
    """A session. `offset` is where this handle reads on; other handles and clients have places of their own.

    As a context manager it closes the session at the end, which ends its program.
    `info` is what was known when the handle was made; `get` asks again.
    """

    def __init__(self, link: Link, session_id: str, info: session.SessionInfo | None = None) -> None:
        self.session_id = session_id
        self.info = info
        self.offset = 0
        self._link = link

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session_id}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with to_the_end(CLOSE_SECONDS):
            try:
                self.close()
            except (SessionNotFound, ClientClosed):
                pass  # it is closed, or out of reach, because somebody wanted that

    # -- input ----------------------------------------------------------------------------------------------

    def write(self, data: str | bytes, *, eof: bool = False) -> int:
        """Send input, all of it or nothing; return how many bytes were accepted. `eof` ends the input."""
        text, encoding = _encoded(data)
        params = terminal.Write(session_id=self.session_id, data=text, encoding=encoding, eof=eof)
        return (self._link.call(terminal.WRITE, params)).accepted_bytes

    def write_line(self, line: str = "") -> int:
        """Send a line of input with its end, as pexpect's `sendline`."""
        return self.write(f"{line}\n")

    def send_keys(self, *keys: str) -> int:
        """Press keys by name: `send_keys("ctrl-c")`, `send_keys("down", "enter")`."""
        params = terminal.SendKeys(session_id=self.session_id, keys=list(keys))
        return (self._link.call(terminal.SEND_KEYS, params)).accepted_bytes

    def paste(self, text: str) -> int:
        """Paste text as a terminal would."""
        params = terminal.Paste(session_id=self.session_id, text=text)
        return (self._link.call(terminal.PASTE, params)).accepted_bytes

    # -- output ---------------------------------------------------------------------------------------------

    def read(self, *, timeout: float = 0.0, max_bytes: int = 65536) -> terminal.Output:
        """Read what has been printed since the last time; with a `timeout` wait for something."""
        params = terminal.Read(
            session_id=self.session_id, offset=self.offset, max_bytes=max_bytes, timeout_ms=milliseconds(timeout)
        )
        output = self._link.call(terminal.READ, params)
        self.offset = output.next_offset
        return output

    def read_until(
        self, pattern: str | list[str], *, regex: bool = False, plain: bool = False, timeout: float | None = 10.0
    ) -> terminal.ReadUntilResult:
        """Read until a pattern appears; what follows it is not consumed. `reason` tells why it ended."""
        params = terminal.ReadUntil(
            session_id=self.session_id,
            pattern=pattern,
            regex=regex,
            plain=plain,
            offset=self.offset,
            timeout_ms=milliseconds(timeout),
        )
        result = self._link.call(terminal.READ_UNTIL, params)
        if result.reason != "timeout":
            self.offset = result.next_offset
        return result

    def expect(self, expected: Expected, *, timeout: float | None = 30.0, plain: bool = True) -> Match:
        """Wait until something expected is printed: a text, a compiled regular expression, or any of a list.

        Regular expressions are RE2's, which has no look-around and no back-references. With `plain` (the default)
        escape sequences are left out before matching. `EXITED` and `TIMEOUT` in the list are answers instead of
        errors. Raises `ExpectTimeout`, after which the same output can be expected again, or `ExpectExited`.
        """
        wanted = Wanted(expected)
        deadline = None if timeout is None else now() + timeout
        missed = 0
        while True:
            left = None if deadline is None else max(0.0, deadline - now())
            if wanted.texts:
                found = self.read_until(wanted.texts, regex=wanted.regex, plain=plain, timeout=left)
            else:
                # Only an ending is expected.
                found = self.read_until(NEVER, regex=True, plain=plain, timeout=left)
            missed += found.missed_bytes
            if found.reason != "gap":
                break
        if found.reason == "matched":
            return wanted.matched(found.pattern, found.match or "", found.data, missed)
        ending, error = (TIMEOUT, ExpectTimeout) if found.reason == "timeout" else (EXITED, ExpectExited)
        match = wanted.ended(ending, found.data, missed)
        if match is not None:
            return match
        names = " or ".join(
            repr(one if isinstance(one, str) else getattr(one, "pattern", one)) for one in wanted.choices
        )
        when = "was not printed in time" if found.reason == "timeout" else "had not been printed when the program ended"
        raise error(f"{names} {when} in session {self.session_id}", before=found.data[-SHOWN_CHARACTERS:])

    def follow(self, *, offset: int | None = None) -> "Chunks":
        """Iterate over what is printed, from where this handle is (or `offset`) until the program ends.

        It goes on behind the last piece when the daemon is restarted. The handle's place moves along.
        """
        return Chunks(self, self._link, self.offset if offset is None else offset)

    def screen(
        self, *, format: Literal["text", "ansi", "html"] = "text", scrollback_lines: int = 0
    ) -> terminal.ScreenPicture:
        """Return what the terminal shows."""
        params = terminal.GetScreen(session_id=self.session_id, format=format, scrollback_lines=scrollback_lines)
        return self._link.call(terminal.SCREEN, params)

    # -- both -----------------------------------------------------------------------------------------------

    def prompt(
        self,
        data: str | bytes,
        *,
        enter: bool = True,
        until: Sequence[terminal.Condition] | None = None,
        timeout: float | None = 10.0,
        max_bytes: int = 65536,
    ) -> terminal.Prompted:
        """Write, then wait, in one call; without `until` for 300 ms of silence or the exit."""
        text, encoding = _encoded(data)
        params = terminal.Prompt(
            session_id=self.session_id,
            data=text,
            encoding=encoding,
            enter=enter,
            until=None if until is None else list(until),
            timeout_ms=milliseconds(timeout),
            max_bytes=max_bytes,
        )
        result = self._link.call(terminal.PROMPT, params)
        self.offset = max(self.offset, result.offset)
        return result

    def run(
        self,
        line: str,
        *,
        timeout: float | None = 60.0,
        max_output_bytes: int = 65_536,
        clean: bool = True,
        wait: bool = False,
        needs_input: bool = True,
        confirm_token: str | None = None,
    ) -> command.Ran:
        """Run a command in the session's shell and wait for it: its exit code and its output only."""
        params = command.RunCommand(
            session_id=self.session_id,
            command=line,
            timeout_ms=milliseconds(timeout),
            max_output_bytes=max_output_bytes,
            clean=clean,
            wait=wait,
            needs_input=needs_input,
            confirm_token=confirm_token,
        )
        result = self._link.call(command.RUN, params)
        self.offset = max(self.offset, result.next_offset)
        return result

    # -- the rest -------------------------------------------------------------------------------------------

    def wait(
        self,
        *,
        pattern: str | None = None,
        regex: bool = False,
        idle: float | None = None,
        screen: str | None = None,
        command_done: bool = False,
        needs_input: bool = False,
        exit: bool = False,
        timeout: float | None = None,
    ) -> terminal.Waited:
        """Wait until one of what is given holds, without anything until the program exits. `reason` tells which."""
        until = [
            *([terminal.Condition(pattern=pattern, regex=regex)] if pattern is not None else []),
            *([terminal.Condition(idle_ms=milliseconds(idle))] if idle is not None else []),
            *([terminal.Condition(screen=screen)] if screen is not None else []),
            *([terminal.Condition(command_done=True)] if command_done else []),
            *([terminal.Condition(needs_input=True)] if needs_input else []),
        ]
        if exit or not until:
            until.append(terminal.Condition(exit=True))
        params = terminal.Wait(
            session_id=self.session_id, until=until, offset=self.offset, timeout_ms=milliseconds(timeout)
        )
        return self._link.call(terminal.WAIT, params)

    def get(self) -> session.SessionInfo:
        """Ask for everything about the session."""
        self.info = self._link.call(session.GET, session.Get(session_id=self.session_id))
        return self.info

    def resize(self, cols: int, rows: int) -> session.Size:
        """Set the size of the terminal."""
        params = session.Resize(session_id=self.session_id, cols=cols, rows=rows)
        return self._link.call(session.RESIZE, params)

    def signal(self, signal: str, *, target: Literal["foreground", "session"] = "foreground") -> Done:
        """Send a signal by name, past all queued input."""
        params = session.Signal(session_id=self.session_id, signal=signal, target=target)
        return self._link.call(session.SIGNAL, params)

    def close(self, *, grace: float = 1.5) -> session.ClosedResult:
        """End the program (hang-up, then terminate, then kill, `grace` seconds apart) and forget the session."""
        params = session.Close(session_id=self.session_id, grace_ms=milliseconds(grace))
        return self._link.call(session.CLOSE, params)


class Chunks:
    """The output of a session in pieces, as it is printed. `exit` tells how the program ended, once it has."""

    def __init__(self, handle: Session, link: Link, offset: int) -> None:
        self.exit: attach.ExitedEvent | None = None
        self._handle = handle
        self._missed = 0
        self._events: Events[Any] = link.stream(
            attach.FOLLOW, attach.Follow(session_id=handle.session_id, offset=offset)
        )

    def __enter__(self) -> Self:
        self._events.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._events.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        while True:
            event = self._events.__next__()
            if isinstance(event, attach.OutputEvent):
                chunk = Chunk(event.data)
                chunk.offset, chunk.next_offset = event.offset, event.next_offset
                chunk.stream, chunk.lossy = event.stream, event.lossy
                chunk.missed_bytes, self._missed = self._missed, 0
                self._handle.offset = max(self._handle.offset, event.next_offset)
                return chunk
            if isinstance(event, attach.GapEvent):
                self._missed += event.to_offset - event.from_offset
            elif isinstance(event, attach.ExitedEvent):
                self.exit = event

    @property
    def resumed(self) -> int:
        """How often it was taken up again because the daemon had gone."""
        return self._events.resumed

    def close(self) -> None:
        """Stop following."""
        self._events.close()


def _encoded(data: str | bytes) -> tuple[str, Encoding]:
    if isinstance(data, str):
        return data, "text"
    return base64.b64encode(data).decode("ascii"), "base64"
