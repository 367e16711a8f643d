"""Whether a process comes from an AI agent's session, as far as that can be seen.

How it works: the parents of a process are walked up to the first that is a session's child. What has left its parents
behind (`setsid`, a double fork) is known by the kernel's session id, which is the child's pid, or by the variable that
every session's programs begin with. All of this can be evaded by a program written for the purpose, which runs as the
same user after all: it keeps an agent from answering its own questions by the ways it knows, and no more.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from ptybridge.core import procinfo
from ptybridge.core.strays import began_in

MAX_GENERATIONS: Final = 256


class Child(msgspec.Struct, frozen=True):
    """A session as a process sees it: its child's pid, whether that runs, and the profile of whoever made it."""

    session_id: str
    pid: int
    running: bool
    profile: str | None


def agents_session(pid: int, children: Iterable[Child]) -> str | None:
    """Return why a process is taken to come from an agent's session, None if nothing says so.

    A process that has ended cannot be looked at and counts as an agent's; without /proc nothing can be seen.
    """
    if not (procinfo.PROC / "self").exists():
        return None
    known = list(children)
    # The pid of a child that has ended may be another's by now, but not while its session has members: setsid(2).
    by_pid = {child.pid: child for child in known if child.running}
    by_sid = {child.pid: child for child in known}
    by_id = {child.session_id: child for child in known}
    for generation in range(MAX_GENERATIONS):
        stat = procinfo.process_stat(pid)
        if stat is None:
            return "the process that asks is gone" if generation == 0 else None
        found = by_pid.get(pid) or by_sid.get(stat.session_id)
        if found is not None:
            return _said(found)
        named = _named_session(pid, by_id)
        if named is not None:
            return named
        if stat.ppid <= 1:
            return None
        pid = stat.ppid
    return "its parents are too many to look at"


def _said(child: Child) -> str | None:
    return None if child.profile is None else f"it was started in session {child.session_id}, which is an agent's"


def _named_session(pid: int, by_id: Mapping[str, Child]) -> str | None:
    """Tell whether the environment a process began with is that of an agent's session.

    It is evidence against a process and never for it, since everybody can set a variable.
    """
    child = by_id.get(began_in(pid) or "")
    return _said(child) if child is not None else None
