"""P1, P3, P4, P6: what a viewer gets from a terminal, how fast, and who is hurt by whom."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil
from tests.bench.lab import BenchError, Daemon, Lab, installed
from tests.bench.results import NOISE, OURS, Row, Target, bounded, compare

DIRECT = "pty in C"
# Our own daemon that has the terminals itself: what outliving the daemon costs.
IN_PROCESS = "without keeper"
# A daemon has loaded everything when its memory is steady for so long; on a busy machine that takes a while.
QUIET_SECONDS = 2.0
STEADY_BYTES = 512 * 1024
SETTLE_SECONDS = 30.0


def flood_throughput(lab: Lab) -> list[Row]:
    """P1: one viewer of a flood, over the socket."""
    size = lab.size(64_000_000, 4_000_000)
    flooding = (lab.child, "flood", str(size))

    def ours(by: Daemon) -> float:
        # "pause", because the peers hold the child back too instead of dropping what a viewer has not read.
        with by.session(*flooding, overflow="pause") as session_id:
            return lab.flood(size, "ptybridge", by.socket, session_id)

    def dtach() -> float:
        with lab.dtach(*flooding) as path:
            return lab.flood(size, "dtach", path)

    with lab.daemon() as daemon, lab.daemon("--no-keeper") as alone:
        return compare(
            "P1",
            "attach, flood",
            "MB/s",
            {
                OURS: lambda: ours(daemon),
                IN_PROCESS: lambda: ours(alone),
                DIRECT: lambda: lab.flood(size, "pty", *flooding),
                "dtach": dtach if installed("dtach") else None,
            },
            [Target(DIRECT, 0.8, "at least"), Target("dtach", 1.0, "at least"), Target(IN_PROCESS, 1.0, "at least")],
            lab.rounds,
        )


def echo_idle(lab: Lab) -> list[Row]:
    """P3: from a key to its echo, with nothing else going on."""
    count = lab.size(2000, 50)
    echoing = (lab.child, "echo")
    with ExitStack() as stack:
        daemon = stack.enter_context(lab.daemon())
        session_id = stack.enter_context(daemon.session(*echoing))
        alone = stack.enter_context(lab.daemon("--no-keeper"))
        alone_id = stack.enter_context(alone.session(*echoing))
        dtach = stack.enter_context(lab.dtach(*echoing)) if installed("dtach") else None
        tmux = stack.enter_context(lab.tmux(*echoing)) if installed("tmux") else None
        return compare(
            "P3",
            "echo p50, idle",
            "µs",
            {
                OURS: lambda: lab.echo(count, "ptybridge", daemon.socket, session_id),
                IN_PROCESS: lambda: lab.echo(count, "ptybridge", alone.socket, alone_id),
                "dtach": (lambda: lab.echo(count, "dtach", dtach)) if dtach else None,
                "tmux": (lambda: lab.echo(count, "pty", *tmux, "attach-session")) if tmux else None,
                DIRECT: lambda: lab.echo(count, "pty", *echoing),
            },
            [Target("dtach", 3.0, "at most"), Target(IN_PROCESS, 1.0, "at most")],
            lab.rounds,
        )


def echo_beside_flood(lab: Lab) -> list[Row]:
    """P4: from a key to its echo, while another session of the same daemon floods unwatched."""
    count = lab.size(500, 20)
    echoing = (lab.child, "echo")

    def ours(by: Daemon, echo: str) -> float:
        with by.session(lab.child, "noise"):
            return lab.echo(count, "ptybridge", by.socket, echo)

    def tmux() -> float:
        assert server is not None
        subprocess.run([*server, "new-window", "-d", "-n", "noise", lab.child, "noise"], check=True)
        try:
            return lab.echo(count, "pty", *server, "attach-session")
        finally:
            subprocess.run([*server, "kill-window", "-t", "noise"], check=True)

    with ExitStack() as stack:
        daemon = stack.enter_context(lab.daemon())
        session_id = stack.enter_context(daemon.session(*echoing))
        alone = stack.enter_context(lab.daemon("--no-keeper"))
        alone_id = stack.enter_context(alone.session(*echoing))
        server = stack.enter_context(lab.tmux(*echoing)) if installed("tmux") else None
        return compare(
            "P4",
            "echo p50, another floods",
            "µs",
            {
                OURS: lambda: ours(daemon, session_id),
                IN_PROCESS: lambda: ours(alone, alone_id),
                "tmux": tmux if server else None,
            },
            [Target("tmux", 1.0, "at most"), Target(IN_PROCESS, 1.0, "at most")],
            lab.rounds,
        )


def over_socket(daemon: Daemon) -> Callable[[str], tuple[str, ...]]:
    """Return how the client gets to a session: over the daemon's socket."""
    return lambda session_id: ("ptybridge", daemon.socket, session_id)


