"""From bytes and strangers' strings to text that is safe to show: UTF-8 cutting, printable text, labels."""

import codecs
import re
from typing import Final

from ptybridge.errors import InvalidParams

MAX_LABEL_BYTES: Final = 200

# Marks that reorder or hide what follows: Unicode's Bidi_Control property, and the tag characters U+E0000 …, which
# no terminal shows but a language model reads.
_HIDDEN: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f"
# Line breaks and tabs within a title stand between words.
_BREAKS: Final = re.compile("[\t-\r\x85\u2028\u2029]+")
_UNPRINTABLE: Final = re.compile(f"[\x00-\x1f\x7f-\x9f{_HIDDEN}\ufeff\ufff9-\ufffb\ud800-\udfff]")


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


def printable(text: str, limit: int) -> str:
    """Return `text` as one line of at most `limit` ≥ 1 characters that cannot steer a terminal or mislead a reader.

    For titles, names, directories and everything else that strangers choose and we list or log. Line breaks
    and tabs become spaces, other control, bidirectional and hidden characters go; what is too long ends in "…".
    """
    text = _UNPRINTABLE.sub("", _BREAKS.sub(" ", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


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
    if _BREAKS.search(value) or _UNPRINTABLE.search(value):
        return "has characters that cannot be seen"
    if len(value.encode()) > MAX_LABEL_BYTES:
        return f"is longer than {MAX_LABEL_BYTES} bytes"
    return None
