"""Names of keys, as people and other tools write them: `ctrl-c`, `C-c`, `^C`, `shift+f5`, `M-Left`, `PageUp`, `é`."""

import re
import unicodedata
from typing import Final

import msgspec

from ptybridge.errors import InvalidParams

# The bits of a modifier parameter less one, the same for xterm and kitty.
SHIFT: Final = 1
ALT: Final = 2
CTRL: Final = 4
SUPER: Final = 8

_MODIFIERS: Final = {
    "ctrl": CTRL, "control": CTRL, "c": CTRL,
    "alt": ALT, "meta": ALT, "option": ALT, "opt": ALT, "m": ALT,
    "shift": SHIFT, "s": SHIFT,
    "super": SUPER, "cmd": SUPER, "command": SUPER, "win": SUPER,
}  # fmt: skip
# The key itself may be a dash or a plus: `ctrl--`. So something has to follow the separator.
_MODIFIER: Final = re.compile(f"({'|'.join(_MODIFIERS)})[-+](?=.)", re.IGNORECASE | re.DOTALL)

# Everything but characters, by its one proper name. Aliases are tmux's, curses' and what people try.
NAMES: Final = frozenset(
    ["up", "down", "left", "right", "home", "end", "insert", "delete", "pageup", "pagedown", "enter", "tab", "escape"]
    + ["backspace", "space", "kpenter", "kpplus", "kpminus", "kpmultiply", "kpdivide", "kpdecimal", "kpequal"]
    + [f"f{number}" for number in range(1, 25)]
    + [f"kp{number}" for number in range(10)]
)
_ALIASES: Final = {
    "return": "enter", "cr": "enter", "esc": "escape", "bs": "backspace", "bspace": "backspace", "spc": "space",
    "del": "delete", "dc": "delete", "ins": "insert", "ic": "insert",
    "pgup": "pageup", "ppage": "pageup", "prior": "pageup", "pgdn": "pagedown", "pgdown": "pagedown",
    "npage": "pagedown", "next": "pagedown", "arrowup": "up", "arrowdown": "down", "arrowleft": "left",
    "arrowright": "right", "uparrow": "up", "downarrow": "down", "leftarrow": "left", "rightarrow": "right",
    "kp+": "kpplus", "kpadd": "kpplus", "kp-": "kpminus", "kpsubtract": "kpminus", "kp*": "kpmultiply",
    "kp/": "kpdivide", "kp.": "kpdecimal", "kp=": "kpequal",
}  # fmt: skip
_BACK_TAB: Final = frozenset(["btab", "backtab"])
# Besides a base character these may be part of what a reader takes for one.
_COMBINING: Final = frozenset(["Mn", "Mc", "Me", "Sk"])
_JOINER: Final = "\u200d"


class Key(msgspec.Struct, frozen=True):
    """A key with its modifiers (the sum of `SHIFT` …). `name` is one of `NAMES`, or the character on the key."""

    name: str
    modifiers: int = 0


def parse_key(text: str) -> Key:
    """Return the key that `text` names. Upper and lower case are alike, except for a character without modifiers.

    Raises InvalidParams, with names that look similar, if there is no such key.
    """
    modifiers, rest = 0, text
    while (prefix := _MODIFIER.match(rest)) is not None:
        modifiers |= _MODIFIERS[prefix[1].lower()]
        rest = rest[prefix.end() :]
    if not modifiers and len(rest) == 2 and rest[0] == "^":
        modifiers, rest = CTRL, rest[1]
    if _is_character(rest):
        if rest == " ":
            return Key("space", modifiers)
        # Ctrl-C is Ctrl and the key C; without Ctrl or Super, `A` asks for a capital letter.
        return Key(rest.lower() if modifiers & (CTRL | SUPER) else rest, modifiers)
    lower = rest.lower()
    for name in (lower, re.sub("[-_ ]", "", lower)):
        if name in _BACK_TAB:
            return Key("tab", modifiers | SHIFT)
        name = _ALIASES.get(name, name)
        if name in NAMES:
            return Key(name, modifiers)
    raise InvalidParams(f"there is no key {text!r:.60}", hint=_advice(lower))


def _is_character(text: str) -> bool:
    """Whether `text` is what a reader takes for one character: a code point with combining marks or joined others."""
    if len(text) <= 1:
        return text != "" and unicodedata.category(text) != "Cs"
    if text[0].isascii() and text[0].isalnum() and text[1].isascii():
        return False
    joined = False
    for char in text[1:]:
        if not joined and char != _JOINER and unicodedata.category(char) not in _COMBINING:
            return False
        joined = char == _JOINER
    return not joined


def _advice(name: str) -> str:
    from difflib import get_close_matches  # only for mistakes, and it takes its time to import

    near = get_close_matches(name, sorted(NAMES | set(_ALIASES)), n=4, cutoff=0.5)
    known = f"did you mean {' or '.join(near)}?" if near else "known are enter, tab, esc, up, pageup, f1 … f24, kp0 …"
    return f"{known} Text is for `session.write`; modifiers are ctrl-, alt-, shift- and super-"
