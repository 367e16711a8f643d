"""Which hyperlinks (OSC 8) of a program are shown to whoever looks at its screen (S25).

Only addresses that a browser or mail program opens as a place to go to: others run something on the viewer's
machine or open its files. https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda has the protocol.
"""

import re
from typing import Final

# The protocol's own limit: longer ones are not followed by terminals either.
MAX_ADDRESS_BYTES: Final = 2083
# Control characters are none of an address (it is percent-encoded text, 32 to 126), nor is anything invisible.
_ALLOWED: Final = re.compile(rb"(?:https?://|ftp://|mailto:)[\x21-\x7e]+", re.IGNORECASE)


def allowed(address: bytes) -> bytes:
    """Return the address if it may be shown as a link, else b""."""
    return address if len(address) <= MAX_ADDRESS_BYTES and _ALLOWED.fullmatch(address) else b""


def allowed_opening(sequence: bytes) -> bytes:
    """Return the sequence that begins a link if its address is allowed, else b""."""
    found = re.fullmatch(rb"\x1b\]8;[^;]*;(.*?)(?:\x1b\\|\x07)", sequence, re.DOTALL)
    return sequence if found and allowed(found[1]) else b""
