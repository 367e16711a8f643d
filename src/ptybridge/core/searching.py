"""Searching a transcript as a person would read it: clean lines, each with its offsets and its number.

How it works: the bytes are cut at line feeds and each line is cleaned on its own, so that a progress bar is its last
state; then the pattern runs over the text with RE2, whose time is linear. For a worker thread when there is much.
"""

from collections.abc import Callable

import msgspec

from ptybridge.core.cleantext import clean
from ptybridge.core.matching import finder


class FoundLine(msgspec.Struct, frozen=True):
    """A line that matches, as it reads; `number` counts from 1, the offsets are the transcript's."""

    number: int
    offset: int
    end: int
    text: str
    before: list[str]
    after: list[str]


class SearchResult(msgspec.Struct, frozen=True):
    """What was found, whether there is more, and the offset to go on from."""

    lines: list[FoundLine]
    more: bool
    next_offset: int


def predicate(pattern: str, *, regex: bool, ignore_case: bool) -> Callable[[str], bool]:
    """Return what tells whether a line matches. Raises `InvalidParams` for a bad expression."""
    return finder(pattern, regex=regex, ignore_case=ignore_case)


def search(
    data: bytes,
    start: int,
    wanted: Callable[[str], bool],
    *,
    context: int,
    limit: int,
    begin: int,
    backward: bool,
) -> SearchResult:
    """Search `data`, which begins at offset `start`, for at most `limit` lines, from offset `begin` on, or back."""
    raw = data.split(b"\n")
    if raw and not raw[-1]:
        raw.pop()
    offsets = [start]
    for line in raw:
        offsets.append(offsets[-1] + len(line) + 1)
    offsets[-1] = min(offsets[-1], start + len(data))
    texts: dict[int, str] = {}

    def text(index: int) -> str:
        if index not in texts:
            texts[index] = clean(raw[index].removesuffix(b"\r"))
        return texts[index]

    if backward:
        order = [at for at in range(len(raw) - 1, -1, -1) if offsets[at] < begin]
    else:
        order = [at for at in range(len(raw)) if offsets[at + 1] > begin]
    found: list[FoundLine] = []
    more, following = False, begin
    for at in order:
        if not wanted(text(at)):
            if context == 0:
                texts.pop(at, None)
            continue
        if len(found) == limit:
            more = True
            break
        before = [text(one) for one in range(max(0, at - context), at)]
        after = [text(one) for one in range(at + 1, min(len(raw), at + 1 + context))]
        found.append(FoundLine(at + 1, offsets[at], offsets[at + 1], text(at), before, after))
        following = offsets[at] if backward else offsets[at + 1]
    if not more:
        following = start if backward else start + len(data)
    return SearchResult(found, more, following)
