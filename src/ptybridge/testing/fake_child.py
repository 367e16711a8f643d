"""A child without a process: a test scripts its output and its exit, and sees what was done to it.

It touches no descriptor and no clock, so it works with `autojump_clock` and reaches timing edges on demand: output
after the exit, an exit before any output, a program that does not read.
"""

import signal as signals
from collections import deque
from typing import Final

import trio

from ptybridge.core.child import LineMode
from ptybridge.core.lineedit import LineKeys
from ptybridge.core.memory import Notebook
from ptybridge.core.signals import signal_name
from ptybridge.core.transcript import Transcript
from ptybridge.errors import InputClosed
from ptybridge.model import Backend, ExitStatus, WindowSize

_NOT_FATAL: Final = frozenset({signals.SIGCHLD, signals.SIGCONT, signals.SIGURG, signals.SIGWINCH})


class FakeChild:
    """Implements `core.child.Child`. The script calls `print`, `close_output`, `exit`, `make_room`."""

    notebook: Notebook | None = None

    def __init__(self, *, backend: Backend = "pty", pid: int = 1_000_001, copies_input: bool = False) -> None:
        """Make a running child. With `copies_input` it prints what it reads, and exits at the end of input."""
        self.backend: Backend = backend
        self.pid = self.pgid = pid
        self.received = bytearray()
        self.sizes: list[WindowSize] = []
        self.signals: list[tuple[int, bool]] = []
        self.mode = LineMode(canonical=True, echo=True)
        self.input_closed = False
        self.closed = False
        # Signals the program survives; the others end it as they would a real one.
        self.ignores: set[int] = set(_NOT_FATAL)
        self._copies_input = copies_input
        self._room: int | None = None
        self._room_made = trio.Event()
        self._output: deque[tuple[bytes, int]] = deque()
        self._output_closed = False
        self._printed = trio.Event()
        self._status: ExitStatus | None = None
        self._exited = trio.Event()

    # -- the script -----------------------------------------------------------------------------------------

    def print(self, data: bytes, stream: int = 0) -> None:
        """Write to the terminal (or to stdout 0 or stderr 1)."""
        self._output.append((data, stream))
        self._wake()

    def close_output(self) -> None:
        """Close the terminal, as the last process that holds it does."""
        self._output_closed = True
        self._wake()
        # Who waits to write finds out that nobody reads.
        made, self._room_made = self._room_made, trio.Event()
        made.set()

    def exit(self, code: int = 0, *, signal: str | None = None, close_output: bool = True) -> None:
        """End the program; with `close_output` False something else still holds its terminal."""
        if self._status is None:
            self._status = ExitStatus(signal=signal) if signal else ExitStatus(code=code)
            self._exited.set()
        if close_output:
            self.close_output()

    def limit_room(self, size: int) -> None:
        """Let the program read only `size` more bytes of input."""
        self._room = size

    def make_room(self, size: int | None = None) -> None:
        """Let the program read `size` more bytes, or everything from now on."""
        self._room = None if size is None else (self._room or 0) + size
        made, self._room_made = self._room_made, trio.Event()
        made.set()

    # -- the protocol ---------------------------------------------------------------------------------------

    async def pump(self, log: Transcript) -> None:
        """Move what was printed into `log` until the output is closed."""
        while True:
            await trio.lowlevel.checkpoint()
            while self._output:
                data, stream = self._output[0]
                room = log.ring.reserve(len(data), log.floor())
                if data and not room:
                    await log.wait_room()
                    continue
                self._output.popleft()
                if len(data) > room:
                    self._output.appendleft((data[room:], stream))
                log.append(data[:room], stream)
            if self._output_closed:
                return
            self._printed = trio.Event()
            await self._printed.wait()

    async def send_some(self, data: memoryview) -> int:
        """Take what the program reads, waiting until it reads anything."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while (count := self.send_nowait(bytes(data))) == 0 and len(data):
            await self._room_made.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return count

    def send_nowait(self, data: bytes) -> int:
        """Take what the program reads now."""
        if self.input_closed or (self._status is not None and self._output_closed):
            raise InputClosed
        taken = data if self._room is None else data[: self._room]
        if self._room is not None:
            self._room -= len(taken)
        self.received += taken
        if self._copies_input and taken:
            self.print(taken)
        return len(taken)

    async def close_input(self) -> None:
        """End the input; a child that copies it exits."""
        self.input_closed = True
        if self._copies_input:
            self.exit(0)
        await trio.lowlevel.checkpoint()

    def resize(self, size: WindowSize) -> None:
        """Note the size."""
        self.sizes.append(size)

    def signal(self, number: int, *, whole_session: bool) -> None:
        """Note the signal, and die of it unless `ignores` says otherwise."""
        self.signals.append((number, whole_session))
        if number == signals.SIGKILL or (number and number not in self.ignores):
            self.exit(signal=signal_name(number))

    def survivors(self, not_older_than: float = 0.0) -> list[int]:
        """Return the child while it runs."""
        return [self.pid] if self._status is None else []

    def line_mode(self) -> LineMode | None:
        """Return `mode`, None without a terminal or after its end."""
        return None if self.backend == "pipes" or self._output_closed else self.mode

    def line_keys(self) -> LineKeys | None:
        """Return the usual keys while `mode` is line mode."""
        mode = self.line_mode()
        return LineKeys() if mode is not None and mode.canonical else None

    def foreground_pgid(self) -> int | None:
        """Return the child's own group while it runs behind a terminal."""
        return self.pgid if self.backend != "pipes" and self._status is None else None

    async def wait(self) -> ExitStatus:
        """Wait until the script ends the program."""
        await self._exited.wait()
        assert self._status is not None
        return self._status

    def discard(self) -> None:
        """Do nothing: nobody else keeps the child."""

    async def aclose(self) -> None:
        """Note that the child was released."""
        self.closed = True
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _wake(self) -> None:
        self._printed.set()
