"""Warming up in the background: what it is for, and that it leaves the loop alone."""

import gc
import subprocess
import sys

import pytest
import trio

from ptybridge.daemon.warmup import Warmup, warm_screens

# In a process of its own: here, screens are warm long since.
FIRST_SNAPSHOT = """
import sys, trio
from ptybridge.daemon.warmup import Warmup, warm_screens

async def main():
    turns = 0
    async def turn():
        nonlocal turns
        while True:
            await trio.sleep(0)
            turns += 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turn)
        warmup = Warmup([("screens", warm_screens)])
        await nursery.start(warmup.run)
        await warmup.wait("screens")
        during = turns
        nursery.cancel_scope.cancel()
    import pycparser
    parsed = []
    parse = pycparser.CParser.parse
    pycparser.CParser.parse = lambda *args, **kwargs: parsed.append(args[1]) or parse(*args, **kwargs)
    from ptybridge.core.screen import Screen
    from ptybridge.model import WindowSize
    screen = Screen(WindowSize(24, 80))
    screen.feed(b"\\x1b[31mred\\r\\n" * 100 + b"\\x1b[?1049h\\x1b[1mbold")
    screen.capture(None)
    screen.lines("ansi"), screen.lines("html"), screen.render(WindowSize(5, 5))
    print(during, parsed)

trio.run(main)
"""


def test_nothing_is_left_to_parse_at_the_first_snapshot_and_the_loop_has_turned() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_SNAPSHOT], capture_output=True, text=True, check=True)
    turns, _, parsed = done.stdout.partition(" ")
    assert parsed.strip() == "[]"
    assert int(turns) > 20


async def test_what_cannot_be_loaded_keeps_nothing_else_away(caplog: pytest.LogCaptureFixture) -> None:
    warmed: list[str] = []

    async def missing() -> None:
        await trio.lowlevel.checkpoint()
        raise ImportError("no such module")

    async def there() -> None:
        await trio.lowlevel.checkpoint()
        assert not gc.isenabled()
        warmed.append("there")

    interval = sys.getswitchinterval()
    warmup = Warmup([("a", missing), ("b", there), ("screens", warm_screens)])
    async with trio.open_nursery() as nursery:
        await nursery.start(warmup.run)
        for name in ("a", "b", "screens"):
            await warmup.wait(name)
    assert warmed == ["there"]
    assert "cannot load a ahead of time: no such module" in caplog.text
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval
