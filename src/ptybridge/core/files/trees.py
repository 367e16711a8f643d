"""Walking trees by descriptors, and deleting them. Nothing here follows a link.

How it works: each level is an open directory, and its entries are reached through it, so a directory that somebody
exchanges for a link on the way is refused (O_NOFOLLOW) instead of leading the walk out of the tree.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ptybridge.core.files.facts import Checked
from ptybridge.core.files.failures import failing
from ptybridge.core.files.places import Place
from ptybridge.errors import FileFailed, FileNotFound, InvalidParams, IsADirectory

# Each level holds a descriptor. PATH_MAX allows 2048 levels; trees of people have a few dozen.
MOST_LEVELS: Final = 500


@contextmanager
def entries(place: Place, level: int) -> Iterator[Iterator[tuple[Place, os.stat_result]]]:
    """Open a directory and go through its entries, by name; what vanishes meanwhile is left out.

    Raises `OutsideRoots` as soon as there is something that is kept from the caller.
    """
    if level > MOST_LEVELS:
        raise FileFailed(f"{place.path} lies deeper than {MOST_LEVELS} levels", path=place.path)
    fd = place.open_directory()

    def each() -> Iterator[tuple[Place, os.stat_result]]:
        with failing(place.path):
            names = sorted(os.listdir(fd))
        for name in names:
            entry = place.below(fd, name)
            try:
                found = entry.stat()
            except FileNotFound:
                continue
            yield entry, found

    try:
        yield each()
    finally:
        os.close(fd)


def check_tree(place: Place, check: Checked, level: int = 1) -> None:
    """Go through a tree, so that nothing is begun with one that holds what is kept from the caller."""
    if not place.confined:
        return
    with entries(place, level) as found:
        for entry, what in found:
            check()
            if stat.S_ISDIR(what.st_mode):
                check_tree(entry, check, level + 1)


def delete(place: Place, *, recursive: bool, missing_ok: bool, check: Checked) -> int:
    """Delete an entry and, with `recursive`, what is below it; return how many entries went. Links are not followed.

    Raises `IsADirectory` for a directory without `recursive`, unless it is empty.
    """
    refuse_root(place)
    found = place.stat_or_none()
    if found is None:
        if missing_ok:
            return 0
        raise FileNotFound(f"there is no {place.path}", path=place.path)
    if not stat.S_ISDIR(found.st_mode):
        with failing(place.path):
            os.unlink(place.name, dir_fd=place.dir_fd)
        return 1
    if not recursive:
        fd = place.open_directory()
        try:
            empty = not os.listdir(fd)
        finally:
            os.close(fd)
        if not empty:
            raise IsADirectory(f"{place.path} is a directory that is not empty", hint="give `recursive`")
    check_tree(place, check)
    return _delete_directory(place, check, 1)


def _delete_directory(place: Place, check: Checked, level: int) -> int:
    count = 1
    with entries(place, level) as found:
        for entry, what in found:
            check()
            if stat.S_ISDIR(what.st_mode):
                count += _delete_directory(entry, check, level + 1)
                continue
            try:
                with failing(entry.path):
                    os.unlink(entry.name, dir_fd=entry.dir_fd)
            except FileNotFound:
                continue
            count += 1
    with failing(place.path):
        os.rmdir(place.name, dir_fd=place.dir_fd)
    return count


def refuse_root(place: Place) -> None:
    """Raise `InvalidParams` for "/" and the roots of confined callers: they are not for removing or replacing."""
    if place.name == ".":
        raise InvalidParams(f"{place.path} is a root; it can be neither deleted nor moved nor replaced")
