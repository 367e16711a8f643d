"""Tells a terminal's answers to queries from what its user types, so that only one terminal answers a program.

How it works: input is text, whole control sequences, and control strings. Sequences are short, so each is held
until it is whole and then judged. A string (OSC, DCS, APC) may be a clipboard of megabytes, so it is judged by its
beginning and then passed or dropped as it comes. Keys look similar: Alt with `]`, `P` or `_` sends the beginning of a
string, and Escape that of everything. So what is unfinished is held only until `flush`, which the caller
calls when nothing has followed for some 50 ms; terminals send a sequence in one piece, people cannot.

Sources: xterm's ctlseqs (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html) for DA, DSR, CPR, DECRPM, window
and colour reports, XTGETTCAP, DECRQSS, XTVERSION; kitty's keyboard and graphics protocols
(https://sw.kovidgoyal.net/kitty/) for `CSI ? u` and `APC G`; contour's for colour schemes (`CSI ? 997 ; n n`).
"""

import re
from typing import Final

# Longer control sequences are neither keys nor replies; mouse reports and key events stay below 40 bytes.
MAX_SEQUENCE_BYTES: Final = 256

_SEQUENCE: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
# OSC of any number; DCS with an intermediate or a private mark, as in `1$r`, `1+r`, `>|`, `!|`; APC of kitty's images.
_STRING: Final = re.compile(
    rb"\x1b(?:\][0-9]{1,5};|P[0-9:;]*[ -/]+[@-~]|P[<=>?][0-?]*[ -/]*[@-~]|_G[A-Za-z]=)",
)
_UNFINISHED: Final = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*|\][0-9]{0,5}|P(?:[0-9:;]*[ -/]*|[<=>?][0-?]*[ -/]*)|_(?:G[A-Za-z]?)?)?\Z",
)
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")

_PASTE_BEGIN: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"


class ReplyFilter:
    """Filters the input of one attachment. Keys, mouse reports, focus reports and pastes pass unchanged, in order."""

    def __init__(self) -> None:
        # The unfinished sequence, and how much of it went through already because replies were allowed then.
        self._open = b""
        self._given = 0
        # Whether the string we are in the middle of passes; None outside of strings.
        self._passing: bool | None = None
        self._in_paste = False

    @property
    def held(self) -> bytes:
        """What `flush` would return. If there is any, the caller sets its deadline."""
        return self._open[self._given :]

    def feed(self, data: bytes, allow: bool) -> bytes:
        """Return what may go to the child: with `allow` all of it and at once, without it all but replies.

        A string or sequence of which something went through already is passed to its end.
        """
        if not self._open and self._passing is None and b"\x1b" not in data:
            return data
        data = self._open + data
        given, self._open, self._given = self._given, b"", 0
        out: list[bytes] = []
        at = 0
        while at < len(data):
            stop, passes = self._next(data, at, allow or given > at)
            if passes:
                out.append(data[max(at, given) : stop])
            if stop == at:
                self._open, self._given = data[at:], max(given - at, 0)
                if allow and passes:
                    out.append(self.held)
                    self._given = len(self._open)
                break
            at = stop
        return b"".join(out)

    def flush(self) -> bytes:
        """Return what is held, because nothing has followed: it was the Escape key, or Alt with another."""
        held = self.held
        if self._open:
            self._passing = None
        self._open, self._given = b"", 0
        return held

    def _next(self, data: bytes, at: int, allow: bool) -> tuple[int, bool]:
        """Return where the piece at `data[at]` ends, and whether it passes. It ends at `at` if it is to be held."""
        if self._passing is not None:
            passing = self._passing
            control = _CONTROL.search(data, at)
            stop = control.start() if control else len(data)
            if stop > at or data[at:] == b"\x1b":
                return stop, passing
            # BEL and ST (ESC \) end a string. So does, without being part of it, any other control character: no
            # reply has one, and who is stuck in a reply that broke off gets the keyboard back with Enter or Control-C.
            self._passing = None
            if data[at] == 0x07:
                return at + 1, passing
            if data.startswith(b"\x1b\\", at):
                return at + 2, passing
        begin = data.find(b"\x1b", at)
        if begin != at:
            return begin if begin > at else len(data), True
        whole = _SEQUENCE.match(data, at)
        if whole is not None:
            if whole[0] in {_PASTE_BEGIN, _PASTE_END}:
                self._in_paste = whole[0] == _PASTE_BEGIN
            return whole.end(), allow or self._in_paste or not _is_reply(whole[0])
        string = None if self._in_paste else _STRING.match(data, at)
        if string is not None:
            self._passing = allow
            return string.end(), allow
        if len(data) - at <= MAX_SEQUENCE_BYTES and _UNFINISHED.match(data, at):
            return at, True
        # The Escape key, or Alt with another: what follows is text.
        return at + 1, True


def _is_reply(sequence: bytes) -> bool:
    """Return whether a whole control sequence (CSI …) is an answer, not a key or a mouse report."""
    parameters, final = sequence[2:-1], sequence[-1:]
    if parameters[:1] in {b"?", b">", b"="}:
        return True
    if final == b"R":
        return _is_cursor_position(parameters)
    if final == b"n":
        return True
    if final == b"t":
        # Window reports and in-band resize; without parameters it is the old highlight mouse tracking.
        return parameters != b""
    if final == b"y":
        return parameters.endswith(b"$") and b";" in parameters
    return False


def _is_cursor_position(parameters: bytes) -> bool:
    """Tell `CSI row ; column R` from F3, which xterm sends as `CSI 1 ; modifiers R` with modifiers 2 to 16.

    So a report of row 1, columns 2 to 16, counts as F3 and passes: losing a key is worse than a stray report.
    """
    numbers = parameters.split(b";")
    if len(numbers) < 2 or not all(map(bytes.isdigit, numbers)):
        return False
    return not (len(numbers) == 2 and int(numbers[0]) == 1 and 2 <= int(numbers[1]) <= 16)
