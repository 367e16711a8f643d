"""P7: what a session costs when nothing happens in it."""

import resource
from pathlib import Path

from tests.bench.lab import HERE, Daemon, Lab
from tests.bench.results import OURS, Row, Target, bounded, compare

MODEL_LIMIT_KB = 60


def idle_sessions(lab: Lab) -> list[Row]:
    """P7: memory per idle session, first never looked at, then with a live model of its screen."""
    count = lab.size(500, 20)
    models: list[float] = []
    allow_descriptors(4 * count)

    def ours() -> float:
        with lab.daemon() as daemon:
            open_sessions(lab, daemon, 5)  # what the first sessions load is not a session's cost
            before = proportional_kb(daemon.pid)
            ids = open_sessions(lab, daemon, count)
            unseen = proportional_kb(daemon.pid)
            for session_id in ids:
                daemon.call("session.screen", session_id=session_id)
            models.append((proportional_kb(daemon.pid) - unseen) / count)
            daemon.call("session.close_all")
        return (unseen - before) / count

    def terminado() -> float:
        assert python is not None
        return lab.measure(python, str(HERE / "terminado_sessions.py"), str(count), lab.child)["kb_per_session"]

    python = lab.terminado()
    rows = compare(
        "P7",
        f"memory per idle session, at {count}",
        "kB",
        {OURS: ours, "terminado": terminado if python else None},
        [Target("terminado", 0.6, "at most")],
        # Memory hardly varies, and starting thousands of processes does take its time.
        min(lab.rounds, 3),
    )
    return [*rows, bounded("P7", "a live screen model more", "kB", sorted(models)[len(models) // 2], MODEL_LIMIT_KB)]


def open_sessions(lab: Lab, daemon: Daemon, count: int) -> list[str]:
    """Create idle sessions; return their ids."""
    command = [lab.child, "idle"]
    return [daemon.call("session.create", command=command, rows=24, cols=80)["session_id"] for _ in range(count)]


def proportional_kb(pid: int) -> float:
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
