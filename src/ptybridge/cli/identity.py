"""What a shell's commands are called among the clients of a session, so that a lease is theirs from one to the next.

How it works: everything typed at one terminal is one client, named after the terminal as `who` and `ps` name it
(pts/3). A script without a terminal has no name of its own unless it is given one.
"""

import os
from typing import Final

NAME_VARIABLE: Final = "PTYBRIDGE_CLIENT_ID"
_MAX_NAME: Final = 128


def client_name() -> str | None:
    """Return the name: that in the environment, else the terminal's, None when there is neither."""
    given = os.environ.get(NAME_VARIABLE, "").strip()
    if given:
        return given[:_MAX_NAME]
    for fd in (0, 1, 2):
        try:
            return os.ttyname(fd).removeprefix("/dev/")[:_MAX_NAME]
        except OSError:
            pass  # no terminal, or one of another file system
    return None
