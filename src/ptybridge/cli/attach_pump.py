"""The loop of an attachment: keyboard to daemon, daemon to terminal, signals, and nothing that blocks.

How it works: one `select` over keyboard, socket, terminal and signals. A side that takes nothing stops the other's
reading (`Link.full`, `Display.full`), so memory is bounded and no byte is lost. The loop ends with an `End` that says
why; leaving, coming back and reconnecting are the caller's (`ptybridge.cli.attach`).
"""

import enum
import select
import time
from typing import Final

from ptybridge.cli.attach_display import Display
from ptybridge.cli.attach_keys import HELD_SECONDS, Command, Keyboard
from ptybridge.cli.attach_link import Link
from ptybridge.cli.terminal import RawTerminal, window_size
from ptybridge.cli.terminal_signals import Signals
from ptybridge.model import WindowSize
from ptybridge.wire import attach as frames

READ_BYTES: Final = 64 * 1024
# A window dragged by the mouse changes its size hundreds of times a second; nobody sees more than this.
RESIZE_SECONDS: Final = 1 / 60


class End(enum.Enum):
    """Why the loop ended."""

    DETACH = enum.auto()  # the user asked
    SUSPEND = enum.auto()
    REDRAW = enum.auto()
    CONTINUED = enum.auto()  # we were stopped from outside, and the terminal may have been changed meanwhile
    SIGNAL = enum.auto()
    HANGUP = enum.auto()  # the user's terminal is gone
    EXITED = enum.auto()  # `Pump.exited` says how
    DETACHED = enum.auto()  # `Pump.detached` says why
    LOST = enum.auto()  # the connection broke
    GONE = enum.auto()  # … and did not come back
    ELAPSED = enum.auto()


# With the help on the screen people press the key it names.
_HELP_KEYS: Final = {b"d": End.DETACH, b"z": End.SUSPEND}


class Pump:
    """Moves the bytes. Keeps what outlives a connection: what was typed without one, the exit, the last error."""

    def __init__(
        self, terminal: RawTerminal, display: Display, signals: Signals, keyboard: Keyboard, help_lines: list[str]
    ) -> None:
        self._terminal = terminal
        self._help = help_lines
        self._display = display
        self._signals = signals
        self._keyboard = keyboard
        self._typing = True
        self._helping = False
        self._resized_at = 0.0
        self._offline: list[bytes] = []
        self.size = window_size(terminal.out_fd)
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
            if end is None and until is not None and now >= until:
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
        if link is not None:
            if not self._display.full and not self._helping and not self._ending:
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
        if link is None:
            return None
        if self._display.ack_seconds(now) == 0.0:
            link.send(frames.Ack(self._display.acknowledge()))
        return End.LOST if link.closed and not self._ending else None

    def _resize(self, link: Link | None, size: WindowSize) -> None:
        if size != self.size:
            self.size = size
            if link is not None:
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
            # Reports (of a key's release, of the mouse) are none.
            return None if data[:2] == b"\x1b[" else _HELP_KEYS.get(data[:1], End.REDRAW)
        forward, command = self._keyboard.feed(data)
        self._send(link, forward)
        match command:
            case Command.DETACH:
                return End.DETACH
            case Command.SUSPEND:
                return End.SUSPEND
            case Command.REDRAW:
                return End.REDRAW
            case Command.HELP:
                self._helping = True
                self._display.overlay(self._help)
        return None

    def _send(self, link: Link | None, data: bytes) -> None:
        if not data:
            return
        if self._keyboard.muted:
            if self._keyboard.first_refusal(data):
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
                    display.snapshot(frame.offset, self.size, frame.data)
                case frames.Rendered():
                    display.painted(frame.offset, frame.data)
                case frames.Resized():
                    display.resized(bool(frame.flags & frames.RENDERED_FRAMES))
                case frames.Exited():
                    self.exited = frame
                case frames.Detached():
                    self.detached = frame
                case frames.Mode():
                    if self._keyboard.muted == frame.writer:
                        self._keyboard.muted = not frame.writer
                        display.bell()
                case frames.Error():
                    self.error = frame
                    display.bell()
                case frames.Ping():
                    link.send(frames.Pong(frame.token))
                case _:
                    pass  # a frame of a newer daemon; after a gap comes a snapshot
