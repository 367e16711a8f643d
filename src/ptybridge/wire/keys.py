"""Keys and pastes as the bytes a terminal would send for them, given the modes the program has set.

Sources: xterm's ctlseqs, "PC-Style Function Keys" and "VT220-Style Function Keys"
(https://invisible-island.net/xterm/ctlseqs/ctlseqs.html), and for everything else the keyboard protocol of kitty
(https://sw.kovidgoyal.net/kitty/keyboard-protocol/): its legacy part documents what all terminals do. What the
legacy encoding cannot tell apart is collapsed as xterm does: Ctrl-Shift-C is Ctrl-C, Shift-Enter is Enter.
"""

import re
from typing import Final

import msgspec

from ptybridge.errors import InvalidParams
from ptybridge.wire.detach import DetachScanner as DetachScanner
from ptybridge.wire.detach import parse_prefix as parse_prefix
from ptybridge.wire.keynames import ALT, CTRL, SHIFT, SUPER, Key, parse_key

# Flags of the kitty keyboard protocol, "Progressive enhancement". Event types (2) change nothing: we send presses.
DISAMBIGUATE: Final = 1
ALTERNATE_KEYS: Final = 4
ALL_KEYS: Final = 8
ASSOCIATED_TEXT: Final = 16

# CSI … letter; in application mode (and F1 to F4 always) SS3 letter, as long as no modifier needs a parameter.
_LETTERS: Final = {"up": "A", "down": "B", "right": "C", "left": "D", "end": "F", "home": "H"}
_PF_KEYS: Final = {"f1": "P", "f2": "Q", "f3": "R", "f4": "S"}
# CSI number ~
_NUMBERS: Final = {
    "insert": 2, "delete": 3, "pageup": 5, "pagedown": 6, "f5": 15, "f6": 17, "f7": 18, "f8": 19, "f9": 20, "f10": 21,
    "f11": 23, "f12": 24,
}  # fmt: skip
_VT220_NUMBERS: Final = {
    "f13": 25, "f14": 26, "f15": 28, "f16": 29, "f17": 31, "f18": 32, "f19": 33, "f20": 34,
}  # fmt: skip
# CSI number u
_CODES: Final = {"escape": 27, "enter": 13, "tab": 9, "backspace": 127, "space": 32, "kpenter": 57414}
_CODES.update({f"f{number}": 57376 + number - 13 for number in range(13, 25)})
_KEYPAD: Final = {
    **{f"kp{number}": (str(number), chr(ord("p") + number), 57399 + number) for number in range(10)},
    "kpdecimal": (".", "n", 57409), "kpdivide": ("/", "o", 57410), "kpmultiply": ("*", "j", 57411),
    "kpminus": ("-", "m", 57412), "kpplus": ("+", "k", 57413), "kpequal": ("=", "X", 57415),
}  # fmt: skip
# "Legacy ctrl mapping of ASCII keys"; other ASCII keys are left alone by Ctrl.
_CONTROLS: Final = {
    **{chr(code): code & 0x1F for code in range(ord("a"), ord("z") + 1)},
    " ": 0, "@": 0, "2": 0, "[": 27, "3": 27, "\\": 28, "4": 28, "]": 29, "5": 29, "^": 30, "~": 30, "6": 30,
    "_": 31, "/": 31, "7": 31, "?": 127, "8": 127,
}  # fmt: skip
# Both forms of CSI. What takes the place of its control character cannot be part of another mark.
_PASTE_END: Final = re.compile(rb"(?:\x1b(?=\[201~)|\xc2\x9b(?=201~))")


class KeyModes(msgspec.Struct, frozen=True):
    """What the program has asked of the terminal's keyboard: DECCKM, DECKPAM, mode 2004, kitty's flags, LNM."""

    application_cursor: bool = False
    application_keypad: bool = False
    bracketed_paste: bool = False
    kitty_flags: int = 0
    newline_mode: bool = False


def encode_key(name: str, modes: KeyModes) -> bytes:
    """Return what the terminal sends for a press of the key `name`. Raises InvalidParams for an unknown one.

    Also raises InvalidParams for a key with Super, unless the program has enabled kitty's protocol.
    """
    key = parse_key(name)
    if modes.kitty_flags & (DISAMBIGUATE | ALL_KEYS):
        return _encode_kitty(key, modes)
    if key.modifiers & SUPER:
        raise InvalidParams(f"the program cannot tell {name!r}", hint="Super needs kitty's keyboard protocol")
    return _encode_legacy(key, modes)


def encode_paste(text: bytes, modes: KeyModes) -> bytes:
    """Return what the terminal sends when `text` is pasted.

    To a program that knows pastes it is bracketed, and an end mark within, with which `text` could pass its rest off
    as typed, gets a visible ␛ for its control character. For others lines end in CR, as if typed.
    """
    if not modes.bracketed_paste:
        return text.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    return b"\x1b[200~" + _PASTE_END.sub("␛".encode(), text) + b"\x1b[201~"


