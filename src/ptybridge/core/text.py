"""From bytes to text: characters that reads have cut, escape sequences, and which strings may serve as labels."""

import codecs
import re
from typing import Final

from ptybridge.errors import InvalidParams
from ptybridge.text import BREAKS, UNPRINTABLE, printable

MAX_LABEL_BYTES: Final = 200


class Utf8Cutter:
    """Turns pieces of a byte log into text. Keeps nothing: who reads by offset moves on by `len(data) - held`."""

    @staticmethod
    def split(data: bytes, final: bool) -> tuple[str, int, bool]:
        """Return the text of `data`, how many bytes at its end were held back, and whether any byte was invalid.

        Held back is the unfinished beginning of a character, at most 3 bytes; with `final` nothing is. Invalid
        bytes become U+FFFD. Texts of consecutive pieces, each beginning with what was held back before, add up
        to the text of the whole, wherever it is cut.
        """
        try:
            text, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError:
            text, used = codecs.utf_8_decode(data, "replace", final)
            return text, len(data) - used, True
        return text, len(data) - used, False


# -- escape sequences ---------------------------------------------------------------------------------------

_GROUND, _ESCAPE, _INTERMEDIATE, _CSI, _STRING, _STRING_ESCAPE = range(6)

# What interrupts plain text, most frequent first. Whole sequences of the usual forms are matched here, because
# walking through the states costs five times as much; what `open` matches is left to the states.
_SPECIAL: Final = re.compile(
    rb"(?P<whole>\x1b\[[ -?]*[@-~]|\r(?=\n)|\x1b[ -/]+[0-~]|[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]+|\xc2[\x80-\x9f])"
    rb"|(?P<open>\x1b)|(?P<cut>[\r\xc2]\Z)"
)
_CSI_BODY: Final = re.compile(rb"[ -?]*")
_STRING_END: Final = re.compile(rb"[\x07\x18\x1a\x1b]")


class EscapeStripper:
    """Takes the escape sequences out of a terminal's output, cut anywhere, in linear time and constant memory.

    Out go CSI sequences, strings (OSC, DCS, SOS, PM, APC, and screen's title `ESC k`), charset selections and all
    other escapes as in ECMA-48 and Paul Williams' parser (https://vt100.net/emu/dec_ansi_parser); control characters
    except BS, HT, LF, VT, FF and CR; C1 controls in their UTF-8 form, the only one in use on UTF-8 terminals (and, as
    most emulators hold, no introducers there); and the CR of CR LF, because `$` and people expect lines to end in LF.
    A string that never ends swallows all that follows up to ESC, CAN or SUB, as it does on the screen.
    """

    def __init__(self) -> None:
        self._state = _GROUND
        self._bell_ends = False
        self._held = b""

    def feed(self, offset: int, data: bytes) -> list[tuple[int, bytes]]:
        """Return what remains of `data`, as (offset, run) pairs; its first byte stands at `offset`.

        A last CR or first byte of a C1 control is held back until the next call, which must continue at the offset
        where this one ends.
        """
        if self._held:
            offset, data = offset - len(self._held), self._held + data
            self._held = b""
        runs: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        while at < end:
            if self._state != _GROUND:
                at = self._step(data, at)
                continue
            special = _SPECIAL.search(data, at)
            stop = special.start() if special else end
            if stop > at:
                runs.append((offset + at, data[at:stop]))
            if special is None:
                break
            at = special.end()
            if special.lastgroup == "open":
                self._state = _ESCAPE
            elif special.lastgroup == "cut":
                self._held = special[0]
        return runs

    def flush(self) -> bytes:
        """Return what was held back, because nothing follows."""
        held, self._held = self._held, b""
        return held

    def _step(self, data: bytes, at: int) -> int:
        """Go on within a sequence at `data[at]`; return how far that led, at most to a byte that is no part of it."""
        if self._state == _CSI:
            body = _CSI_BODY.match(data, at)
            at = body.end() if body else at
        elif self._state == _STRING:
            found = _STRING_END.search(data, at)
            at = found.start() if found else len(data)
        if at == len(data):
            return at
        byte = data[at]
        if byte == 0x1B and self._state != _STRING_ESCAPE:
            self._state = _STRING_ESCAPE if self._state == _STRING else _ESCAPE
            return at + 1
        state, self._state = self._state, _GROUND
        if state == _STRING:
            if byte == 0x07 and not self._bell_ends:
                self._state = _STRING
            return at + 1
        if state == _STRING_ESCAPE and byte != 0x5C:
            # Not a string terminator: the string ends all the same, and its ESC begins another sequence.
            self._state = _ESCAPE
            return at
        if state == _ESCAPE and byte in b"[]PX^_k":
            self._state = _CSI if byte == 0x5B else _STRING
            self._bell_ends = byte == 0x5D
            return at + 1
        if state in {_ESCAPE, _INTERMEDIATE} and 0x20 <= byte <= 0x2F:
            self._state = _INTERMEDIATE
            return at + 1
        first_final = 0x40 if state == _CSI else 0x30
        return at + 1 if first_final <= byte <= 0x7E else at


def strip_escapes(data: bytes) -> bytes:
    """Return `data`, a terminal's output, without escape sequences; `EscapeStripper` says what counts as one."""
    stripper = EscapeStripper()
    return b"".join([run for _, run in stripper.feed(0, data)]) + stripper.flush()


# -- strings that others choose -----------------------------------------------------------------------------


def validate_label(value: str, what: str) -> str:
    """Return `value` if it can serve as a name, tag or owner; `what` is one of these words, for the message.

    Raises InvalidParams for what would be taken for an option or a path, or cannot be printed as it is.
    """
    problem = _problem(value)
    if problem is not None:
        raise InvalidParams(
            f"{what} {printable(value, 40)!r} {problem}",
            hint=f"use letters, digits, inner spaces and signs such as . _ - : @, at most {MAX_LABEL_BYTES} bytes",
        )
    return value


def _problem(value: str) -> str | None:
    if not value or value != value.strip():
        return "is empty or begins or ends with a space"
    if value.startswith("-"):
        return "begins with a dash and would be taken for an option"
    if "/" in value or value in {".", ".."}:
        return "would be taken for a path"
    if BREAKS.search(value) or UNPRINTABLE.search(value):
        return "has characters that cannot be seen"
    if len(value.encode()) > MAX_LABEL_BYTES:
        return f"is longer than {MAX_LABEL_BYTES} bytes"
    return None
