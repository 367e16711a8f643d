"""P7: what a session costs when nothing happens in it."""

import resource
import statistics
import sys
import time
from pathlib import Path

from tests.bench.lab import HERE, PATIENCE_SECONDS, Daemon, Lab
from tests.bench.results import OURS, Row, Target, bounded, compare

MODEL_LIMIT_KB = 60
SETTLE_SECONDS = 2.0
SETTLED_KB = 50.0


def idle_sessions(lab: Lab) -> list[Row]:
    """P7: memory per idle session, without its screen model and with it.

    The daemon gives every session a model from the start, so "without" is the session less a model measured alone.
    """
    count = lab.size(500, 20)
    models: list[float] = []
    allow_descriptors(4 * count)

    def session() -> float:
        with lab.daemon() as daemon:
            open_sessions(lab, daemon, 5)  # what the first sessions load is not a session's cost
            before = settled_kb(daemon.pid)
            open_sessions(lab, daemon, count)
            after = settled_kb(daemon.pid)
            daemon.call("session.close_all")
        return (after - before) / count

    def without_model() -> float:
        models.append(lab.measure(sys.executable, "-m", "tests.bench.screen_memory", str(count))["kb_per_screen"])
        return session() - models[-1]

    def terminado() -> float:
        assert python is not None
        return lab.measure(python, str(HERE / "terminado_sessions.py"), str(count), lab.child)["kb_per_session"]

    python = lab.terminado()
    peer = terminado if python else None
    # Memory hardly varies, and starting thousands of processes does take its time.
    rounds = min(lab.rounds, 3)
    target = Target("terminado", 0.6, "at most")
    rows = compare(
        "P7",
        f"idle session less its model, at {count}",
        "kB",
        {OURS: without_model, "terminado": peer},
        [target],
        rounds,
    )
    rows += compare("P7", f"idle session, all of it, at {count}", "kB", {OURS: session, "terminado": peer}, [], rounds)
    return [*rows, bounded("P7", "its screen model", "kB", statistics.median(models), MODEL_LIMIT_KB)]


def open_sessions(lab: Lab, daemon: Daemon, count: int) -> list[str]:
    """Create idle sessions; return their ids."""
    command = [lab.child, "idle"]
    return [daemon.call("session.create", command=command, rows=24, cols=80)["session_id"] for _ in range(count)]


def settled_kb(pid: int) -> float:
    """Return a daemon's memory once it has loaded what it loads beside its work, which is more than its sessions."""
    before, now = 0.0, proportional_kb(pid)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while abs(now - before) > SETTLED_KB and time.monotonic() < deadline:
        time.sleep(SETTLE_SECONDS)
        before, now = now, proportional_kb(pid)
    return now


def proportional_kb(pid: int | str) -> float:
    """Return a process's memory with shared pages counted in parts, shared memory such as rings included."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise ValueError("the kernel reports no Pss")


def allow_descriptors(count: int) -> None:
    """Let our children open this many descriptors, if the system's hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
