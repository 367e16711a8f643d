"""What of a session's output may go to a terminal that is not attached to it.

How it works: printed as it is, old output would act on the reader's terminal: a query in it is answered into the
shell that reads the command line next (xterm's CVE-2022-45063 was that), a title or the clipboard is set, the
alternate screen stays on. So colours, text, and what moves the cursor within a line go through, and every other
sequence is left out. A pipe or a file gets the bytes untouched, or on request no sequences at all.
"""

import re
import sys
from typing import Final

# Whole sequences: SGR (kept), CSI, strings up to BEL or ST, escapes with intermediates, other escapes; then single
# controls but BS, HT, LF, CR; C1 controls in UTF-8; and the ESC of what is no sequence, so that none but SGR's stays.
# A character of several bytes ends no sequence: without its first byte the others would be none, and where the pieces
# are cut would decide which of them are left.
_SEQUENCES: Final = re.compile(
    rb"(?P<keep>\x1b\[[0-9;:]*m)"
    rb"|\x1b\[[0-?]*[ -/]*[@-~]"
    rb"|\x1b[\]PX^_k][^\x07\x1b\x18\x1a]*(?:\x07|\x1b\\|[\x18\x1a])"
    rb"|\x1b[ -/]+[0-~]"
    rb"|\x1b[^\[\]PX^_k \x1b\x80-\xff]"
    rb"|[\x00-\x07\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f]"
    rb"|\xc2[\x80-\x9f]"
    rb"|\x1b"
)
# A sequence (or half a C1 control) that the next piece may complete; bounded, so that a string without end does not
# keep everything that follows.
_UNFINISHED: Final = re.compile(rb"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_k][^\x07\x1b\x18\x1a]*\x1b?|[ -/]*)|\xc2)\Z")
# Several CR are as good as one, and none is needed before LF: programs that print CR LF make most terminals CR CR LF.
_RETURNS: Final = re.compile(rb"\r+(\n?)")
_LONGEST_SEQUENCE: Final = 64 * 1024
RESET_COLOURS: Final = b"\x1b[0m"


class TerminalFilter:
    """Takes the output of a session in pieces, cut anywhere. `plain`: without colours, and no CR before LF."""

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data` may be shown."""
        data = self._held + data
        self._held = b""
        unfinished = _UNFINISHED.search(data, max(0, len(data) - _LONGEST_SEQUENCE))
        if unfinished:
            self._held, data = data[unfinished.start() :], data[: unfinished.start()]
        if not self._plain:
            return _SEQUENCES.sub(lambda found: found["keep"] or b"", data)
        text = _RETURNS.sub(lambda found: found[1] or b"\r", _SEQUENCES.sub(b"", data))
        if text.endswith(b"\r"):  # of a line's end, perhaps
            text, self._held = text[:-1], b"\r" + self._held
        return text


class Output:
    """Standard output for the bytes of a session.

    They are filtered on a terminal unless `raw`, everywhere if `plain`, and else as they are.
    """

    def __init__(self, *, raw: bool = False, plain: bool = False) -> None:
        self._coloured = sys.stdout.isatty() and not raw and not plain
        self._filter = TerminalFilter(plain=plain) if plain or self._coloured else None

    def write(self, data: bytes) -> None:
        """Write, at once."""
        sys.stdout.buffer.write(self._filter.feed(data) if self._filter else data)
        sys.stdout.buffer.flush()

    def finish(self) -> None:
        """End with the colours that were there before."""
        if self._coloured:
            sys.stdout.buffer.write(RESET_COLOURS)
            sys.stdout.buffer.flush()
