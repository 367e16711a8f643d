"""Handing a daemon's work over to a fresh one without a client noticing more than a pause.

How it works: the old daemon starts the new one with the lock on the socket (one open file, so it is never free), a
pipe to be told on and one to tell on. The new one loads everything, looks at the keeper without touching anything and
says "verified"; the old one answers whoever asked for the restart and says "go". Then the new one claims the keeper,
which makes the old one let go, restores the sessions and says "ready". If the new one dies before that, the old one,
which has been waiting, takes the sessions back.
"""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import trio

from ptybridge.backends import nofile
from ptybridge.config import Config
from ptybridge.daemon import systemd

VERIFIED: Final = b"v"
GO: Final = b"g"
READY: Final = b"\n"
# How the new daemon begins when it is the keeper that it cannot work with.
KEEPER_PROBLEM: Final = "it cannot work with the keeper"
VERIFY_SECONDS = 20.0
READY_SECONDS = 30.0


class Handover:
    """The old daemon's side."""

    def __init__(self, config: Config, lock_fd: int, *, start_keeper: bool = True) -> None:
        self._config = config
        self._start_keeper = start_keeper
        self._lock_fd = lock_fd
        self._process: subprocess.Popen[bytes] | None = None
        self._from_new = -1
        self._to_new = -1
        self._ready = False
        self._failed = False

    async def prepare(self, web_fds: Sequence[int] = ()) -> str | None:
        """Start the new daemon and wait until it is verified; return what is wrong, None when it is well.

        It gets `web_fds`, on which the web front listens: nobody who connects meanwhile is refused.
        """
        self.abandon()
        self._failed = False
        try:
            self._start(web_fds)
        except OSError as exc:
            return f"it cannot be started: {exc}"
        with trio.move_on_after(VERIFY_SECONDS):
            await trio.lowlevel.wait_readable(self._from_new)
            said = os.read(self._from_new, 4096)
            if said[:1] == VERIFIED:
                return None
            self.abandon()
            return said.decode(errors="replace").strip() or "it ended without a word"
        self.abandon()
        return f"it was not ready within {VERIFY_SECONDS:.0f} s"

    def _start(self, web_fds: Sequence[int]) -> None:
        self._from_new, report = os.pipe()
        try:
            order, self._to_new = os.pipe()
        except OSError:
            os.close(report)
            raise
        paths = self._config.paths
        command = [sys.executable, "-m", "ptybridge", "serve", "--detached"]
        numbers = (self._lock_fd, report, order, nofile.inherited()[0], *web_fds)
        command += ["--takeover-fds", ",".join(map(str, numbers))]
        if not self._start_keeper:
            command.append("--service")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(self._lock_fd, report, order, *web_fds),
                start_new_session=True,
                cwd="/",
                # What came by flag must not change with the daemon.
                env={
                    # Its pid is not known yet; without this variable the watchdog is for whoever is the daemon.
                    **{name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"},
                    "PTYBRIDGE_SOCKET": paths.socket,
                    "PTYBRIDGE_STATE_DIR": paths.state_dir,
                    "PTYBRIDGE_RUNTIME_DIR": paths.runtime_dir,
                },
            )
        finally:
            os.close(report)
            os.close(order)

    def go(self) -> bool:
        """Let the new daemon take over; return whether it is still there."""
        try:
            os.write(self._to_new, GO)
        except BrokenPipeError:
            self._fail()
            return False
        return True

    async def wait_failed(self) -> None:
        """Wait until the new daemon has failed, if it does; one that takes over supersedes us."""
        with trio.move_on_after(READY_SECONDS):
            await trio.lowlevel.wait_readable(self._from_new)
            self._ready = os.read(self._from_new, 1) == READY
        if self._ready:
            await trio.sleep_forever()
        self._fail()

    def _fail(self) -> None:
        self.abandon()
        self._failed = True

    def succeeded(self) -> bool:
        """Wait until the new daemon serves, or has failed. Blocking: the old one has nothing else to do then."""
        if self._failed:
            return False
        if self._from_new < 0:
            return True  # another daemon took over by itself, not one of ours
        poll = select.poll()  # select(2) knows no descriptor above 1023
        poll.register(self._from_new, select.POLLIN)
        ready = poll.poll(0 if self._ready else READY_SECONDS * 1000)
        answer = READY if self._ready else os.read(self._from_new, 1) if ready else b""
        if answer == READY:
            if self._process is not None:
                systemd.hand_over(self._process.pid)
            return True
        self.abandon()
        return False

    def abandon(self) -> None:
        """End a new daemon that did not come up, and forget it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for fd in (self._from_new, self._to_new):
            if fd >= 0:
                os.close(fd)
        self._from_new = self._to_new = -1
        self._ready = False


class Takeover:
    """The new daemon's side."""

    def __init__(
        self, lock_fd: int, report_fd: int, order_fd: int, children_nofile: int | None = None, *web_fds: int
    ) -> None:
        """`children_nofile`: the limit on open files that the old daemon began with."""
        self.web_fds = web_fds
        self.lock_fd = lock_fd
        self.children_nofile = children_nofile
        self._report_fd = report_fd
        self._order_fd = order_fd
        for fd in (lock_fd, report_fd, order_fd, *web_fds):
            os.set_inheritable(fd, False)

    @classmethod
    def parse(cls, text: str) -> "Takeover":
        """Read what `Handover` passes on the command line."""
        return cls(*(int(part) for part in text.split(",")))

    def verified(self) -> bool:
        """Say that all is well, and wait for the word to go; False when the old daemon does not want any more."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._report_fd, VERIFIED)
        return os.read(self._order_fd, 1) == GO

    def failed(self, message: str) -> None:
        """Say what is wrong."""
        os.write(self._report_fd, message.encode())

    def ready(self) -> None:
        """Say that clients are being served."""
        with contextlib.suppress(BrokenPipeError):  # the old one has been killed meanwhile
            os.write(self._report_fd, READY)
        os.close(self._report_fd)
        os.close(self._order_fd)
