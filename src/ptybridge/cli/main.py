"""The entry point: what must be answered at once is, and everything else goes to `cli.program`."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Be the program `ptybridge`."""
    # Ctrl-C may come at any time, also during an import that takes its time.
    try:
        _ensure_standard_streams()
        code = _run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["ls"]:
        from ptybridge.cli.quick import list_sessions

        code = list_sessions(arguments[1:])
        if code is not None:
            return code
    if arguments[:1] == ["mcp"]:
        from ptybridge.cli.mcp import quick_mcp

        code = quick_mcp(arguments[1:])
        if code is not None:
            return code
    from ptybridge.cli.program import complete, run

    if "_PTYBRIDGE_COMPLETE" in os.environ:
        complete()
    return run(arguments)


def _ensure_standard_streams() -> None:
    """Open what is closed (`<&-`): a socket of ours would get its number, and be read as standard input."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
