"""P8, P9: what a command and a call cost while the daemon runs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench.lab import Lab, installed
from tests.bench.results import OURS, Row, Target, compare

SESSIONS = 20


def list_command(lab: Lab) -> list[Row]:
    """P8: `ptybridge ls`, beside a Python that does nothing."""
    program = str(Path(sys.executable).with_name("ptybridge"))
    count = lab.size(10, 2)

    def timed(command: list[str], env: dict[str, str]) -> Callable[[], float]:
        def run() -> float:
            begin = time.perf_counter()
            for _ in range(count):
                subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
            return (time.perf_counter() - begin) / count * 1000

        return run

    with lab.daemon() as daemon, daemon.session(lab.child, "idle"):
        return compare(
            "P8",
            "ptybridge ls",
            "ms",
            {
                OURS: timed([program, "ls"], daemon.env),
                "python -c pass": timed([sys.executable, "-c", "pass"], daemon.env),
            },
            [Target("python -c pass", 6.0, "at most")],
            lab.rounds,
        )


def list_calls(lab: Lab) -> list[Row]:
    """P9: `session.list`, one at a time and 32 in flight, beside the same question in tmux's control mode."""
    count = lab.size(4000, 200)
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "session.list", "params": {}})

    with ExitStack() as stack:
        daemon = stack.enter_context(lab.daemon())
        for _ in range(SESSIONS):
            stack.enter_context(daemon.session(lab.child, "idle"))
        tmux = stack.enter_context(lab.tmux(lab.child, "idle")) if installed("tmux") else None
        if tmux:
            for _ in range(SESSIONS - 1):
                subprocess.run([*tmux, "new-session", "-d", lab.child, "idle"], check=True)

        def ask(depth: int, *way: str) -> float:
            return lab.measure(lab.calls, str(depth), str(count), *way)["per_second"]

        def ours(depth: int) -> float:
            return ask(depth, '{"', request, "socket", daemon.socket)

        def theirs(depth: int) -> float:
            assert tmux is not None
            return ask(depth, "%end", "list-sessions", "pipe", *tmux, "-C", "attach-session")

        rows = []
        for depth, what, factor in ((1, "session.list, one at a time", 1.0), (32, "session.list, 32 in flight", 3.0)):
            rows += compare(
                "P9",
                f"{what}, {SESSIONS} sessions",
                "/s",
                {
                    OURS: partial(ours, depth),
                    "tmux -C": partial(theirs, depth) if tmux else None,
                },
                [Target("tmux -C", factor, "at least")],
                lab.rounds,
            )
    return rows
