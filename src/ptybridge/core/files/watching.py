"""Watching a file or a tree: the kernel's news of single directories become changes of paths.

How it works: each directory has a watch of its own, put on an open descriptor. A new directory is watched first and
looked into afterwards, so nothing in it is missed; what both the look and the news tell is told once. The two halves
of a move are joined by their cookie; a half whose other half lies outside is a creation or a deletion. When the
kernel's queue has overflowed, that is told as a gap, and the directories are looked for again.
"""

import os
import stat
from typing import Final, Literal

import msgspec

from ptybridge.core.files import inotify
from ptybridge.core.files.facts import Checked
from ptybridge.core.files.failures import failing
from ptybridge.core.files.places import Place, Rules
from ptybridge.core.files.trees import MOST_LEVELS
from ptybridge.errors import FileTooLarge, OutsideRoots

What = Literal["created", "modified", "deleted", "moved", "gap"]
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Change(msgspec.Struct, frozen=True):
    """What happened to a path. A gap has the path that is watched."""

    what: What
    path: str
    directory: bool = False
    old_path: str | None = None


class Watch:
    """Watches what a place holds. `gone` is set when that itself is deleted or moved away."""

    def __init__(self, place: Place, *, recursive: bool, most: int, check: Checked) -> None:
        """Begin. Raises what keeps the directories from being opened, and `FileTooLarge` beyond `most` of them."""
        self.path = place.path
        self.gone = False
        self._rules: Rules | None = place.rules
        self._recursive = recursive
        self._most = most
        self._check = check
        self._paths: dict[int, str] = {}
        self._halves: dict[int, tuple[str, bool]] = {}
        # What looking into a new directory has told already.
        self._told: set[str] = set()
        found = place.stat()
        # Reached through the directory above, because the kernel does not tell the end of a directory somebody holds.
        self._name, self._top = place.name, place.path
        self._only: str | None = None
        if not stat.S_ISDIR(found.st_mode):
            # By its directory: most programs replace files instead of changing them.
            self._name, self._top, self._only = ".", os.path.dirname(place.path), place.name
            self._recursive = False
        with failing(place.path):
            self._above = os.dup(place.dir_fd)
        try:
            self._queue = inotify.Inotify()
            try:
                with failing(place.path):
                    root = self._open_root()
                    try:
                        self._root_wd = self._add(root, self._top, None, 1)
                    finally:
                        os.close(root)
            except BaseException:
                self._queue.close()
                raise
        except BaseException:
            os.close(self._above)
            raise

    @property
    def fd(self) -> int:
        """Readable when there is something to take."""
        return self._queue.fd

    @property
    def halves(self) -> set[int]:
        """Moves of which the second half may be on its way."""
        return set(self._halves)

    def close(self) -> None:
        """End it."""
        self._queue.close()
        os.close(self._above)

    def take(self) -> list[Change]:
        """Return what has happened since; the same change of a file several times at once is one."""
        changes: list[Change] = []
        with failing(self.path):
            for news in self._queue.read():
                self._check()
                self._one(news, changes)
        if not changes:
            self._told.clear()
        return [one for at, one in enumerate(changes) if not at or one != changes[at - 1] or one.what != "modified"]

    def settle(self, halves: set[int]) -> list[Change]:
        """Return the deletions that moves are whose other half has not come."""
        changes = []
        for cookie in halves & set(self._halves):
            path, directory = self._halves.pop(cookie)
            self._forget(path)
            changes.append(Change("deleted", path, directory))
        return changes

    # -- inside ---------------------------------------------------------------------------------------------

    def _one(self, news: inotify.News, changes: list[Change]) -> None:
        if news.mask & inotify.Q_OVERFLOW:
            self._halves.clear()
            changes.append(Change("gap", self.path))
            try:
                root = self._open_root()
            except OSError:
                self.gone = True
                return
            try:
                self._add(root, self._top, None, 1)
            finally:
                os.close(root)
            return
        if news.mask & inotify.IGNORED:
            self._paths.pop(news.wd, None)
            return
        above = self._paths.get(news.wd)
        if above is None:
            return
        if news.mask & (inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT):
            self.gone = self.gone or news.wd == self._root_wd
            return
        if self._only not in (None, news.name) and news.cookie not in self._halves:
            return
        path = os.path.join(above, news.name)
        # Without a name it is the directory itself, of which the one above tells.
        if news.name and not self._kept(path):
            self._entry(news, path, changes)

    def _entry(self, news: inotify.News, path: str, changes: list[Change]) -> None:
        directory = bool(news.mask & inotify.ISDIR)
        if news.mask & inotify.MOVED_FROM:
            self._halves[news.cookie] = path, directory
        elif news.mask & inotify.MOVED_TO:
            half = self._halves.pop(news.cookie, None)
            if half is not None:
                changes.append(Change("moved", path, directory, half[0]))
                self._rename(half[0], path)
            else:
                self._created(path, directory, changes)
        elif news.mask & inotify.CREATE:
            self._created(path, directory, changes)
        elif news.mask & inotify.DELETE:
            self._told.discard(path)
            changes.append(Change("deleted", path, directory))
        elif news.mask & (inotify.MODIFY | inotify.ATTRIB):
            changes.append(Change("modified", path, directory))

    def _created(self, path: str, directory: bool, changes: list[Change]) -> None:
        if path in self._told:
            self._told.discard(path)
        else:
            changes.append(Change("created", path, directory))
        if directory and self._recursive:
            self._look_into(path, changes)

    def _look_into(self, path: str, changes: list[Change]) -> None:
        names = [one for one in os.path.relpath(path, self._top).split("/") if one != "."]
        fd = -1
        try:
            fd = self._open_root()
            for name in names:
                below = os.open(name, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            self._add(fd, path, changes, len(names) + 1)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass  # it has gone again, is something else by now, or is nobody's business
        finally:
            if fd >= 0:
                os.close(fd)

    def _open_root(self) -> int:
        return os.open(self._name, _DIRECTORY, dir_fd=self._above)

    def _add(self, fd: int, path: str, changes: list[Change] | None, level: int) -> int:
        """Watch an open directory and, if wanted, those below it; tell `changes` what is in a new one."""
        self._check()
        wd = self._queue.add(fd)
        self._paths[wd] = path
        if len(self._paths) > self._most:
            raise FileTooLarge(
                f"{self.path} holds more than {self._most} directories", hint="give `max_directories`", path=self.path
            )
        if not self._recursive or level > MOST_LEVELS:
            return wd
        for name in sorted(os.listdir(fd)):
            below = os.path.join(path, name)
            if self._kept(below):
                continue
            try:
                directory = os.open(name, _DIRECTORY, dir_fd=fd)
            except OSError:
                directory = -1  # no directory, gone, or not to be read
            if changes is not None and below not in self._told:
                self._told.add(below)
                changes.append(Change("created", below, directory >= 0))
            if directory >= 0:
                try:
                    self._add(directory, below, changes, level + 1)
                finally:
                    os.close(directory)
        return wd

    def _rename(self, old: str, new: str) -> None:
        for wd, path in self._paths.items():
            if path == old or path.startswith(f"{old}/"):
                self._paths[wd] = new + path[len(old) :]

    def _forget(self, old: str) -> None:
        for wd, path in list(self._paths.items()):
            if path == old or path.startswith(f"{old}/"):
                del self._paths[wd]
                self._queue.remove(wd)

    def _kept(self, path: str) -> bool:
        """Tell whether this is kept from the caller."""
        if self._rules is None:
            return False
        try:
            self._rules.check(path)
        except OutsideRoots:
            return True
        return False
