"""Stands between a session and this process's standard streams, for `run` away from a terminal.

How it works: one loop waits for output, input and signals. Output comes as a stream of events on a connection of its
own; input (`relay_input`) and signals go out as calls on another. Nothing is read from standard input while the
session's queue is full, and writing blocks while whoever reads our output does, so a flood is held up where it comes
from.
"""

import os
import select
import signal
import time
from base64 import b64decode
from types import FrameType
from typing import Final

from ptybridge.api.attach import FOLLOW, ExitedEvent, Follow, GapEvent, OutputEvent
from ptybridge.api.session import SIGNAL, Signal
from ptybridge.cli.app import note
from ptybridge.cli.relay_input import Feeder
from ptybridge.errors import ConnectionLost, SessionExited, SessionNotFound
from ptybridge.sdk.resume import Client

# When to look again whether a terminal that is another job's is ours.
BACKGROUND_SECONDS: Final = 0.5
FORWARDED: Final = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP,
)  # fmt: skip


class Relay:
    """One session with pipes (or a terminal nobody looks at), until it exits."""

    def __init__(self, client: Client, session_id: str) -> None:
        self._client = client
        # On a connection of its own: calls go out while output comes in.
        self._stream = client.stream(FOLLOW, Follow(session_id=session_id, offset=0, encoding="base64"))
        self._session_id = session_id
        self._exited: ExitedEvent | None = None
        self._feeder = Feeder(client, session_id)
        self._resumed = 0
        self._received: list[int] = []

    def run(self) -> ExitedEvent:
        """Relay until the exit; return it. Raises `BrokenPipeError` when nobody reads our output any more."""
        with _Signals(self._received) as wakeup:
            while (exited := self._step()) is None:
                self._wait(wakeup)
        return exited

    def _step(self) -> ExitedEvent | None:
        """Do everything that can be done without waiting; return the exit once it is there."""
        # The first events may have come together with the stream's opening, where no `select` sees them.
        for event in self._stream.take():
            self._handle(event)
        if self._exited is None and self._stream.reason:
            raise ConnectionLost(f"the session's output ended: {self._stream.reason}")
        self._pass_on_signals()
        if self._stream.resumed != self._resumed:
            self._resumed = self._stream.resumed
            self._feeder.replaced()
        self._feeder.attend()
        return self._exited

    def _wait(self, wakeup: int) -> None:
        readers: list[int] = [self._stream.fileno(), wakeup]
        timeout = self._feeder.seconds(time.monotonic())
        if self._feeder.hungry:
            if _in_foreground():
                readers.append(0)
            else:
                timeout = BACKGROUND_SECONDS
        ready = select.select(readers, [], [], timeout)[0]
        if wakeup in ready:
            os.read(wakeup, 4096)
        if 0 in ready:
            self._feeder.read()
            self._feeder.attend()

    # -- output ---------------------------------------------------------------------------------------------

    def _handle(self, event: object) -> None:
        match event:
            case OutputEvent():
                _write_all(2 if getattr(event, "stream", None) == "stderr" else 1, b64decode(event.data))
            case GapEvent():
                note(f"{event.to_offset - event.from_offset} bytes of output were discarded before they could be read")
            case ExitedEvent():
                self._exited = event

    # -- signals --------------------------------------------------------------------------------------------

    def _pass_on_signals(self) -> None:
        while self._received:
            number = self._received.pop(0)
            if number == signal.SIGTSTP:
                # The child's group is an orphan for the kernel, which discards SIGTSTP there.
                self._signal("SIGSTOP")
                os.kill(os.getpid(), signal.SIGSTOP)
                self._signal("SIGCONT")
            else:
                self._signal(signal.Signals(number).name)

    def _signal(self, name: str) -> None:
        try:
            self._client.call(SIGNAL, Signal(session_id=self._session_id, signal=name))
        except (SessionExited, SessionNotFound):
            pass  # its exit is on the way to us
        except ConnectionLost:
            note(f"the daemon was replaced just now; whether {name} arrived is not known")


class _Signals:
    """Collects signals for the length of a `with`, which gives a descriptor that becomes readable with each."""

    def __init__(self, received: list[int]) -> None:
        self._received = received
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> int:
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._writable, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        for number in FORWARDED:
            # What whoever started us wants ignored (nohup) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._collect)
        return self._readable

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # just what signal.signal gave us
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._readable)
        os.close(self._writable)

    def _collect(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)


def _in_foreground() -> bool:
    """Tell whether standard input may be read: a terminal stops a background job that tries."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True  # no terminal


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])  # another program has made the terminal or pipe non-blocking
