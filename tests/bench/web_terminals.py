"""P2, P3, P5, P6: the terminal's WebSocket, by the C client that speaks terminado's messages as well."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.bench.lab import HERE, PATIENCE_SECONDS, Daemon, Lab
from tests.bench.results import OURS, Row, Target, bounded, compare
from tests.bench.terminals import figures_of, peak_memory, settle, viewer
from tests.bench.terminals import stalled_viewer as beside_stalled

Way = tuple[str, ...]


class Front:
    """A daemon's web front, and a key to it."""

    def __init__(self, daemon: Daemon) -> None:
        self._port = str(daemon.call("web.open")["addresses"][0]).rpartition(":")[2]
        self._key = str(daemon.call("key.create", name="bench", level="full")["value"])

    def way(self, session_id: str) -> Way:
        """Return how the client gets to a session."""
        return ("websocket", self._port, f"/v1/sessions/{session_id}/attach?rows=24&cols=80", self._key)


@contextmanager
def terminado(python: str, *command: str) -> Iterator[Way]:
    """Run a server of terminado's; yield how the client gets to it."""
    process = subprocess.Popen(
        [python, HERE / "terminado_server.py", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield ("terminado", process.stdout.readline().strip(), "/ws")
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)


def flood_throughput(lab: Lab) -> list[Row]:
    """P2: one viewer of a flood, over a WebSocket."""
    size = lab.size(64_000_000, 2_000_000)
    flooding = (lab.child, "flood", str(size))
    python = lab.terminado()

    def ours() -> float:
        with daemon.session(*flooding, overflow="pause") as session_id:
            return lab.flood(size, *front.way(session_id))

    def theirs() -> float:
        assert python is not None
        with terminado(python, *flooding) as way:
            return lab.flood(size, *way)

    with lab.daemon() as daemon:
        front = Front(daemon)
        return compare(
            "P2",
            "WebSocket, flood",
            "MB/s",
            {OURS: ours, "terminado": theirs if python else None},
            [Target("terminado", 2.0, "at least")],
            lab.rounds,
        )


def echo_idle(lab: Lab) -> list[Row]:
    """P3: from a key to its echo over a WebSocket, with nothing else going on."""
    count = lab.size(2000, 50)
    echoing = (lab.child, "echo")
    python = lab.terminado()
    with ExitStack() as stack:
        daemon = stack.enter_context(lab.daemon())
        way = Front(daemon).way(stack.enter_context(daemon.session(*echoing)))
        theirs = stack.enter_context(terminado(python, *echoing)) if python else None
        return compare(
            "P3",
            "WebSocket, echo p50, idle",
            "µs",
            {OURS: lambda: lab.echo(count, *way), "terminado": (lambda: lab.echo(count, *theirs)) if theirs else None},
            [Target("terminado", 0.7, "at most")],
            lab.rounds,
        )


def many_viewers(lab: Lab) -> list[Row]:
    """P5: fifty viewers of one flood; what all of them get together, and the daemon's memory by that with one."""
    size, viewers = lab.size(8_000_000, 500_000), lab.size(50, 5)
    flooding = (lab.child, "flood", str(size))
    python = lab.terminado()

    def together(way: Way, viewers: int = viewers) -> float:
        # The first waits until the child has set its terminal; the others count what follows.
        with ExitStack() as stack:
            watching = [stack.enter_context(viewer(lab, "watch", size, way)) for _ in range(viewers - 1)]
            begin = time.perf_counter()
            first = lab.measure(lab.client, "flood", str(size), *way)
            got = first["bytes"] + sum(figures_of(process)["bytes"] for process in watching)
            return got / (time.perf_counter() - begin) / 1e6

    def ours() -> float:
        with daemon.session(*flooding, overflow="pause") as session_id:
            return together(front.way(session_id))

    def theirs() -> float:
        assert python is not None
        with terminado(python, *flooding) as way:
            return together(way)

    def most_memory(viewers: int) -> int:
        with daemon.session(*flooding, overflow="pause") as session_id, peak_memory(daemon.pid) as memory:
            together(front.way(session_id), viewers)
        return memory[1]

    with lab.daemon() as daemon:
        front = Front(daemon)
        settle(daemon.pid)
        most_memory(1)  # warm: what a first flood allocates once
        one, all_of_them = most_memory(1), most_memory(viewers)
        rows = compare(
            "P5",
            f"{viewers} viewers of a flood, together",
            "MB/s",
            {OURS: ours, "terminado": theirs if python else None},
            [Target("terminado", 5.0, "at least")],
            lab.rounds,
        )
    return [*rows, bounded("P5", f"memory with {viewers} viewers, by that with one", "×", all_of_them / one, 2)]


def stalled_viewer(lab: Lab) -> list[Row]:
    """P6: two viewers of a flood beside a stalled one, over WebSockets."""
    return beside_stalled(lab, "WebSocket, 2 viewers beside a stalled one", lambda daemon: Front(daemon).way)
