"""The keyboard of an attachment: what is for us (the prefix and the key behind it), and what is for the child."""

import copy
import enum
import re
from typing import Final

from ptybridge.wire.keys import DetachScanner, parse_prefix

DEFAULT_PREFIX: Final = "ctrl-\\"
# An unfinished escape sequence goes out after this long: it was the Escape key.
HELD_SECONDS: Final = 0.05

# Control sequences, strings (answers to DCS and OSC queries) and SS3 keys.
_REPORT: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[P\]][^\x07\x1b]*(?:\x07|\x1b\\)|O.)")


class Command(enum.Enum):
    """What a key behind the prefix asks for."""

    DETACH = "detach"
    SUSPEND = "suspend"
    HELP = "help"
    REDRAW = "redraw"
    TAKE = "take"


class Keyboard:
    """Sorts what is typed. While `muted` nothing goes to the child. Raises InvalidParams for a bad `prefix`."""

    def __init__(self, prefix: str | None, *, muted: bool) -> None:
        self._prefix = parse_prefix(prefix or "none")
        self._scanner = DetachScanner(self._prefix)
        self.muted = muted
        self._refused = False

    @property
    def held(self) -> bool:
        """Whether a part of an escape sequence waits for the rest, or for `release`."""
        return self._scanner.pending

    def feed(self, data: bytes) -> tuple[bytes, Command | None]:
        """Return what is for the child, up to the first command, and that. What follows a command is dropped."""
        before = copy.copy(self._scanner)
        forward, actions = self._scanner.feed(data)
        if all(action == "literal" for action in actions):
            return forward, None
        # The scanner tells what to forward and what was asked for, but not in which order: look closely. What stands
        # behind "detach" was meant for the user's own shell and must not run in the session.
        self._scanner = before
        forward = b""
        for at in range(len(data)):
            some, actions = self._scanner.feed(data[at : at + 1])
            forward += some
            if actions and actions[0] != "literal":
                return forward, Command(actions[0])
        return forward, None

    def behind_prefix(self, data: bytes) -> bytes:
        """Return what was typed without the prefix before it."""
        return data.removeprefix(self._prefix)

    def release(self, final: bool = False) -> bytes:
        """Return what was held, because nothing has followed."""
        return self._scanner.flush(final)

    def is_typed(self, data: bytes) -> bool:
        """Whether somebody typed this, as far as one can tell: a terminal's own reports do not count."""
        return bool(_REPORT.sub(b"", data))

    def first_refusal(self, data: bytes) -> bool:
        """Whether this is the first key a viewer presses. What may be a terminal's own report does not count."""
        if self._refused or not self.is_typed(data):
            return False
        self._refused = True
        return True


def help_lines(prefix: str) -> list[str]:
    """Return what the prefix can do, as lines of equal length."""
    key = prefix_label(prefix)
    actions = {
        "d": "detach; the session goes on",
        "z": "suspend this client (fg comes back)",
        "r": "draw the screen anew",
        "t": "take the lease: only you can type; again: give it back",
        "\\": "type the prefix itself (so does the prefix again)",
        "?": "this help",
    }
    lines = [f"{key}, then"]
    lines += [f"  {name:{len(key)}}  {action}" for name, action in actions.items()]
    lines.append("Any other key goes back.")
    width = max(map(len, lines))
    return [line.ljust(width) for line in lines]


def prefix_label(prefix: str) -> str:
    r"""Return the prefix as people write it: Ctrl-\."""
    return "-".join(part.capitalize() for part in prefix.split("-", 1))
