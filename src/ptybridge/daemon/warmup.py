"""What takes long to load is loaded once the daemon serves, in the background, one thing after the other.

How it works: loading is Python's own work (parsing C declarations, importing), so in a thread it holds the
interpreter for a switch interval at a time, 5 ms by default, and a collection that it sets off for longer. While
anything is being warmed the interval is short and the collector is off; the loop's delay stays at some milliseconds.
"""

import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from ptybridge.core import shellparse

log = logging.getLogger(__name__)

SWITCH_SECONDS: Final = 0.0005


class Warmup:
    """One daemon's things to warm, in order of importance: names with what warms them."""

    def __init__(self, steps: Sequence[tuple[str, Callable[[], Awaitable[None]]]]) -> None:
        self._steps = steps
        self._begun = False
        self._done = {name: trio.Event() for name, _ in steps}

    async def wait(self, name: str) -> None:
        """Wait until this is warm, or could not be warmed, if warming up has begun. Checkpoint."""
        if self._begun:
            await self._done[name].wait()
        else:
            await trio.lowlevel.checkpoint()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Warm everything. What cannot be loaded is left to whoever asks for it, who gets to know why."""
        self._begun = True
        task_status.started()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.disable()
        try:
            for name, warm in self._steps:
                before = trio.current_time()
                try:
                    await warm()
                except (ImportError, OSError) as exc:
                    log.warning("cannot load %s ahead of time: %s", name, exc)
                else:
                    log.debug("%s: loaded in %.0f ms", name, (trio.current_time() - before) * 1000)
                finally:
                    self._done[name].set()
        finally:
            sys.setswitchinterval(interval)
            gc.enable()
            gc.freeze()  # what was loaded lives as long as the process


async def warm_screens() -> None:
    """Load the emulator and take a first snapshot, which parses what the library declares: 0.4 s in all."""
    await trio.to_thread.run_sync(_use_a_screen)


def _use_a_screen() -> None:
    from ptybridge.core.screen import Screen
    from ptybridge.model import WindowSize

    screen = Screen(WindowSize(2, 8), scrollback_lines=2)
    try:
        screen.feed(b"\x1b]2;t\x07\x1b[31mred\r\n\n\n\x1b[?1049h\x1b[1mbold")
        screen.capture(None)
        screen.lines("html")
        screen.resize(WindowSize(3, 9))
        screen.render(WindowSize(2, 4))
    finally:
        screen.close()


async def warm_grammar() -> None:
    """Load the grammar on which commands are judged."""
    await trio.to_thread.run_sync(shellparse.warm)
