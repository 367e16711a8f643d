"""The entry point: what must be answered at once is, and everything else goes to `cli.program`."""

import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Buffer


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
    """Open what is closed (`<&-`): a socket of ours would get its number, and be read as standard input.

    What an encoding other than UTF-8 has no sign for is printed as "?": a session may be called anything.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    # Python has none for what was closed, and what is printed to no stream goes to standard output.
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        errors = sys.stdout.errors
        if isinstance(sys.stdout.buffer, io.FileIO):  # PYTHONUNBUFFERED
            whole = _Whole(io.FileIO(1, "w", closefd=False))
            sys.stdout = io.TextIOWrapper(whole, encoding=sys.stdout.encoding, errors=errors, write_through=True)
        # Where every character can be printed anyway, names of files may go out as the bytes they are.
        if not (errors == "surrogateescape" and sys.stdout.encoding.lower() == "utf-8"):
            sys.stdout.reconfigure(errors="replace")


class _Whole(io.BufferedWriter):
    """Unbuffered output that is written whole.

    Python's own is a bare write(2), of which a part may be done: its caller is not told that the disk has become full
    or that the reader has gone in the middle.
    """

    def write(self, data: "Buffer", /) -> int:
        count = super().write(data)
        self.flush()
        return count
