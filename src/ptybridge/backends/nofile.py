"""The limit on open files: the daemon raises its own, and children get what it began with.

Programs that use select(2) break with descriptors above 1023, so a high limit must not be handed down. A `preexec_fn`
is no way to lower it: with threads about, code between fork and exec may wait for ever. So whoever starts children of
its own (the keeper, the next daemon) is told the number.
"""

import resource
from typing import Final

# As the keeper's: beyond this, closing what a child must not inherit would take noticeable time on older systems.
MOST_DESCRIPTORS: Final = 1 << 20

_inherited = resource.getrlimit(resource.RLIMIT_NOFILE)


def inherited() -> tuple[int, int]:
    """Return the soft and hard limit for children."""
    return _inherited


def raise_own(first: int | None = None) -> None:
    """Allow this process as many descriptors as it may have; a session takes four.

    `first` is the soft limit for children if this process was started by one that had raised its own.
    """
    global _inherited
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    _inherited = (soft if first is None else first, hard)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def lower_own() -> None:
    """Undo `raise_own`, for a program this process is about to turn into."""
    resource.setrlimit(resource.RLIMIT_NOFILE, _inherited)
