"""Whether what is typed in a session goes to a shell that would run it, as far as that can be seen from outside.

How it works: the foreground process group tells. A shell reads commands unless it runs a script; programs such as ssh
and sudo may lead to one, and are taken for one. A program that has the terminal without reading it leaves what is typed
to whoever reads next, so then the session's own shell counts.
"""

import os
from collections.abc import Sequence
from typing import Final

import msgspec

from ptybridge.core import procinfo
from ptybridge.core.session import Session
from ptybridge.core.wrappers import SHELLS, shell_script

_SHELLS: Final = SHELLS | {"busybox", "rzsh", "elvish", "nu", "xonsh"}
# Behind these there usually is a shell nobody here can see.
DOORS: Final = frozenset(
    """ssh slogin mosh mosh-client telnet su sudo doas pkexec run0 machinectl docker podman nerdctl kubectl oc lxc incus
    nsenter chroot unshare toolbox distrobox login newgrp sg vagrant adb screen tmux script""".split()
)


class Reader(msgspec.Struct, frozen=True):
    """A shell that gets what is typed, and its directory if it is known."""

    cwd: str | None = None


def reader_of(session: Session) -> Reader | None:
    """Return the shell that would run what is typed now; None when it goes to another program."""
    child = session.child
    pgid = child.foreground_pgid()
    if pgid is None:
        # Without a terminal all that the program has started reads the same input.
        return _in_group(child.pgid) if child.backend == "pipes" else None
    leader = procinfo.foreground(pgid)
    if leader is not None:
        if takes_commands(leader.name, leader.command):
            return Reader(_cwd(leader.pid, leader.name))
        if leader.name in _SHELLS and (found := _in_group(pgid)) is not None:
            return found
    first = procinfo.process_stat(child.pid)
    if first is None or not takes_commands(first.name, procinfo.process_command(child.pid)):
        return None
    # A group that has just ended reads nothing: its shell is about to take the terminal back.
    if procinfo.is_blocked_reading_terminal(pgid, child.pid) is not False and procinfo.foreground(pgid) is not None:
        return None
    return Reader(procinfo.process_cwd(child.pid))


def takes_commands(name: str, argv: Sequence[str]) -> bool:
    """Tell whether a process reads commands from its input: a shell without a script, or what leads to one."""
    program = os.path.basename(argv[0]).lstrip("-") if argv else name
    if name in DOORS or program in DOORS:
        return True
    if name not in _SHELLS and program not in _SHELLS:
        return False
    script, rest = shell_script(list(argv))
    return script is None and (not rest or rest[0] in {"-", "/dev/stdin"} or "-s" in argv[1:])


def _in_group(pgid: int) -> Reader | None:
    for one in procinfo.group_members(pgid):
        if takes_commands(one.name, procinfo.process_command(one.pid)):
            return Reader(_cwd(one.pid, one.name))
    return None


def _cwd(pid: int, name: str) -> str | None:
    return None if name in DOORS else procinfo.process_cwd(pid)