def stalled_viewer(
    lab: Lab,
    what: str = "2 viewers beside a stalled one",
    ways: Callable[[Daemon], Callable[[str], tuple[str, ...]]] = over_socket,
) -> list[Row]:
    """P6: two viewers of a flood beside a third that has stopped reading, and beside a third that reads."""
    size = lab.size(48_000_000, 2_000_000)
    ring = 1 << 20
    lost = 0.0
    growth = 0.0

    def slowest(daemon: Daemon, third: str) -> float:
        nonlocal lost, growth
        with daemon.session(lab.child, "flood", str(size), max_output_bytes=ring) as session_id:
            way = way_to(session_id)
            # The child answers once its terminal is raw; only then can bytes be counted.
            daemon.call("session.write", session_id=session_id, data="?")
            daemon.call("session.read_until", session_id=session_id, pattern="!")
            with ExitStack() as stack:
                other = stack.enter_context(viewer(lab, third, 3600 if third == "stall" else size, way))
                watching = [stack.enter_context(viewer(lab, "watch", size, way)) for _ in range(2)]
                with peak_memory(daemon.pid) as memory:
                    daemon.call("session.write", session_id=session_id, data="G")
                    figures = [figures_of(process) for process in watching]
                if third == "stall":
                    other.kill()
                    growth = max(growth, memory[1] - memory[0])
                    lost += sum(one["lost"] for one in figures)
                else:
                    figures_of(other)
        return max(one["seconds"] for one in figures)

    with lab.daemon() as daemon:
        way_to = ways(daemon)
        settle(daemon.pid)
        slowest(daemon, "watch")  # warm: what a first flood allocates once is not the stalled viewer's doing
        rows = compare(
            "P6",
            what,
            "s",
            {OURS: lambda: slowest(daemon, "stall"), "the third reads": lambda: slowest(daemon, "watch")},
            [Target("the third reads", NOISE, "at most")],
            lab.rounds,
        )
    return [
        *rows,
        bounded("P6", "bytes the two have lost", "B", lost, 0),
        bounded("P6", "memory growth", "KiB", growth / 1024, ring / 1024),
    ]


@contextmanager
def viewer(lab: Lab, work: str, number: int, way: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """Start a viewer; yield it once it is attached."""
    command = [lab.client, work, str(number), *way]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        if "ready" not in (said := process.stderr.readline()):
            raise BenchError(f"the viewer has not attached: {said}")
        yield process
    finally:
        process.kill()
        process.communicate()


def figures_of(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for a viewer's end; return what it has found."""
    out, err = process.communicate(timeout=120)
    if process.returncode != 0:
        raise BenchError(err)
    figures: dict[str, float] = json.loads(out)
    return figures


@contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """Watch the memory that is a process's own; yields [before, most], the latter growing until the end."""
    memory = [own_memory(pid)] * 2
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            memory[1] = max(memory[1], own_memory(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()


def own_memory(pid: int) -> int:
    """Return the resident bytes that are this process's: programs' files and the keeper's rings are shared."""
    found = psutil.Process(pid).memory_info()
    return int(found.rss - found.shared)


def settle(pid: int) -> None:
    """Wait until a daemon has loaded what it loads beside its work (some 30 MB), so that no figure has that in it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before, since = own_memory(pid), time.monotonic()
    while time.monotonic() < min(deadline, since + QUIET_SECONDS):
        time.sleep(0.1)
        if abs((now := own_memory(pid)) - before) > STEADY_BYTES:
            before, since = now, time.monotonic()
