"""`python -m tests.bench`: measures, and prints one table with ratios and a verdict for each target.

P13 is a test, in CI and in `make soak`.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable

from tests.bench import agents, calls, machines, memory, screens, spawning, terminals, web_terminals
from tests.bench.lab import BenchError, Lab, installed
from tests.bench.results import Row, table

from ptybridge.errors import PtybridgeError

BENCHES: dict[str, Callable[[Lab], list[Row]]] = {
    "P1": terminals.flood_throughput,
    "P2": web_terminals.flood_throughput,
    "P3": lambda lab: [*terminals.echo_idle(lab), *web_terminals.echo_idle(lab)],
    "P4": terminals.echo_beside_flood,
    "P5": web_terminals.many_viewers,
    "P6": lambda lab: [*terminals.stalled_viewer(lab), *web_terminals.stalled_viewer(lab)],
    "P7": memory.idle_sessions,
    "P8": calls.list_command,
    "P9": calls.list_calls,
    "P10": screens.screen_models,
    "P11": agents.agents_calls,
    "P12": spawning.spawn_times,
    "P14": machines.run_true,
    "P15": machines.transfers,
}
PEER_VERSIONS = {"dtach": ["dtach", "--version"], "tmux": ["tmux", "-V"]}


def main() -> int:
    """Run the benches asked for. Returns 1 when one could not be made; a missed target is a finding, not a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure against other programs.")
    parser.add_argument("--smoke", action="store_true", help="only prove that every bench works, in under a minute")
    parser.add_argument("--only", metavar="ID,...", help=f"some of {', '.join(BENCHES)}")
    options = parser.parse_args()
    wanted = options.only.upper().split(",") if options.only else list(BENCHES)
    if unknown := set(wanted) - set(BENCHES):
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")

    rows: list[Row] = []
    failed = False
    begin = time.monotonic()
    with Lab(smoke=options.smoke) as lab:
        for id in wanted:
            print(f"{id} ...", file=sys.stderr, flush=True)
            try:
                rows += BENCHES[id](lab)
            except (BenchError, PtybridgeError, subprocess.SubprocessError) as exc:
                failed = True
                print(f"{id} could not be measured: {exc}", file=sys.stderr)
    print(table(rows))
    print(f"\n{machine()}; {lab.rounds} rounds, {time.monotonic() - begin:.0f} s.")
    if options.smoke:
        print("Smoke: the figures prove that measuring works, and nothing else.")
    return 1 if failed else 0


def machine() -> str:
    """Describe where the figures come from."""
    peers = [
        subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()[0]
        for name, command in PEER_VERSIONS.items()
        if installed(name)
    ]
    cores = len(os.sched_getaffinity(0))
    facts = [f"{cores} cores", f"Linux {platform.release()}", f"Python {platform.python_version()}", *peers]
    return ", ".join(facts)


if __name__ == "__main__":
    sys.exit(main())
