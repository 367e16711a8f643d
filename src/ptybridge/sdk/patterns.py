"""What `expect` waits for, and what it returns."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from ptybridge.errors import InvalidParams


class Ending(Enum):
    """What can stand among patterns to be an answer instead of an error."""

    EXITED = "exited"
    TIMEOUT = "timeout"


EXITED: Final = Ending.EXITED
TIMEOUT: Final = Ending.TIMEOUT

Pattern = str | re.Pattern[str]
Expected = Pattern | Ending | Sequence[Pattern | Ending]
# Python's flags that RE2 has as well, and what it calls them.
_FLAGS: Final = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"))


class Match(msgspec.Struct, frozen=True):
    """What was seen. `index` counts in what was expected; `before` came ahead of the match, `after` is the match.

    `groups` are those of a regular expression, as Python's `re` finds them in the match. `missed_bytes` were
    discarded before they could be looked at.
    """

    index: int
    pattern: Pattern | Ending
    before: str
    after: str
    groups: tuple[str | None, ...] = ()
    missed_bytes: int = 0


class Wanted:
    """A list of what is expected, as `session.read_until` takes it."""

    def __init__(self, expected: Expected) -> None:
        single = isinstance(expected, str | re.Pattern | Ending)
        self.choices: list[Pattern | Ending] = [expected] if single else list(expected)  # type: ignore[list-item,arg-type]
        patterns = [one for one in self.choices if not isinstance(one, Ending)]
        if not self.choices or any(one == "" for one in patterns):
            raise InvalidParams("nothing to expect", hint="give a text, a compiled pattern, or a list of them")
        self.regex = any(isinstance(one, re.Pattern) for one in patterns)
        self.texts = [self._text(one) for one in patterns]

    def _text(self, pattern: Pattern) -> str:
        if isinstance(pattern, str):
            return re.escape(pattern) if self.regex else pattern
        flags = "".join(letter for flag, letter in _FLAGS if pattern.flags & flag)
        return f"(?{flags}){pattern.pattern}" if flags else pattern.pattern

    def matched(self, text: str | None, match: str, data: str, missed_bytes: int) -> Match:
        """Return the match of the pattern whose text is `text`, at the end of `data`."""
        at = self.texts.index(text) if text in self.texts else 0
        index = [number for number, one in enumerate(self.choices) if not isinstance(one, Ending)][at]
        pattern = self.choices[index]
        groups: tuple[str | None, ...] = ()
        if isinstance(pattern, re.Pattern) and (found := pattern.search(match)):
            groups = found.groups()
        before = data[: len(data) - len(match)] if match and data.endswith(match) else data
        return Match(index, pattern, before, match, groups, missed_bytes)

    def ended(self, ending: Ending, before: str, missed_bytes: int) -> Match | None:
        """Return the answer for an ending that was expected, None if it was not."""
        if ending not in self.choices:
            return None
        return Match(self.choices.index(ending), ending, before, "", (), missed_bytes)


# -- pieces of output -----------------------------------------------------------------------------------------


class Chunk(str):
    """A piece of output: a text that knows its place in the transcript.

    `offset` and `next_offset` are where it begins and ends; `missed_bytes` before it were discarded; `stream` tells
    stdout from stderr in sessions behind pipes; `lossy`: bytes that are not UTF-8 were replaced.
    """

    __slots__ = ("lossy", "missed_bytes", "next_offset", "offset", "stream")

    offset: int
    next_offset: int
    missed_bytes: int
    stream: str | None
    lossy: bool
