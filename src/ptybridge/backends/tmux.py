"""Children in panes of a private tmux server: they outlive the daemon, and a person's tmux can show them.

How it works: each session is a window of its own with one pane, so that each has its own size and there is room for
any number of them. Output comes over the connection's `%output` to `deliver`, which puts it into the transcript at once
or, while the transcript has no room, into a queue; a long queue stops the program's terminal in the kernel, so other
sessions go on. Input is typed byte by byte with `send-keys -H`, no faster than the program reads.
"""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from ptybridge.backends import tmux_protocol
from ptybridge.backends.tmux_launcher import mark_bytes
from ptybridge.backends.tmux_link import Link, LinkLost, TmuxError
from ptybridge.backends.tmux_process import PaneProcess, PaneTerminal
from ptybridge.core.child import LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.core.memory import Notebook
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed, Unavailable
from ptybridge.model import Backend, ExitStatus, WindowSize

# So much input may be under way to the terminal: a little more than its line discipline holds (N_TTY_BUF_SIZE).
_INPUT_WINDOW: Final = 4096
# A program that leaves more than this unread does not read at the moment.
_UNREAD_BYTES: Final = 2048
_FIRST_LOOK_SECONDS: Final = 0.002
_LAST_LOOK_SECONDS: Final = 0.25
_LEFT_BEHIND_SECONDS: Final = 1.0
# The mark of the end, once printed, takes this long at most, unless other output is before it.
_MARK_SECONDS: Final = 2.0
# A queue of this length stops the terminal, and one of that length lets it go on.
_HIGH_BYTES: Final = 256 << 10
_LOW_BYTES: Final = 64 << 10
# Stands before what is repeated after a broken connection: CAN ends whatever sequence was cut, the rest starts a page.
_NOTICE: Final = (
    b"\x18\x1b[?1049l\x1b[m\r\n[ptybridge: the connection to tmux broke; output may be missing, "
    b"what tmux still shows follows]\r\n"
)
# Appending so much is one step; then others get their turn.
_STEP_BYTES: Final = 64 << 10

