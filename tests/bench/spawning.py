"""P12: how long starting a program takes in a process with a heap of 300 MB, through the keeper and by forking.

`python -m tests.bench.spawning keeper|fork COUNT` measures in a process of its own and prints JSON.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio
from ptyprocess import PtyProcess
from tests.bench.lab import Lab
from tests.bench.results import OURS, Row, Target, compare

from ptybridge.backends.keeper_link import KeeperLink
from ptybridge.backends.kept import KeptBackend
from ptybridge.core.child import ChildSpec
from ptybridge.model import WindowSize

HEAP_BYTES = 300 << 20
COMMAND = ["/bin/sleep", "1000"]
ENV = {"PATH": os.defpath}


def spawn_times(lab: Lab) -> list[Row]:
    """P12: from the call to the return, with the child already running its program."""
    count = str(lab.size(100, 5))

    def kept() -> float:
        return lab.measure(sys.executable, "-m", "tests.bench.spawning", "keeper", count)["p50_ms"]

    def forked() -> float:
        return lab.measure(sys.executable, "-m", "tests.bench.spawning", "fork", count)["p50_ms"]

    target = Target("ptyprocess", 1 / 3, "at most")
    contenders = {OURS: kept, "ptyprocess": forked}
    return compare("P12", "spawn p50, daemon at 300 MB", "ms", contenders, [target], lab.rounds)


async def _through_keeper(count: int, directory: Path) -> list[float]:
    link = KeeperLink(directory, directory / "daemon.sock", directory / "keeper.log")
    backend = KeptBackend(link)
    spec = ChildSpec(argv=COMMAND, cwd="/", env=ENV, size=WindowSize(24, 80), capacity=1 << 20)
    times = []
    async with trio.open_nursery() as nursery:
        listener, _ = await link.connect()
        listener.close()
        await nursery.start(link.run)
        for _ in range(count):
            begin = time.perf_counter()
            child, _ = await backend.spawn("pty", spec)
            times.append(time.perf_counter() - begin)
            child.discard()
            await child.aclose()
        link.stop_keeper()
        nursery.cancel_scope.cancel()
    link.close()
    return times


def _by_forking(count: int) -> list[float]:
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        process = PtyProcess.spawn(COMMAND, cwd="/", env=ENV, dimensions=(24, 80))
        times.append(time.perf_counter() - begin)
        process.close(force=True)
    return times


def main() -> None:
    """Measure one way."""
    way, count = sys.argv[1], int(sys.argv[2])
    heap = bytearray(os.urandom(4096) * (HEAP_BYTES // 4096))  # written, so that it is there
    if way == "keeper":
        with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as directory:
            os.chmod(directory, 0o700)
            times = trio.run(_through_keeper, count, Path(directory))
    else:
        times = _by_forking(count)
    print(json.dumps({"p50_ms": statistics.median(times) * 1000, "heap": len(heap)}))


if __name__ == "__main__":
    main()
