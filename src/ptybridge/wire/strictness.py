"""What a JSON parser lets pass and a server should not: invalid UTF-8, deep nesting, keys given twice.

How it works: msgspec already refuses NaN, infinities and malformed text. The checks here run on the raw line at
the speed of `bytes.count`, and look closer only when that cannot rule trouble out.
"""

import json
from itertools import accumulate

from ptybridge.errors import InvalidRequest, ParseError

MAX_NESTING = 64
# A real request holds a few dozen objects and arrays; a million of them is only good for keeping us busy.
MAX_CONTAINERS = 1_000_000

_OPEN = b"[{"
_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEP = {byte: 1 if byte in _OPEN else -1 for byte in _BRACKETS}
_ENVELOPE_KEYS = (b'"id"', b'"method"', b'"params"', b'"jsonrpc"')


def check_text(line: bytes) -> None:
    """Raise ParseError unless `line` is UTF-8 throughout: msgspec does not look inside what it keeps raw."""
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as exc:
            raise ParseError(f"invalid UTF-8 at byte {exc.start}") from exc


def check_nesting(line: bytes) -> None:
    """Raise InvalidRequest when containers are nested deeper than `MAX_NESTING`, or there are too many of them.

    In a line that is not valid JSON, exact up to the first mistake; a parser gets no further either.
    """
    if line.count(b"[") + line.count(b"{") <= MAX_NESTING:
        return
    # Without escaped backslashes and escaped quotes, every other piece between quotes is outside strings.
    outside = b"".join(line.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside.translate(None, _NOT_BRACKETS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise InvalidRequest(f"more than {MAX_CONTAINERS} objects and arrays")
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_NESTING:
        raise InvalidRequest(f"nested deeper than {MAX_NESTING} levels")


def check_duplicates(line: bytes, params: bytes) -> None:
    """Raise InvalidRequest when a key of the request `line` occurs twice: two readers could disagree on its meaning.

    `params` is the text of the parameters within the line, an object or empty. It is not searched: inside the
    parameters the last of two equal keys counts. The line must be a valid JSON object.
    """
    if b"\\u" not in line and all(line.count(key) <= 1 for key in _ENVELOPE_KEYS):
        return
    # Objects hold keys of their own, and may be long. (Should the same text stand elsewhere too, no key is lost by it.)
    if params:
        line = b"null".join(line.rsplit(params, 1))
    # The hook runs for inner objects first and for the envelope last, so what remains is about the envelope.
    keys = [key for key, _ in json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)]
    if len(keys) != len(set(keys)):
        raise InvalidRequest("a key occurs twice")
