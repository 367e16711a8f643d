"""`ptybridge attach`: be on a session, from the first picture to the user's terminal given back.

How it works: a connection is opened while the terminal is still as it was, so that a refusal is an ordinary error
message. Then, with the terminal raw, `Pump` runs until something ends it; what ends it decides here whether we leave,
stop and come back, draw anew or connect again. However it ends, `RawTerminal` gives the terminal back.
"""

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ptybridge.api.attach import ATTACH, Attach
from ptybridge.api.terminal import SCREEN, GetScreen
from ptybridge.cli.attach_display import Display
from ptybridge.cli.attach_keys import DEFAULT_PREFIX, Keyboard, help_lines, prefix_label
from ptybridge.cli.attach_lease import Pen
from ptybridge.cli.attach_link import Link
from ptybridge.cli.attach_pump import End, Notices, Pump
from ptybridge.cli.attach_revival import Revival
from ptybridge.cli.exits import EXIT_UNREACHABLE, EXIT_USAGE, status_of
from ptybridge.cli.identity import client_name
from ptybridge.cli.terminal import BOTTOM_LINE, RawTerminal, window_size
from ptybridge.cli.terminal_signals import Elapsed, Interrupted, Signals
from ptybridge.errors import Conflict, PtybridgeError, Unavailable
from ptybridge.sdk.blocking import Connection
from ptybridge.text import printable
from ptybridge.wire import attach as frames

# How often a lost daemon is looked for, and after what time the user is told: a restart under a keeper is shorter.
RETRY_SECONDS: Final = 0.1
TELL_LOST_SECONDS: Final = 0.7
# How long a new connection may take to open while the terminal is raw.
ANSWER_SECONDS: Final = 5.0
# After a message on the screen: how long the output that was missed may flow before the picture is drawn anew.
HEAL_SECONDS: Final = 0.3
# How long leaving waits for typed input to go out.
FAREWELL_SECONDS: Final = 1.0
# Says to programs inside a session which one they are in.
SESSION_VARIABLE: Final = "PTYBRIDGE_SESSION_ID"


_STAYING: Final = (End.REDRAW, End.CONTINUED, End.SUSPEND, End.LOST, End.TAKE, End.NOTICED)


@dataclass(frozen=True)
class AttachOptions:
    """How to attach.

    `prefix`: a key name, None for no detach key at all. `hint`: say on attach how to leave, and at the end how it
    ended. `inline`: no snapshot; the output from its beginning, below what the terminal shows (a session just
    created, `run`). `scrollback_lines`: how much of the past goes into the terminal's own scrollback, None for the
    daemon's choice. `client_id`: who we are, by default the terminal. `take`: take the lease at once.
    `piped_input`: standard input need not be a terminal. `reconnect_seconds`: how long a lost daemon is looked for;
    `revive`, called in a thread, makes there be one again, without a word on the terminal.
    """

    name: str = ""
    read_only: bool = False
    prefix: str | None = DEFAULT_PREFIX
    hint: bool = True
    inline: bool = False
    scrollback_lines: int | None = None
    client_id: str | None = None
    take: bool = False
    piped_input: bool = False
    reconnect_seconds: float = 10.0
    revive: Callable[[], None] | None = None


def attach(connect: Callable[[], Connection], session_id: str, options: AttachOptions | None = None) -> int:
    """Be on a session until the user detaches or it ends; return the exit status.

    0 after a detach (also one by the daemon), the child's status or 128 + signal number after its exit, 2 when this
    is no terminal, 4 when the daemon is lost, 128 + signal number when a signal ended us. `connect` must not start a
    daemon. Raises PtybridgeError when attaching is refused; the terminal is untouched then.
    """
    options = options or AttachOptions()
    if not os.isatty(1) or not (os.isatty(0) or options.piped_input):
        where = "input" if os.isatty(1) else "output"
        print(f"ptybridge: attach: standard {where} is not a terminal (`ptybridge read` and `send` need none)",
              file=sys.stderr)  # fmt: skip
        return EXIT_USAGE
    if os.environ.get(SESSION_VARIABLE) == session_id:
        raise Conflict("this terminal is that session; attached to itself it would repeat its own output for ever")
    return _Attaching(connect, session_id, options).run()


