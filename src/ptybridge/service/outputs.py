"""Output of a command as an answer has it: collected while it comes, cleaned, its middle left out when it is long."""

import re
from typing import Final

from ptybridge.api import command as api
from ptybridge.core.cleantext import Cleaner, HeadTail

# zsh shows with "%" and a line full of blanks that output had no line end, before any hook of ours runs:
# PROMPT_SP in zshoptions(1). fish does alike.
_PROMPT_SP: Final = re.compile(rb"(?:\x1b[\[(][0-9;]*[mB])*[%#\xe2\x8f\x8e]{1,3}(?:\x1b[\[(][0-9;]*[mB])* +\r \r\Z")
_HELD: Final = 512


class Collector:
    """Takes a command's output in pieces; memory stays bounded however much there is."""

    def __init__(self, limit: int, *, cleaned: bool, cols: int) -> None:
        self._kept = HeadTail(limit)
        self._cleaner = Cleaner() if cleaned else None
        self._held = b""
        self._hold = cols + _HELD

    def feed(self, data: bytes) -> None:
        """Add raw output."""
        data = self._held + data
        self._held = data[-self._hold :]
        self._take(data[: -self._hold])

    def _take(self, data: bytes) -> None:
        if self._cleaner is not None:
            text = self._cleaner.feed(data)
            if text:
                self._kept.add(text.encode("utf-8", "replace"))
        else:
            self._kept.add(data)

    def result(self, *, ended: bool) -> tuple[str, api.Truncated | None]:
        """Return the text and what was left out of it. `ended`: the command is over, and the shell's signs follow."""
        held, self._held = self._held, b""
        self._take(_PROMPT_SP.sub(b"", held) if ended else held)
        if self._cleaner is not None:
            self._kept.add(self._cleaner.finish().encode("utf-8", "replace"))
        head, tail, cut = self._kept.result()
        text = head.decode("utf-8", "replace")
        if cut is None:
            return text, None
        between = f"\n[… {cut.omitted_bytes} bytes left out …]\n"
        return text + between + tail.decode("utf-8", "replace"), api.Truncated(
            head_bytes=cut.head_bytes, tail_bytes=cut.tail_bytes, omitted_bytes=cut.omitted_bytes
        )
