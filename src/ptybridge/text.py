"""Strings that others choose, made safe to print: a session's name, title or command may hold anything (S24)."""

import re
from typing import Final

# Marks that reorder or hide what follows: Unicode's Bidi_Control property, and the tag characters U+E0000 …, which
# no terminal shows but a language model reads.
_HIDDEN: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f"
# Line breaks and tabs within a title stand between words.
BREAKS: Final = re.compile("[\t-\r\x85\u2028\u2029]+")
UNPRINTABLE: Final = re.compile(f"[\x00-\x1f\x7f-\x9f{_HIDDEN}\ufeff\ufff9-\ufffb\ud800-\udfff]")


# Escape sequences of ECMA-48 and xterm: CSI, the strings (OSC, DCS, APC, PM, SOS) up to ST or BEL, and the short ones.
# A string that has lost its end must not swallow what follows, so it ends at the next escape or line break.
ESCAPES: Final = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\r\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]"
)
# As `UNPRINTABLE`, but tabs and line breaks stay, and what has no width goes too (not the joiners: emoji need them).
_NO_TEXT: Final = re.compile(
    f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}\u180e\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Return what a reader of `text`, a piece of a program's output, would make of it without a terminal.

    Escape sequences, control, bidirectional and hidden characters go, line breaks and tabs stay. Of a line that was
    overwritten from its start (a progress bar) only the last state is left.
    """
    if text.isprintable():
        return text
    lines = ESCAPES.sub("", text).split("\n")
    return _NO_TEXT.sub("", "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def printable(text: str, limit: int = 512) -> str:
    """Return `text` as one line of at most `limit` ≥ 1 characters that cannot steer a terminal or mislead a reader.

    For titles, names, directories and everything else that strangers choose and we list or log. Line breaks
    and tabs become spaces, other control, bidirectional and hidden characters go; what is too long ends in "…".
    """
    if not text.isprintable():
        text = UNPRINTABLE.sub("", BREAKS.sub(" ", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"