# -- kitty --------------------------------------------------------------------------------------------------


def _encode_kitty(key: Key, modes: KeyModes) -> bytes:
    name, modifiers = key.name, key.modifiers
    all_keys = bool(modes.kitty_flags & ALL_KEYS)
    if name in _LETTERS:
        return _csi(1, modifiers, _LETTERS[name])
    # F3 is 13 ~, because CSI 1 ; 2 R could be a report of the cursor's position.
    if name in _PF_KEYS and name != "f3":
        return _csi(1, modifiers, _PF_KEYS[name])
    if name in _NUMBERS or name == "f3":
        return _csi(_NUMBERS.get(name, 13), modifiers, "~")
    if name in {"enter", "tab", "backspace"} and not modifiers and not all_keys:
        # "so that one can type `reset` after a program has crashed"
        return _encode_legacy(key, modes)
    if name in _CODES and name != "space":
        return _csi(_CODES[name], modifiers, "u")
    text = {"space": " "}.get(name) or _KEYPAD.get(name, (name,))[0]
    if not modifiers & ~SHIFT and (not all_keys or len(text) > 1):
        return _shifted(text, modifiers).encode()
    return _csi_text(name, text, modifiers, modes.kitty_flags)


def _csi_text(name: str, text: str, modifiers: int, flags: int) -> bytes:
    """CSI code : shifted ; modifiers ; text u. The code is that of the key without Shift."""
    base = text.lower() if len(text.lower()) == 1 else text[0]
    if base != text:
        modifiers |= SHIFT
    shifted = _shifted(base, SHIFT)
    code = str(_KEYPAD[name][2]) if name in _KEYPAD else str(ord(base))
    if flags & ALTERNATE_KEYS and modifiers & SHIFT and shifted != base and len(shifted) == 1:
        code += f":{ord(shifted)}"
    parameter = str(modifiers + 1) if modifiers else ""
    if flags & ALL_KEYS and flags & ASSOCIATED_TEXT and not modifiers & ~SHIFT:
        typed = _shifted(base, modifiers)
        return f"\x1b[{code};{parameter};{':'.join(str(ord(char)) for char in typed)}u".encode()
    return f"\x1b[{code}{';' if parameter else ''}{parameter}u".encode()


def _shifted(text: str, modifiers: int) -> str:
    """Return the text of a key with Shift: known for letters; for signs it depends on a layout that we do not have."""
    upper = text.upper()
    return upper if modifiers & SHIFT and len(upper) == len(text) else text


# -- legacy -------------------------------------------------------------------------------------------------


def _encode_legacy(key: Key, modes: KeyModes) -> bytes:
    name, modifiers = key.name, key.modifiers
    if name in _LETTERS or name in _PF_KEYS:
        if not modifiers and (modes.application_cursor or name in _PF_KEYS):
            return f"\x1bO{_LETTERS.get(name) or _PF_KEYS[name]}".encode()
        return _csi(1, modifiers, _LETTERS.get(name) or _PF_KEYS[name])
    if name in _NUMBERS or name in _VT220_NUMBERS:
        return _csi(_NUMBERS.get(name) or _VT220_NUMBERS[name], modifiers, "~")
    if name in _KEYPAD and modes.application_keypad:
        return f"\x1bO{_KEYPAD[name][1]}".encode()
    if name == "kpenter" and modes.application_keypad:
        return b"\x1bOM"
    if name in _CODES and _CODES[name] > 0xFF and name != "kpenter":
        return _csi(_CODES[name], modifiers, "u")
    return b"\x1b" * bool(modifiers & ALT) + _legacy_text(name, modifiers, modes)


def _legacy_text(name: str, modifiers: int, modes: KeyModes) -> bytes:
    """Return what a key that produces text or one of the C0 controls sends, Alt aside."""
    if name in {"enter", "kpenter"}:
        return b"\r\n" if modes.newline_mode else b"\r"
    if name == "escape":
        return b"\x1b"
    if name == "backspace":
        return b"\x08" if modifiers & CTRL else b"\x7f"
    if name == "tab":
        return b"\x1b[Z" if modifiers & SHIFT else b"\t"
    text = {"space": " "}.get(name) or _KEYPAD.get(name, (name,))[0]
    if modifiers & CTRL and text in _CONTROLS:
        return bytes([_CONTROLS[text]])
    return _shifted(text, modifiers).encode()


def _csi(number: int, modifiers: int, final: str) -> bytes:
    if modifiers:
        return f"\x1b[{number};{modifiers + 1}{final}".encode()
    return f"\x1b[{'' if number == 1 else number}{final}".encode()