# Asks for what a pane shows, and calls the third as the answer comes.
Picture = Callable[[Link, str, Callable[[], None]], Awaitable[bytes]]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session is: its server, window and pane, its program and the pane's own process, its exit's file."""

    socket: str
    window: str
    pane: str
    tty: str
    pid: int
    start_time: int
    launcher_pid: int
    status_file: str
    mark: str


class TmuxChild:
    """Implements `core.child.Child` and the link's `PaneClient`."""

    backend: Backend = "tmux"

    def __init__(self, link: Link, place: Place) -> None:
        """Raises OSError when the pane's processes are gone."""
        self.place = place
        self.pid = self.pgid = place.pid
        self.window = place.window
        self.notebook: Notebook | None = None
        # Told of the transcript's end now and then.
        self.on_growth: Callable[[int], None] = lambda end: None
        self.backlog = 0
        self.end = 0
        self._link = link
        self._process = PaneProcess(place.pid, place.launcher_pid, Path(place.status_file))
        self._terminal = PaneTerminal(place.pid, place.tty)
        self._chunks: deque[bytes] = deque()
        self._log: Transcript | None = None
        self._arrived = trio.Event()
        self._drained = trio.Event()
        self._ended = trio.Event()
        self._stopped = False
        self._mark = mark_bytes(place.mark)
        self._held = b""
        self._heard = 0
        self._unacknowledged = 0
        self._released = False
        self._discarded = False
        self._moving = False
        self._since: list[bytes] = []
        self._size: WindowSize | None = None
        link.panes[place.pane] = self

    # -- output ---------------------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """Take output: into the transcript if there is room and nothing waits, else into the queue."""
        self._heard += len(data)
        data = self._before_mark(data)
        if self._moving:
            self._since.append(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self._log is not None and not self._chunks:
            data = data[self._append(self._log, data) :]
        if not data:
            return
        self._chunks.append(data)
        self.backlog += len(data)
        self._arrived.set()
        if self.backlog > _HIGH_BYTES and not self._stopped:
            self._stopped = self._terminal.stop_output(stop=True)

    def _before_mark(self, data: bytes) -> bytes:
        """Return the program's own output, and note it when the mark says that there is no more."""
        if self._ended.is_set():
            return b""
        data, self._held = self._held + data, b""
        before, found, _ = data.partition(self._mark)
        if found:
            self.output_ended()
            return before
        at = data.rfind(self._mark[:1], -len(self._mark))
        if at >= 0 and self._mark.startswith(data[at:]):
            data, self._held = data[:at], data[at:]
        return data

    async def begin_with(self, picture: Picture, notice: bytes = b"") -> None:
        """Put what tmux shows before the output that comes from now on. Raises as `picture`."""
        self._moving = True
        self._held = b""
        self._since.clear()
        shown = b""
        try:
            # What comes before the answer is in it; what comes right after it, before we go on, is not.
            shown = await picture(self._link, self.place.pane, self._since.clear)
        finally:
            self._moving = False
            if shown:
                shown = notice + shown
            self._take(shown + b"".join(self._since))
            self._arrived.set()

    async def move(self, link: Link, picture: Picture) -> None:
        """Go on over another connection, after a notice and what tmux has of the time without one.

        Raises `TmuxError` when the pane is gone, `LinkLost`, `Unavailable`.
        """
        if self._discarded:
            link.close_window(self.window)
        if self._released or self._discarded:
            return
        self._link.panes.pop(self.place.pane, None)
        self._link = link
        link.panes[self.place.pane] = self
        await self.begin_with(picture, _NOTICE)
        if self._size is not None:
            self.resize(self._size)

    def output_ended(self) -> None:
        """Note that tmux has read everything there will be."""
        self._ended.set()
        self._arrived.set()

    async def wait_drained(self) -> None:
        """Wait until the queue is short again."""
        while self.backlog > _LOW_BYTES and not self._released:
            self._drained = trio.Event()
            await self._drained.wait()

    async def pump(self, log: Transcript) -> None:
        """Move output into `log` until the terminal has ended."""
        self._log = log
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_end)
                while True:
                    while self._chunks:
                        await self._empty(log)
                    if self._ended.is_set() and not self._moving:
                        break
                    self._arrived = trio.Event()
                    await self._arrived.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._log = None

    async def _watch_end(self) -> None:
        """See to it that output ends also when its end was not seen: before our time, or with tmux itself."""
        await self._process.wait()
        delay = _FIRST_LOOK_SECONDS
        while not self._ended.is_set():
            if self._process.said_end():
                # The mark is on its way, unless a daemon before us has had it.
                while await self._more_comes():
                    pass
                self.output_ended()
                return
            await trio.sleep(delay)
            delay = min(2 * delay, _LEFT_BEHIND_SECONDS)

    async def _more_comes(self) -> bool:
        """Wait as long as the mark takes; return whether there was output meanwhile: tmux, or we, may stand still."""
        before = self._heard
        await trio.sleep(_MARK_SECONDS)
        with contextlib.suppress(Unavailable, LinkLost, TmuxError):
            # The first may be answered before tmux looks at the pane again, the second not.
            for _ in range(2):
                await self._link.ask("display-message -p seen")
            return self._heard != before and not self._ended.is_set()
        # Without an answer it may be we who do not read on, because the transcript has no room.
        return bool(self._chunks) and not self._ended.is_set()

    async def _empty(self, log: Transcript) -> None:
        chunk = self._chunks[0]
        done = self._append(log, chunk[:_STEP_BYTES])
        self.backlog -= done
        if done == len(chunk):
            self._chunks.popleft()
        elif done:
            self._chunks[0] = chunk[done:]
        if self.backlog <= _LOW_BYTES:
            self._drained.set()
            if self._stopped:
                self._terminal.stop_output(stop=False)
                self._stopped = False
        if done:
            await trio.lowlevel.checkpoint()
        else:
            await log.wait_room()

    def _append(self, log: Transcript, data: bytes) -> int:
        room = log.ring.reserve(len(data), log.floor())
        if room:
            log.append(data[:room])
            self.end = log.end
            self.on_growth(log.end)
        return room

    # -- input ----------------------------------------------------------------------------------------------

    async def send_some(self, data: memoryview) -> int:
        """Type what the program has room for, waiting for some."""
        await trio.lowlevel.checkpoint()
        delay = _FIRST_LOOK_SECONDS
        while (count := self.send_nowait(bytes(data[:_INPUT_WINDOW]))) == 0 and len(data):
            # A program announces to nobody that it has read.
            with trio.move_on_after(delay):
                await self._process.wait()
            delay = min(2 * delay, _LAST_LOOK_SECONDS)
        return count

    def send_nowait(self, data: bytes) -> int:
        """Type what the program has room for right now."""
        if self._process.status is not None or self._ended.is_set():
            raise InputClosed
        if self._link.ended.is_set():
            return 0  # until there is another connection, or none can be had
        room = _INPUT_WINDOW - self._unacknowledged
        if room <= 0 or self._terminal.unread_input() >= _UNREAD_BYTES:
            return 0
        data = data[:room]
        for at in range(0, len(data), tmux_protocol.KEY_BYTES):
            self._type(data[at : at + tmux_protocol.KEY_BYTES])
        return len(data)

    def _type(self, piece: bytes) -> None:
        def acknowledge(reply: object) -> None:
            self._unacknowledged -= len(piece)

        self._unacknowledged += len(piece)
        self._link.post(tmux_protocol.send_keys(self.place.pane, piece), acknowledge)

    async def close_input(self) -> None:
        """Type the terminal's end-of-file character, which ends input only at the start of a line."""
        rest = memoryview(self._terminal.eof_character())
        while rest:
            rest = rest[await self.send_some(rest) :]
        await trio.lowlevel.checkpoint()

    # -- control --------------------------------------------------------------------------------------------

    def resize(self, size: WindowSize) -> None:
        """Set the window's size; tmux passes it on to the terminal, at most four times a second."""
        self._size = size
        self._link.post(f"resize-window -t {self.window} -x {size.cols} -y {size.rows}")

    def signal(self, number: int, *, whole_session: bool) -> None:
        """Signal the foreground group (the child's own group when there is none), or the whole session."""
        if whole_session:
            self._process.signal_session(number)
        else:
            self._process.signal_group(self.foreground_pgid() or self.pgid, number)

    def survivors(self, not_older_than: float = 0.0) -> list[int]:
        """Return the live processes of the session."""
        return self._process.survivors(not_older_than)

    def line_mode(self) -> LineMode | None:
        """Return the terminal's mode."""
        mode = self._terminal.line_mode()
        if mode is not None and self._stopped:
            return LineMode(canonical=mode.canonical, echo=mode.echo)
        return mode

    def line_keys(self) -> LineKeys | None:
        """Return what has an effect in line mode, None outside of it."""
        return self._terminal.line_keys()

    def foreground_pgid(self) -> int | None:
        """Return the terminal's foreground process group."""
        return self._terminal.foreground_pgid()

    async def wait(self) -> ExitStatus:
        """Wait for the exit status."""
        return await self._process.wait()

    def discard(self) -> None:
        """Close the window, and let the pane's own process go."""
        self._discarded = True
        self._link.close_window(self.window)
        self._process.end_launcher()

    async def aclose(self) -> None:
        """Let go of the pane; without `discard` it stays in tmux. Idempotent."""
        if self._released:
            return
        self._released = True
        if self._stopped:
            self._terminal.stop_output(stop=False)
        self._drained.set()
        self._link.panes.pop(self.place.pane, None)
        self._process.close()
        if not self._link.in_use:
            await self._link.close()
        await trio.lowlevel.cancel_shielded_checkpoint()
