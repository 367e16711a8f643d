"""Run as a process of its own: memory per screen model that has seen a line of output. Usage: COUNT."""

import json
import sys

from tests.bench.lab import COLS, ROWS
from tests.bench.memory import proportional_kb

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize

# What `Config` gives a session.
SCROLLBACK_LINES = 10_000


def main(count: int) -> None:
    """Make models and print what one costs."""
    screens = [make() for _ in range(5)]  # the first loads the library
    before = proportional_kb("self")
    screens += [make() for _ in range(count)]
    print(json.dumps({"kb_per_screen": (proportional_kb("self") - before) / count}))


def make() -> Screen:
    """Return a model as a session's is after its first prompt."""
    screen = Screen(WindowSize(rows=ROWS, cols=COLS), scrollback_lines=SCROLLBACK_LINES)
    screen.feed(b"user@node:~$ ")
    return screen


if __name__ == "__main__":
    main(int(sys.argv[1]))
