"""Durations: float seconds in Python, integer milliseconds on the wire."""

import math
from typing import overload

from msgspec import UnsetType

from ptybridge.errors import InvalidParams


@overload
def milliseconds(seconds: float) -> int: ...
@overload
def milliseconds(seconds: float | None) -> int | None: ...
@overload
def milliseconds(seconds: float | UnsetType | None) -> int | UnsetType | None: ...
def milliseconds(seconds: float | UnsetType | None) -> int | UnsetType | None:
    """Return a duration as it goes over the wire; what is not set stays so. Raises `InvalidParams`."""
    if seconds is None or isinstance(seconds, UnsetType):
        return seconds
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidParams(f"{seconds} is no duration in seconds", hint="None means without end")
    return math.ceil(seconds * 1000)
