"""P10: the screen model, beside pyte's, in this process: no daemon takes part."""

import random
import time
from collections.abc import Callable

import pyte
from tests.bench.lab import COLS, ROWS, Lab
from tests.bench.results import OURS, Row, Target, compare

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

SCROLLBACK_LINES = 1000
KEYSTROKE = b"\rx"


def screen_models(lab: Lab) -> list[Row]:
    """P10: redraw a screen that is there already; and replay a megabyte of output into a new one."""
    output = sample_output(lab.size(1_000_000, 100_000))

    def replay() -> float:
        screen = Screen(WindowSize(rows=ROWS, cols=COLS), scrollback_lines=SCROLLBACK_LINES)
        milliseconds = timed(lambda: screen.feed(output))
        screen.close()
        return milliseconds

    def replay_pyte() -> float:
        stream = pyte.ByteStream(pyte.HistoryScreen(COLS, ROWS, history=SCROLLBACK_LINES))
        return timed(lambda: stream.feed(output))

    warm = Screen(WindowSize(rows=ROWS, cols=COLS), scrollback_lines=SCROLLBACK_LINES)
    warm.feed(output)
    warm_pyte = pyte.Screen(COLS, ROWS)
    stream = pyte.ByteStream(warm_pyte)
    stream.feed(output[-100_000:])

    # An unchanged screen is answered from what was composed before; a key was typed since, so that nobody gets by
    # with that, and the figure is what composing takes.
    def changed(screen: Callable[[bytes], object], work: Callable[[], object]) -> float:
        screen(KEYSTROKE)
        return timed(work)

    rows = compare(
        "P10",
        "text of a warm screen",
        "ms",
        {
            OURS: lambda: changed(warm.feed, lambda: warm.lines("text")),
            "pyte": lambda: changed(stream.feed, lambda: warm_pyte.display),
        },
        [Target("pyte", 1 / 10, "at most")],
        lab.rounds * 3,
    )
    rows += compare(
        "P10",
        "redraw of a warm screen",
        "ms",
        {
            OURS: lambda: changed(warm.feed, lambda: warm.snapshot(0)),
            "pyte": lambda: changed(stream.feed, lambda: redraw(warm_pyte)),
        },
        [Target("pyte", 1 / 10, "at most")],
        lab.rounds * 3,
    )
    warm.close()
    return rows + compare(
        "P10",
        f"replay of {len(output) / 1e6:.1f} MB",
        "ms",
        {OURS: replay, "pyte": replay_pyte},
        [Target("pyte", 1 / 50, "at most")],
        lab.rounds,
    )


def redraw(screen: pyte.Screen) -> str:
    """Do what pyte leaves to its users: write a screen as text with colours. Less than ours: no modes, no state."""
    parts = ["\x1b[H\x1b[2J"]
    for row in range(screen.lines):
        cells = screen.buffer[row]
        style: tuple[object, ...] = ()
        parts.append(f"\x1b[{row + 1}H\x1b[0m")
        for col in range(screen.columns):
            character, *look = cells[col]
            if tuple(look) != style:
                style = tuple(look)
                parts.append(f"\x1b[0;{style}m")
            parts.append(character)
    return "".join(parts)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds something takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


def sample_output(size: int) -> bytes:
    """Make up what programs print: coloured listings, progress that overwrites itself, a full-screen redraw."""
    chance = random.Random(7)  # the same for everybody, every time
    parts: list[bytes] = []
    length = 0
    while length < size:
        kind = chance.random()
        if kind < 0.7:
            color, width = chance.randrange(31, 37), chance.randrange(10, 70)
            part = b"\x1b[0m\x1b[01;%dm%s\x1b[0m %d\r\n" % (color, b"name-" * (width // 5), chance.randrange(10**6))
        elif kind < 0.95:
            part = b"\rworking ... %d%%\x1b[K" % chance.randrange(100)
        else:
            lines = b"".join(b"\x1b[%d;1H\x1b[7m%s\x1b[27m" % (row, b"cell " * 12) for row in range(1, ROWS + 1))
            part = b"\x1b[H" + lines + "\x1b[24;1H— ünïcödé ✓ 漢字\r\n".encode()
        parts.append(part)
        length += len(part)
    return b"".join(parts)[:size]
