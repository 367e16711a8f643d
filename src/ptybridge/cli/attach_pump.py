"""The loop of an attachment: keyboard to daemon, daemon to terminal, signals, and nothing that blocks.

How it works: one `select` over keyboard, socket, terminal and signals. A side that takes nothing stops the other's
reading (`Link.full`, `Display.full`), so memory is bounded and no byte is lost. The loop ends with an `End` that says
why; leaving, coming back and reconnecting are the caller's (`ptybridge.cli.attach`).
"""

import enum
import select
import time
from typing import Final

import msgspec

from ptybridge.cli.attach_display import Display
from ptybridge.cli.attach_keys import HELD_SECONDS, Command, Keyboard
from ptybridge.cli.attach_link import Link
from ptybridge.cli.terminal import RawTerminal, window_size
from ptybridge.cli.terminal_signals import Signals
from ptybridge.model import Mode, WindowSize
from ptybridge.text import printable
from ptybridge.wire import attach as frames

READ_BYTES: Final = 64 * 1024
# A window dragged by the mouse changes its size hundreds of times a second; nobody sees more than this.
RESIZE_SECONDS: Final = 1 / 60


class End(enum.Enum):
    """Why the loop ended."""

    DETACH = enum.auto()  # the user asked
    SUSPEND = enum.auto()
    REDRAW = enum.auto()  # the user wants a fresh picture, or this one was drawn in a window of another size
    TAKE = enum.auto()  # the user wants the lease, or to give it back
    NOTICED = enum.auto()  # a notice has been on the screen for long enough
    CONTINUED = enum.auto()  # we were stopped from outside, and the terminal may have been changed meanwhile
    SIGNAL = enum.auto()
    HANGUP = enum.auto()  # the user's terminal is gone
    EXITED = enum.auto()  # `Pump.exited` says how
    DETACHED = enum.auto()  # `Pump.detached` says why
    LOST = enum.auto()  # the connection broke
    GONE = enum.auto()  # … and did not come back
    ELAPSED = enum.auto()


# How long the picture stands still below a notice of ours; a key ends it, too.
NOTICE_SECONDS: Final = 2.0
LEASE_HELD: Final = "lease_held"

# With the help on the screen people press the key it names.
_HELP_KEYS: Final = {b"d": End.DETACH, b"z": End.SUSPEND, b"t": End.TAKE}


class Notices(msgspec.Struct, frozen=True, kw_only=True):
    """What notices say: the session's name, that we only watch, and by which key a lease is taken ("" for none)."""

    name: str
    read_only: bool
    take_hint: str


class Pump:
    """Moves the bytes. Keeps what outlives a connection: what was typed without one, the exit, the last error."""

    def __init__(
        self,
        terminal: RawTerminal,
        display: Display,
        signals: Signals,
        keyboard: Keyboard,
        help_lines: list[str],
        notices: Notices,
    ) -> None:
        self._notices = notices
        self._terminal = terminal
        self._help = help_lines
        self._display = display
        self._signals = signals
        self._keyboard = keyboard
        self._typing = True
        self._helping = False
        self._notice_until: float | None = None
        self._lease_held = ""
        self._resized_at = 0.0
        self._offline: list[bytes] = []
        self.size = window_size(terminal.out_fd)
        # The session's, as the daemon told it last over this connection.
        self._session_size: WindowSize | None = None
        self.exited: frames.Exited | None = None
        self.detached: frames.Detached | None = None
        self.error: frames.Error | None = None

    def run(self, link: Link | None, until: float | None = None) -> End:
        """Pump until something ends it, at the latest at `until` (monotonic seconds).

        Without a link only keyboard, signals and what is still to be shown are attended to.
        """
        if link is not None:
            self._helping = False
            # While another job had the terminal nobody told us of its sizes.
            self._signals.resized = True
            for data in self._offline:
                link.send(frames.Input(data))
            self._offline.clear()
        while True:
            now = time.monotonic()
            end = self._attend(link, now)
            if end is None and until is not None and now >= until and self._notice_until is None:
                end = End.ELAPSED
            if end is not None:
                return end
            readable = self._select(link, now, until)
            if self._terminal.in_fd in readable and (end := self._type(link)):
                return end
            if link is not None and (link in readable or link.ready):
                self._receive(link)
            if link is not None:
                link.flush()
            if not self._display.flush():
                return End.HANGUP

    def _select(self, link: Link | None, now: float, until: float | None) -> list[Link | int]:
        reads: list[Link | int] = [self._signals.fd]
        writes: list[Link | int] = [self._terminal.out_fd] if self._display.pending else []
        waits = [] if until is None else [max(0.0, until - now)]
        if self._typing and not (link is not None and link.full):
            reads.append(self._terminal.in_fd)
        if self._keyboard.held:
            waits.append(HELD_SECONDS)
        if self._signals.resized:
            waits.append(max(0.0, self._resized_at + RESIZE_SECONDS - now))
        if self._notice_until is not None:
            waits.append(max(0.0, self._notice_until - now))
        if link is not None:
            if not self._display.full and not self._covered and not self._ending:
                reads.append(link)
                if link.ready:
                    waits.append(0.0)
            if link.unsent:
                writes.append(link)
            if (due := self._display.ack_seconds(now)) is not None:
                waits.append(due)
        readable, _, _ = select.select(reads, writes, [], min(waits, default=None))
        if self._signals.fd in readable:
            self._signals.drain()
        elif not readable and self._keyboard.held:
            self._send(link, self._keyboard.release())
        return list(readable)

    @property
    def _covered(self) -> bool:
        """Whether something of ours is on the screen, which output must not draw over."""
        return self._helping or self._notice_until is not None

    def notice(self, text: str) -> None:
        """Say something in the last line for a moment, above a picture that stands still; then `run` ends."""
        self._display.status(f"[{text}]"[: self.size.cols])
        self._notice_until = time.monotonic() + NOTICE_SECONDS

    @property
    def _ending(self) -> bool:
        return self.exited is not None or self.detached is not None

    def _attend(self, link: Link | None, now: float) -> End | None:
        """Do what signals and time ask for."""
        signals = self._signals
        if signals.ending is not None:
            return End.SIGNAL
        if signals.suspended:
            return End.SUSPEND
        if signals.continued:
            signals.continued = False
            return End.CONTINUED
        if signals.resized and now >= self._resized_at + RESIZE_SECONDS:
            signals.resized, self._resized_at = False, now
            self._resize(link, window_size(self._terminal.out_fd))
        if self._ending and not self._display.pending:
            return End.EXITED if self.exited is not None else End.DETACHED
        if self._notice_until is not None and now >= self._notice_until:
            self._notice_until = None
            return End.NOTICED
        if link is None:
            return None
        if self._display.ack_seconds(now) == 0.0:
            link.send(frames.Ack(self._display.acknowledge()))
        if link.closed and not self._ending:
            return End.LOST
        return End.REDRAW if self._redraw_due else None

    @property
    def _redraw_due(self) -> bool:
        """Whether the picture was drawn in a window of another size, and a fresh one would fit.

        Not before the session has the window's size: the answer to a fresh attachment would be the same again. Where
        it never gets that size there come painted pictures, which always fit.
        """
        return (
            self._display.misdrawn
            and not self._covered
            and not self._ending
            and self._session_size == window_size(self._terminal.out_fd)
        )

    def _resize(self, link: Link | None, size: WindowSize) -> None:
        self.size = size
        # Not compared with the size before: the window may have changed between two connections, too.
        if link is not None and size != link.told_size:
            link.told_size = size
            link.send(frames.Resize(size.rows, size.cols))

    # -- keyboard → daemon ----------------------------------------------------------------------------------

    def _type(self, link: Link | None) -> End | None:
        data = self._terminal.read(READ_BYTES)
        if data is None:
            return None
        if not data:
            self._typing = False
            self._send(link, self._keyboard.release(final=True))
            return End.HANGUP if self._terminal.interactive else None
        if self._helping:
            # The keys work with the prefix, as the help says, and without it.
            # Reports (of a key's release, of the mouse) are none.
            key = self._keyboard.behind_prefix(data)
            return None if not key or key[:2] == b"\x1b[" else _HELP_KEYS.get(key[:1], End.REDRAW)
        if self._notice_until is not None and not self._lease_held:
            self._notice_until = 0.0  # who types wants to see it
        forward, command = self._keyboard.feed(data)
        self._send(link, forward)
        match command:
            case Command.DETACH:
                return End.DETACH
            case Command.SUSPEND:
                return End.SUSPEND
            case Command.REDRAW:
                return End.REDRAW
            case Command.TAKE:
                return End.TAKE
            case Command.HELP:
                self._helping = True
                self._display.overlay(self._help)
        return None

    def _send(self, link: Link | None, data: bytes) -> None:
        if not data:
            return
        if self._keyboard.muted:
            if self._lease_held and link is not None:
                if self._notice_until is None and self._keyboard.is_typed(data):
                    self._display.bell()
                    self._tell_held()
            elif self._keyboard.first_refusal(data):
                self._display.bell()
        elif link is None:
            self._offline.append(data)
        else:
            link.send(frames.Input(data))

    # -- daemon → terminal ----------------------------------------------------------------------------------

    def _receive(self, link: Link) -> None:
        display = self._display
        for frame in link.receive():
            match frame:
                case frames.Output():
                    display.output(frame.offset, frame.data)
                case frames.Snapshot():
                    self._session_size = WindowSize(rows=frame.rows, cols=frame.cols)
                    display.snapshot(frame.offset, self.size, frame.data, self._session_size)
                case frames.Rendered():
                    display.painted(frame.offset, frame.data)
                case frames.Resized():
                    self._session_size = WindowSize(rows=frame.rows, cols=frame.cols)
                    display.resized(bool(frame.flags & frames.RENDERED_FRAMES))
                case frames.Exited():
                    self.exited = frame
                case frames.Detached():
                    self.detached = frame
                case frames.Mode():
                    self._mode(writer=frame.writer)
                case frames.Error(code=code) if code == LEASE_HELD:
                    self._held(frame.message)
                case frames.Error():
                    self.error = frame
                    display.bell()
                case frames.Ping():
                    link.send(frames.Pong(frame.token))
                case _:
                    pass  # a frame of a newer daemon; after a gap comes a snapshot

    # -- the lease ------------------------------------------------------------------------------------------

    def opened(self, mode: Mode) -> None:
        """Begin with what the daemon said this attachment may do."""
        self._notice_until = None
        self._session_size = None
        if not self._notices.read_only:
            self._keyboard.muted = mode == "viewer"
            if mode == "writer" and self._lease_held:
                self._lease_held = ""
                self.notice(f"{self._notices.name}: you can type again")

    def may_type(self) -> None:
        """The lease is free or ours, as we know before the daemon tells this attachment."""
        if not self._notices.read_only:
            self._keyboard.muted, self._lease_held = False, ""

    def _mode(self, *, writer: bool) -> None:
        if self._notices.read_only or self._keyboard.muted != writer:
            return
        self._keyboard.muted = not writer
        self._display.bell()
        if writer and self._lease_held:
            self._lease_held = ""
            self.notice(f"{self._notices.name}: you can type again")

    def _held(self, message: str) -> None:
        """Another client has the lease: nothing goes out until that changes, and the user sees why."""
        if self._notices.read_only:
            return
        self._keyboard.muted = True
        if message != self._lease_held:
            self._lease_held = message
            self._tell_held()

    def _tell_held(self) -> None:
        self.notice(f"{printable(self._lease_held)}{self._notices.take_hint}")
