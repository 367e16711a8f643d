"""Run by a Python that has terminado: memory per idle session of its manager. Usage: COUNT CHILD."""

import asyncio
import json
import os
import sys
from pathlib import Path


def proportional_kb() -> float:
    """Return this process's memory with shared pages counted in parts."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return float(rollup.split("Pss:")[1].split()[0])


async def main(count: int, child: str) -> None:
    """Open sessions and print what one costs."""
    from terminado import NamedTermManager  # type: ignore[import-not-found, unused-ignore]

    manager = NamedTermManager(shell_command=[child, "idle"], max_terminals=count + 5)
    for _ in range(5):
        manager.new_named_terminal()
    await asyncio.sleep(0)
    before = proportional_kb()
    for _ in range(count):
        manager.new_named_terminal()
    await asyncio.sleep(0.2)  # terminado reads in callbacks; nothing tells when it has gone quiet
    print(json.dumps({"kb_per_session": (proportional_kb() - before) / count}))
    for terminal in manager.terminals.values():
        terminal.ptyproc.kill(9)
    # ptyprocess sleeps a tenth of a second for every terminal that is garbage collected.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
