"""Finding files by name and by what they hold, in a tree that is walked by descriptors and never through links."""

import os
import stat
from collections import deque
from collections.abc import Generator
from typing import Final

import msgspec

from ptybridge.core.files.facts import Checked, Facts, facts, readable_name
from ptybridge.core.files.failures import failing
from ptybridge.core.files.globs import Fits, IgnoreRules
from ptybridge.core.files.places import Place
from ptybridge.core.files.trees import MOST_LEVELS
from ptybridge.errors import FileNotFound, NotADirectory, OutsideRoots, PermissionDenied, PtybridgeError

# What has a NUL in its beginning is no text: as git and grep judge.
_HEAD_BYTES: Final = 8192
# A longer line is searched and shown in pieces of this size.
_LINE_BYTES: Final = 64 << 10
_IGNORE_BYTES: Final = 1 << 20


class FoundIn(msgspec.Struct, frozen=True):
    """A line that matches; `number` counts from 1."""

    number: int
    text: str
    before: list[str]
    after: list[str]


class Found(msgspec.Struct):
    """A file that fits, with the lines that match."""

    entry: Facts
    lines: list[FoundIn]


# What is found, and None where there is a pause; closing it closes what is open.
Steps = Generator[Found | None, None, None]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for."""

    name: Fits | None
    line: Fits | None
    context: int
    limit: int
    depth: int | None
    hidden: bool
    ignore: bool


class Search:
    """One walk. `truncated`: there is more. `skipped`: what could not, or must not, be looked into.

    It gives what it finds when it finds it, and None now and then, where whoever drives it may pause.
    """

    def __init__(self, wanted: Wanted, check: Checked) -> None:
        self.truncated = False
        self.searched = 0
        self.skipped = 0
        self._wanted = wanted
        self._check = check
        self._count = 0

    def run(self, place: Place) -> Steps:
        """Search below a directory. Raises what keeps it from being opened."""
        fd = place.open_directory()
        try:
            yield from self._directory(Place(fd, ".", place.path, place.rules), "", [], 1)
        finally:
            os.close(fd)

    def _directory(self, here: Place, above: str, rules: list[tuple[str, IgnoreRules]], level: int) -> Steps:
        with failing(here.path):
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here.dir_fd)
            try:
                names = sorted(os.listdir(fd))
            finally:
                os.close(fd)
        if self._wanted.ignore and ".gitignore" in names:
            rules = [*rules, (above, self._rules(here))]
        yield None
        for name in names:
            self._check()
            if self.truncated:
                return
            if not self._wanted.hidden and name.startswith("."):
                continue
            try:
                entry = here.below(here.dir_fd, name)
                found = entry.stat()
            except FileNotFound:
                continue
            except OutsideRoots:
                self.skipped += 1
                continue
            path = above + name
            directory = stat.S_ISDIR(found.st_mode)
            if self._wanted.ignore and (name == ".git" or _ignored(rules, path, directory)):
                continue
            fits = self._entry(entry, found, path)
            if fits is not None or stat.S_ISREG(found.st_mode):
                yield fits
            if directory and (self._wanted.depth is None or level < self._wanted.depth):
                yield from self._below(entry, path, rules, level)

    def _below(self, entry: Place, path: str, rules: list[tuple[str, IgnoreRules]], level: int) -> Steps:
        if level >= MOST_LEVELS:
            self.skipped += 1
            return
        try:
            fd = entry.open_directory()
        except (PermissionDenied, FileNotFound, NotADirectory):
            self.skipped += 1
            return
        try:
            yield from self._directory(Place(fd, ".", entry.path, entry.rules), f"{path}/", rules, level + 1)
        finally:
            os.close(fd)

    def _entry(self, entry: Place, found: os.stat_result, path: str) -> Found | None:
        wanted = self._wanted
        if wanted.name is not None and not wanted.name(readable_name(path)[0]):
            return None
        if wanted.line is None:
            if self._count == wanted.limit:
                self.truncated = True
                return None
            self._count += 1
            return Found(facts(entry, found), [])
        if stat.S_ISREG(found.st_mode):
            try:
                fd = entry.open_file()
            except PtybridgeError:
                self.skipped += 1
                return None
            try:
                with failing(entry.path):
                    lines = self._lines(fd, wanted.line)
            finally:
                os.close(fd)
            if lines:
                return Found(facts(entry, found), lines)
        return None

    def _lines(self, fd: int, wanted: Fits) -> list[FoundIn]:
        if b"\0" in os.pread(fd, _HEAD_BYTES, 0):
            self.skipped += 1
            return []
        self.searched += 1
        lines: list[FoundIn] = []
        before: deque[str] = deque(maxlen=self._wanted.context)
        waiting: list[tuple[int, list[str]]] = []
        with os.fdopen(os.dup(fd), "rb") as source:
            number = 0
            while raw := source.readline(_LINE_BYTES):
                number += 1
                if number % 1000 == 0:
                    self._check()
                text = raw.rstrip(b"\r\n").decode("utf-8", "replace")
                for last, following in waiting:
                    if number <= last:
                        following.append(text)
                waiting = [one for one in waiting if number < one[0]]
                if self.truncated and not waiting:
                    break
                if not self.truncated and wanted(text):
                    if self._count == self._wanted.limit:
                        self.truncated = True
                        if not waiting:
                            break
                    else:
                        self._count += 1
                        after: list[str] = []
                        lines.append(FoundIn(number, text, list(before), after))
                        if self._wanted.context:
                            waiting.append((number + self._wanted.context, after))
                before.append(text)
        return lines

    @staticmethod
    def _rules(here: Place) -> IgnoreRules:
        try:
            fd = here.below(here.dir_fd, ".gitignore").open_file()
        except PtybridgeError:
            return IgnoreRules("")
        try:
            return IgnoreRules(os.pread(fd, _IGNORE_BYTES, 0).decode("utf-8", "replace"))
        finally:
            os.close(fd)


def _ignored(rules: list[tuple[str, IgnoreRules]], path: str, directory: bool) -> bool:
    """Tell by the rules of all directories above; those nearer to the entry are stronger."""
    for above, one in reversed(rules):
        verdict = one.verdict(readable_name(path.removeprefix(above))[0], directory=directory)
        if verdict is not None:
            return verdict
    return False
