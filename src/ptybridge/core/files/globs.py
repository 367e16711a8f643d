"""Patterns for names: globs, and the rules of `.gitignore` (gitignore(5)). Matched by RE2, in linear time."""

import re
from collections.abc import Callable

from ptybridge.core.matching import finder

Fits = Callable[[str], bool]


def glob(pattern: str, *, ignore_case: bool = False) -> Fits:
    """Return what tells whether a relative path fits: `*` and `?` stop at a slash, `**` does not.

    A pattern without a slash is for the name alone, wherever it lies.
    """
    expression = translate(pattern.lstrip("/"))
    anywhere = "" if "/" in pattern else "(?:.*/)?"
    return finder(rf"(?s)\A{anywhere}{expression}\z", regex=True, ignore_case=ignore_case)


def translate(pattern: str) -> str:
    """Return a glob as a regular expression, not anchored."""
    out = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern.startswith("*/", at) and (at == 1 or pattern[at - 2] == "/"):
                out.append("(?:.*/)?")
                at += 2
            elif pattern.startswith("*", at):
                out.append(".*")
                at += 1
            else:
                out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            inside = pattern[at:end]
            negated = inside.startswith(("!", "^"))
            body = inside[negated:].replace("\\", "\\\\").replace("[", "\\[").replace("&", "\\&")
            out.append(f"[{'^/' if negated else ''}{body}]")
            at = end + 1
        elif char == "\\" and at < len(pattern):
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


class IgnoreRules:
    """The rules of one `.gitignore`. The last rule that fits decides."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[Fits, bool, bool]] = []
        for raw in text.splitlines():
            line = raw.rstrip() if not raw.endswith("\\ ") else raw
            if not line or line.startswith("#"):
                continue
            negated = line.startswith("!")
            line = line[negated:]
            directory = line.endswith("/")
            line = line.rstrip("/")
            if line:
                self._rules.append((glob(line), negated, directory))

    def verdict(self, path: str, *, directory: bool) -> bool | None:
        """Tell of a path relative to the file's directory whether it is ignored; None when no rule speaks of it."""
        found: bool | None = None
        for fits, negated, only_directories in self._rules:
            if (directory or not only_directories) and fits(path):
                found = not negated
        return found
