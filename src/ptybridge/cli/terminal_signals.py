"""Signals of a program that has the terminal, as flags a `select` loop wakes up for.

A handler that raised could strike in the middle of restoring the terminal, so handlers only take notes; the one
exception is a blocking call the loop has no other way out of (`interruptible`).
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Final, Self

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Interrupted(Exception):
    """A signal that ends the program arrived during a blocking call."""


class Elapsed(Exception):
    """A blocking call took longer than it may."""


class Signals:
    """Takes the signals of a terminal program for the length of a `with`. Only in the main thread.

    `fd` becomes readable when one arrives. `ending` is the first one that asks us to end.
    """

    def __init__(self) -> None:
        self.ending: signal.Signals | None = None
        self.resized = False
        self.suspended = False
        self.continued = False
        self._raising = False
        self._before: dict[signal.Signals, object] = {}
        self._awake, self._waker = socket.socketpair()

    @property
    def fd(self) -> int:
        """Readable when a signal has arrived since the last `drain`."""
        return self._awake.fileno()

    def __enter__(self) -> Self:
        self._awake.setblocking(False)
        self._waker.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (*_ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            # What our parent had us ignore (nohup) stays ignored.
            if signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it came from signal.signal
        signal.set_wakeup_fd(self._wakeup_before)
        self._awake.close()
        self._waker.close()

    def drain(self) -> None:
        """Forget the wake-ups so far; the flags stay."""
        with contextlib.suppress(BlockingIOError):
            while self._awake.recv(4096):
                pass

    @contextlib.contextmanager
    def interruptible(self, seconds: float) -> Iterator[None]:
        """Let an ending signal raise `Interrupted` out of a blocking call, which Python would otherwise resume.

        After `seconds` it raises `Elapsed`.
        """
        self._raising = True
        before = signal.signal(signal.SIGALRM, _elapsed)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            if self.ending is not None:
                raise Interrupted
            yield
        finally:
            self._raising = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def stop_process(self) -> None:
        """Stop this job as Ctrl-Z does, and return once it is continued.

        The whole group, because the shell waits for a wrapper of ours as well. In a group without a shell (orphaned)
        the system ignores it and this returns at once.
        """
        self.suspended = self.continued = False
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        try:
            os.killpg(os.getpgrp(), signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, ours)

    def _note(self, number: int, frame: FrameType | None) -> None:
        match number:
            case signal.SIGWINCH:
                self.resized = True
            case signal.SIGTSTP:
                self.suspended = True
            case signal.SIGCONT:
                self.continued = True
            case _:
                self.ending = self.ending or signal.Signals(number)
                if self._raising:
                    self._raising = False
                    raise Interrupted


def _elapsed(number: int, frame: FrameType | None) -> None:
    raise Elapsed
