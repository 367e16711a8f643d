"""What tests of children share: a child with its output being pumped, and looks at what it leaves behind."""

import contextlib
import gc
import os
import resource
from collections.abc import Iterator
from typing import Final

import trio

from ptybridge.core import procinfo
from ptybridge.core.child import Child
from ptybridge.core.transcript import Transcript
from ptybridge.model import ExitStatus, WindowSize

# Generous: only a hang should ever reach it.
PATIENCE_SECONDS: Final = 60.0
SIZE: Final = WindowSize(rows=24, cols=80)
ENV: Final = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "}


class Running:
    """A child with its output being pumped."""

    def __init__(self, child: Child, log: Transcript) -> None:
        self.child = child
        self.log = log
        self.output_closed = trio.Event()
        self.pumping = trio.CancelScope()

    async def pump(self) -> None:
        """Run the child's pump until the output is closed or `pumping` is cancelled."""
        with self.pumping:
            await self.child.pump(self.log)
            self.log.close()
            self.output_closed.set()

    def output(self) -> bytes:
        """Return all output that is kept."""
        return self.log.read(self.log.start, self.log.end - self.log.start)[1]

    async def wait_output(self, needle: bytes, *, after: int = 0) -> int:
        """Wait until `needle` is printed at or after the offset `after`; return the offset behind it."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                reader = self.log.reader(self.log.end)
                start, text = self.log.read(after, self.log.end)
                if (at := text.find(needle)) >= 0:
                    return start + at + len(needle)
                if self.log.closed:
                    raise AssertionError(f"output closed without {needle!r}: {text[-2000:]!r}")
                await reader.wait()

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        with trio.fail_after(PATIENCE_SECONDS):
            rest = memoryview(data)
            while rest:
                rest = rest[await self.child.send_some(rest) :]

    async def finish(self) -> ExitStatus:
        """Wait for the exit and for the end of output."""
        with trio.fail_after(PATIENCE_SECONDS):
            status = await self.child.wait()
            await self.output_closed.wait()
            return status


def pattern(size: int) -> bytes:
    """Return `size` letters and digits in which no stretch of ten bytes repeats, so that order shows."""
    return b"".join(b"%09dx" % n for n in range(size // 10 + 1))[:size]


def open_fds() -> list[str]:
    """Return the numbers of this process's open descriptors, without the one used for looking."""
    return sorted(name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}"))


def what_is_held() -> tuple[list[str], list[int]]:
    """Return this process's descriptors and children before a test that leaves none.

    What earlier tests have left as garbage goes first, so that it does not go in the middle.
    """
    gc.collect()
    return open_fds(), children()


def nothing_more_is_held(before: tuple[list[str], list[int]]) -> bool:
    """Tell whether no descriptor and no child is new; what earlier tests have left may go at any time."""
    return set(open_fds()) <= set(before[0]) and set(children()) <= set(before[1])


@contextlib.contextmanager
def limited_descriptors(free: int) -> Iterator[None]:
    """Leave only `free` numbers for new descriptors.

    Which those are only opening tells: a thread that waits in accept(2), or opens a FIFO, has its number already, and
    /proc does not show it.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    numbers = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(free + 1)]
    for number in numbers:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (numbers[-1], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def children() -> list[int]:
    """Return this process's children, zombies included."""
    return [stat.pid for stat in procinfo.processes() if stat.ppid == os.getpid()]
