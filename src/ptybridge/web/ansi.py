"""Output for simple clients: text with colours, or text alone; everything else a terminal would act on is taken out.

How it works: a state machine over the classes of ECMA-48 and xterm's control sequences, fed with pieces of any size.
A sequence that is cut between two pieces is one sequence, and what is unfinished is held back, never shown.
Colours are SGR (ECMA-48 8.3.117) with plain parameters; xterm's private variants such as `CSI > 4 m` are none.
"""

import enum
import re
from typing import Final, Literal

Ansi = Literal["colour", "raw", "none"]

# Longer parameters are no colour: they are skipped, so what is held back is bounded.
MAX_PARAMETERS: Final = 256

# Tabs and line breaks stay; other controls (C0, DEL, C1) begin a sequence or go.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PARAMETERS: Final = re.compile("[ -?]*")
_COLOUR: Final = re.compile("[0-9;:]*")
# Strings end by ST or BEL; CAN, SUB and any escape break them off, and so does a line break: a string that has lost
# its end must not swallow what follows.
_STRING_END: Final = re.compile("[\x07\x18\x1a\x1b\x9c\r\n]")
_STRINGS_7: Final = "]PX^_"
_STRINGS_8: Final = "\x90\x98\x9d\x9e\x9f"
_KEPT: Final = "\t\r\n"


class _State(enum.Enum):
    TEXT = enum.auto()
    ESCAPE = enum.auto()
    CSI = enum.auto()
    STRING = enum.auto()


class Filter:
    """One stream's filter: "colour" keeps SGR, "none" nothing, "raw" lets everything pass."""

    def __init__(self, ansi: Ansi) -> None:
        self._ansi = ansi
        self._state = _State.TEXT
        self._parameters = ""

    def feed(self, text: str) -> str:
        """Return what is left of `text`."""
        if self._ansi == "raw":
            return text
        kept: list[str] = []
        at = 0
        while at < len(text):
            match self._state:
                case _State.TEXT:
                    at = self._text(text, at, kept)
                case _State.ESCAPE:
                    at = self._escape(text, at, kept)
                case _State.CSI:
                    at = self._csi(text, at, kept)
                case _State.STRING:
                    at = self._string(text, at, kept)
        return "".join(kept)

    def _text(self, text: str, at: int, kept: list[str]) -> int:
        found = _CONTROL.search(text, at)
        if found is None:
            kept.append(text[at:])
            return len(text)
        kept.append(text[at : found.start()])
        self._begin(found[0])
        return found.end()

    def _begin(self, control: str) -> None:
        """Go where a control character leads."""
        if control == "\x1b":
            self._state = _State.ESCAPE
        elif control == "\x9b":
            self._state, self._parameters = _State.CSI, ""
        elif control in _STRINGS_8:
            self._state = _State.STRING
        else:
            self._state = _State.TEXT

    def _escape(self, text: str, at: int, kept: list[str]) -> int:
        char = text[at]
        if char == "[":
            self._state, self._parameters = _State.CSI, ""
        elif char in _STRINGS_7:
            self._state = _State.STRING
        elif char in _KEPT:
            kept.append(char)  # a terminal acts on it in the middle of the sequence
        elif char < " " or "\x7f" <= char <= "\x9f":
            self._begin(char)
        elif char > "\x9f":
            self._state = _State.TEXT
            return at  # no sequence goes on like this
        elif char > "/":
            self._state = _State.TEXT  # the final character, as in `ESC ( B` and `ESC =`
        return at + 1

    def _csi(self, text: str, at: int, kept: list[str]) -> int:
        found = _PARAMETERS.match(text, at)
        assert found is not None  # it matches nothing, too
        if len(self._parameters) <= MAX_PARAMETERS:
            self._parameters += found[0][: MAX_PARAMETERS + 1]
        at = found.end()
        if at == len(text):
            return at
        char = text[at]
        if "@" <= char <= "~":
            if char == "m" and self._ansi == "colour" and self._is_colour():
                kept.append(f"\x1b[{self._parameters}m")
            self._state = _State.TEXT
        elif char in _KEPT:
            kept.append(char)
        elif char < " " or "\x7f" <= char <= "\x9f":
            self._begin(char)
        else:
            self._state = _State.TEXT
            return at
        return at + 1

    def _is_colour(self) -> bool:
        return len(self._parameters) <= MAX_PARAMETERS and _COLOUR.fullmatch(self._parameters) is not None

    def _string(self, text: str, at: int, kept: list[str]) -> int:
        found = _STRING_END.search(text, at)
        if found is None:
            return len(text)
        if found[0] in _KEPT:
            kept.append(found[0])
        self._begin(found[0])
        return found.end()