class _Attaching:
    def __init__(self, connect: Callable[[], Connection], session_id: str, options: AttachOptions) -> None:
        self._connect = connect
        self._session_id = session_id
        self._options = options
        self._name = printable(options.name or session_id)
        self._keyboard = Keyboard(options.prefix, muted=options.read_only)
        # The same one over all our connections: the lease belongs to it.
        self._client_id = options.client_id or client_name() or f"attach-{secrets.token_hex(3)}"
        self._pen = Pen(connect, session_id, self._client_id)
        self._revival = Revival(self._options.revive)
        self._link = self._open(offset=0 if options.inline else None, scrollback_lines=options.scrollback_lines)

    def run(self) -> int:
        """Attach, and leave the terminal as it was."""
        self._name = printable(self._options.name or self._link.opened.name or self._session_id)
        with Signals() as self._signals, RawTerminal() as self._terminal:
            self._display = Display(self._terminal)
            self._pump = Pump(
                self._terminal,
                self._display,
                self._signals,
                self._keyboard,
                self._help(),
                Notices(
                    name=self._name,
                    read_only=self._options.read_only,
                    take_hint=f" — take it: {prefix_label(self._options.prefix)} t" if self._options.prefix else "",
                ),
            )
            self._pump.opened(self._link.opened.mode)
            if self._options.inline:
                self._display.begin_inline(self._hint())
            else:
                self._display.begin(self._pump.size, self._hint())
            end: End | None = self._use_pen(self._pen.take) if self._options.take else None
            while True:
                end = end or self._pump.run(self._link)
                # Each of these may find another reason, or none: then it goes on.
                while end in _STAYING:
                    end = self._stay(end)
                if end is not None:
                    return self._leave(end)

    def _open(self, *, offset: int | None, scrollback_lines: int | None) -> Link:
        size = window_size(1)
        options = self._options
        params = Attach(
            session_id=self._session_id,
            rows=size.rows,
            cols=size.cols,
            mode="viewer" if options.read_only else "writer",
            offset=offset,
            scrollback_lines=scrollback_lines,
            client_id=self._client_id,
        )
        connection = self._connect()
        try:
            return Link(*connection.open(ATTACH, params), told_size=size)
        except BaseException:
            connection.close()
            raise

    def _hint(self) -> str:
        options = self._options
        if not options.hint:
            return ""
        mode = ", read-only" if options.read_only else ""
        if options.prefix is None:
            return f"[attached to {self._name}{mode}]"
        key = prefix_label(options.prefix)
        # The client outside takes the prefix; its literal reaches us.
        keys = f"{key} twice, d" if SESSION_VARIABLE in os.environ else f"{key} d"
        return f"[attached to {self._name}{mode} — detach: {keys}]"

    def _help(self) -> list[str]:
        return help_lines(self._options.prefix) if self._options.prefix else []

    def _stay(self, end: End) -> End | None:
        match end:
            case End.SUSPEND:
                return self._suspend()
            case End.LOST:
                return self._reconnect()
            case End.TAKE:
                return self._use_pen(self._pen.toggle)
            case End.NOTICED:
                return self._heal()
        return self._redraw()

    # -- staying --------------------------------------------------------------------------------------------

    def _redraw(self) -> End | None:
        """Attach anew for an exact picture; the old connection goes last, so that the session keeps its size."""
        self._terminal.enter()
        try:
            with self._signals.interruptible(ANSWER_SECONDS):
                link = self._open(offset=None, scrollback_lines=0)
        except Interrupted:
            return End.SIGNAL
        except (PtybridgeError, Elapsed):
            # Perhaps there is room for one of us only: the connection that follows this one begins with a picture.
            self._display.received = None
            return End.LOST
        self._switch(link, anew=True)
        return None

    def _switch(self, link: Link, *, anew: bool) -> None:
        old, self._link = self._link, link
        link.take_over(old)
        old.close()
        self._display.attached(anew=anew)
        self._pump.opened(link.opened.mode)

    def _use_pen(self, change: Callable[[], str]) -> End | None:
        """Take the lease or give it back, and say what came of it."""
        try:
            with self._signals.interruptible(ANSWER_SECONDS):
                told = change()
        except Interrupted:
            return End.SIGNAL
        except Elapsed:
            told = "the daemon does not answer"
        except PtybridgeError as exc:
            told = printable(exc.message)
        else:
            self._pump.may_type()
        self._pump.notice(told)
        return None

    def _heal(self) -> End | None:
        """Let the missed lines go into the terminal's scrollback; then a fresh picture heals what we wrote over."""
        self._display.clear_status()
        end = self._pump.run(self._link, until=time.monotonic() + HEAL_SECONDS)
        return self._redraw() if end is End.ELAPSED else end

    def _suspend(self) -> End | None:
        """Leave, stop as with Ctrl-Z, and come back with a fresh picture."""
        self._say_farewell()
        self._terminal.leave(self._below_content())
        self._terminal.show_line(f"[suspended {self._name} — fg to return]")
        self._display.forget()
        self._signals.stop_process()
        if self._signals.ending is not None:
            return End.SIGNAL
        self._terminal.enter()
        self._signals.continued = False  # this is what we came back by
        self._display.begin(self._pump.size, "")
        return self._redraw()

    def _reconnect(self) -> End | None:
        """Look for a daemon that went away; go on from the offset where its output broke off."""
        self._link.close()
        lost = time.monotonic()
        told = False
        while (now := time.monotonic()) < lost + self._options.reconnect_seconds or self._revival.under_way:
            end = self._pump.run(None, until=now + RETRY_SECONDS)
            if end is End.SUSPEND:
                self._signals.suspended = False  # there is nothing to come back to
            elif end not in (End.ELAPSED, End.REDRAW, End.CONTINUED):
                return end
            try:
                with self._signals.interruptible(ANSWER_SECONDS):
                    link = self._open(offset=self._display.received, scrollback_lines=0)
            except Interrupted:
                return End.SIGNAL
            except (Unavailable, Elapsed):
                self._revival.begin()  # not there yet
            except PtybridgeError:
                return End.GONE  # there, but without this session
            else:
                return self._resume(link, told)
            if not told and time.monotonic() > lost + TELL_LOST_SECONDS:
                told = True
                self._display.status(f"[connection to the daemon lost, trying again — detach: {self._detach_keys()}]")
        return End.GONE

    def _resume(self, link: Link, told: bool) -> End | None:
        self._switch(link, anew=self._display.received is None)
        return self._heal() if told else None

    def _detach_keys(self) -> str:
        return "close the window" if self._options.prefix is None else f"{prefix_label(self._options.prefix)} d"

    # -- leaving --------------------------------------------------------------------------------------------

    def _say_farewell(self) -> None:
        """Let what was typed go out, and say that we leave; a daemon that takes nothing is not waited for."""
        if not self._link.closed:
            self._link.send(frames.Detach())
            self._link.drain(FAREWELL_SECONDS)
        self._link.close()

    def _leave(self, end: End) -> int:
        """Give the terminal back, say how it ended, return the exit status."""
        if end is End.DETACH:
            with contextlib.suppress(PtybridgeError, Elapsed, Interrupted), self._signals.interruptible(ANSWER_SECONDS):
                self._pen.leave()
        self._say_farewell()
        if end is End.EXITED:
            # The cursor is where the child left it, as after any command; our message needs a line of its own.
            self._terminal.leave(self._own_line() if self._options.hint else b"", flush=self._options.hint)
        elif end is End.DETACH or end is End.DETACHED:
            self._terminal.leave(self._below_content())
        else:
            self._terminal.leave(BOTTOM_LINE + b"\r\n")
        status, message = self._verdict(end)
        if self._pump.error is not None:
            self._terminal.show_line(f"ptybridge: {printable(self._pump.error.message)}")
        if message:
            self._terminal.show_line(message)
        return status

    def _verdict(self, end: End) -> tuple[int, str]:
        hint = self._options.hint
        match end:
            case End.EXITED:
                assert self._pump.exited is not None
                exited = self._pump.exited
                status = status_of(exited.exit_code, exited.exit_signal)
                return status, f"[{self._name} {_how(exited)}]" if hint else ""
            case End.DETACHED:
                assert self._pump.detached is not None
                reason = self._pump.detached.text or self._pump.detached.reason
                return 0, f"[detached: {printable(reason)}]"
            case End.SIGNAL:
                assert self._signals.ending is not None
                return 128 + self._signals.ending, ""
            case End.HANGUP:
                return 128 + signal.SIGHUP, ""
            case End.GONE:
                failure = self._revival.failure
                why = f", and none could be started: {printable(failure.message)}" if failure is not None else ""
                return EXIT_UNREACHABLE, f"ptybridge: connection to the daemon lost{why}"
        return 0, f"[detached from {self._name}]" if hint else ""

    def _own_line(self) -> bytes:
        """Return what moves the cursor to the next line unless it is at the beginning of one already.

        Without asking where it is: one column less than the width wraps from everywhere but there.
        """
        return b" " * (self._pump.size.cols - 1) + b"\r\x1b[K"

    def _below_content(self) -> bytes:
        """Return what moves the cursor from where the program has it to a line below the picture.

        Relative, because an inline picture begins somewhere on the user's screen.
        """
        if self._display.rendered:
            return self._own_line()  # such pictures are on the alternate screen, which is gone then
        try:
            with self._connect() as connection:
                screen = connection.call(SCREEN, GetScreen(session_id=self._session_id), FAREWELL_SECONDS)
        except PtybridgeError:
            return BOTTOM_LINE + b"\r\n"
        if screen.alternate:
            return self._own_line()
        last = max((row for row, line in enumerate(screen.lines) if line.strip()), default=0)
        down = last - screen.cursor.row
        return (b"\x1b[%dB" % down if down > 0 else b"") + b"\r\n"


def _how(exited: frames.Exited) -> str:
    """Say how a child ended: "exited with status 1", "killed by SIGTERM (timeout)"."""
    why = "" if exited.exit_reason in ("exited", "signaled") else f" ({exited.exit_reason})"
    if exited.exit_signal is not None:
        return f"killed by {printable(exited.exit_signal)}{why}"
    if exited.exit_code is not None:
        return f"exited with status {exited.exit_code}{why}"
    return f"ended{why}"
