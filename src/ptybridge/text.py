"""Strings that others choose, made safe to print: a session's name, title or command may hold anything (S24)."""

import re
from typing import Final

# Marks that reorder or hide what follows: Unicode's Bidi_Control property, and the tag characters U+E0000 …, which
# no terminal shows but a language model reads.
_HIDDEN: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f"
# Line breaks and tabs within a title stand between words.
BREAKS: Final = re.compile("[\t-\r\x85\u2028\u2029]+")
UNPRINTABLE: Final = re.compile(f"[\x00-\x1f\x7f-\x9f{_HIDDEN}\ufeff\ufff9-\ufffb\ud800-\udfff]")


def printable(text: str, limit: int = 512) -> str:
    """Return `text` as one line of at most `limit` ≥ 1 characters that cannot steer a terminal or mislead a reader.

    For titles, names, directories and everything else that strangers choose and we list or log. Line breaks
    and tabs become spaces, other control, bidirectional and hidden characters go; what is too long ends in "…".
    """
    if not text.isprintable():
        text = UNPRINTABLE.sub("", BREAKS.sub(" ", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"
