"""What msgspec finds wrong with a value, in words for whoever wrote the value."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

_KINDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "bytes": "bytes",
    "null": "null",
}
_UNITS: Final = {"str": ("character", "characters"), "bytes": ("byte", "bytes")}
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
# Not compiled, because this lies on the path of every command, and there is rarely a mistake.
_UNKNOWN: Final = r"(?s)Object contains unknown field `(.*)`"
_MISSING: Final = r"(?s)Object missing required field `(.*)`"
_LENGTH: Final = r"Expected `(\w+)` of length (>=|<=) (\d+)"
_RANGE: Final = r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)"
_KIND: Final = r"Expected `([\w |]+)`, got `(\w+)`"


def told(exc: msgspec.ValidationError, known: Iterable[str] = (), noun: str = "parameter") -> str:
    """Say it with its place: "tags[0] must have at least 1 character", "there is no parameter 'col' (did you mean …)".

    `noun` is what a field is to the reader, and `known` are the fields that there are.
    """
    text, place = divided(exc)
    message = plain(exc, noun)
    if not place:
        unknown = re.fullmatch(_UNKNOWN, text)
        return message + near(unknown[1], known) if unknown else message
    if is_of_names(exc):
        return f"{message} in {place}"
    return f"{place} {message}" if message.startswith("must ") else f"{place}: {message}"


def misread(exc: Exception, noun: str = "member", whole: str = "it") -> str:
    """Say why JSON was not understood: as `told`, or in the decoder's words where it is no JSON at all.

    `whole` is what is read: "a message must be an object, not a list".
    """
    if not isinstance(exc, msgspec.ValidationError):
        return str(exc)
    words = told(exc, noun=noun)
    return f"{whole} {words}" if words.startswith("must ") else words


def plain(exc: msgspec.ValidationError, noun: str = "setting") -> str:
    """Say what is wrong with the value, without its place: "must be at least 1"."""
    text, _ = divided(exc)
    if found := re.fullmatch(_UNKNOWN, text):
        return f"there is no {noun} {found[1]!r}"
    if found := re.fullmatch(_MISSING, text):
        return f"the {noun} {found[1]!r} is missing"
    if found := re.fullmatch(_LENGTH, text):
        one, many = _UNITS.get(found[1], ("item", "items"))
        return f"must have {_BOUNDS[found[2]]} {found[3]} {one if found[3] == '1' else many}"
    if found := re.fullmatch(_RANGE, text):
        return f"must be {_BOUNDS[found[1]]} {found[2].removesuffix('.0')}"
    if found := re.fullmatch(_KIND, text):
        wanted = [_KINDS.get(kind, kind) for kind in found[1].split(" | ")]
        return f"must be {' or '.join(wanted)}, not {_KINDS.get(found[2], found[2])}"
    if text.startswith("Invalid enum value "):
        return f"there is no such choice: {text.removeprefix('Invalid enum value ')}"
    return text[:1].lower() + text[1:]


def is_of_names(exc: msgspec.ValidationError) -> bool:
    """Tell whether a field is missing or unknown, so that it helps to know which there are."""
    text, _ = divided(exc)
    return bool(re.fullmatch(_UNKNOWN, text) or re.fullmatch(_MISSING, text))


def divided(exc: msgspec.ValidationError) -> tuple[str, str]:
    """Return msgspec's message and its place, "" at the top."""
    found = re.fullmatch(r"(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?", str(exc), re.DOTALL)
    assert found is not None
    return found[1], found[2] or ""


def near(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)" for a misspelt word, or nothing."""
    from difflib import get_close_matches  # only on the way to an error

    found = get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
