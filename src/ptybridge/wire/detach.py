"""The attach client's own keys: a prefix, then a letter, found in what the user types, whatever the cuts.

How it works: everything is forwarded at once, save two things that are held. What may become an escape sequence is
held until it is whole, or until `flush`, to be called when nothing has followed for some 50 ms (`pending` says
whether there is a need). What follows the prefix is held until the key that decides: then prefix and key are an action,
or else all goes out in order, nothing lost. What no key causes (mouse, focus, releases, replies) does not decide.

While the program uses kitty's keyboard protocol (https://sw.kovidgoyal.net/kitty/keyboard-protocol/) or xterm's
modifyOtherKeys, the prefix comes as `CSI 92;5u`, `CSI 92;5:1u` or `CSI 27;5;92~`. Within a bracketed paste nothing is
a key. Paste marks are recognised even when a part of them had to be flushed.
"""

import re
from typing import Final, Literal

from ptybridge.errors import InvalidParams
from ptybridge.wire.keynames import CTRL, SHIFT, Key, parse_key

Action = Literal["detach", "suspend", "help", "redraw", "take", "literal"]

# Control-backslash: no shell or editor binds it, and its signal (SIGQUIT) can still be had by pressing it twice.
DEFAULT_PREFIX: Final = b"\x1c"
# What may collect between prefix and key, e.g. reports of a moving mouse, before the prefix counts as typed.
MAX_HELD_BYTES: Final = 4096

_ACTIONS: Final[dict[str, Action]] = {
    "d": "detach", "z": "suspend", "\x1a": "suspend", "r": "redraw", "t": "take", "?": "help", "\\": "literal",
}  # fmt: skip
_PASTE_BEGIN: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"

# A control sequence. The oldest mouse reports have three bytes after it.
_SEQUENCE: Final = re.compile(rb"\x1b\[(?:M[^\x1b]{3}|(?!M)[0-?]*[ -/]*[@-~])")
_UNFINISHED: Final = re.compile(rb"\x1b(?:\[(?:M[^\x1b]{0,2}|[0-?]{0,64}[ -/]{0,4})?)?\Z")
# code : shifted : base layout ; modifiers : event ; text
_KITTY_KEY: Final = re.compile(rb"\x1b\[(\d{1,7})(?::(\d{0,7}))?(?::(\d{1,7}))?(?:;(\d{0,3})(?::(\d))?(?:;[\d:]*)?)?u")
_XTERM_KEY: Final = re.compile(rb"\x1b\[27;(\d{1,3});(\d{1,7})~")
_KEY: Final = re.compile(rb"\x1b\[[\d;:]*[A-HP-SZ~u]")
_RELEASE: Final = b"3"
_LOCKS: Final = 64 | 128
# Shift, Control and so on, reported as keys themselves: CAPS_LOCK … NUM_LOCK, LEFT_SHIFT … ISO_LEVEL5_SHIFT.
_MODIFIER_KEYS: Final = frozenset([*range(57358, 57361), *range(57441, 57455)])


def parse_prefix(name: str) -> bytes:
    """Return the control character of a key such as "ctrl-\\\\", "ctrl-a" or "ctrl-space"; b"" for "none".

    Raises InvalidParams for any other key, and for those that cannot be told from Escape, Tab and Enter.
    """
    if name.lower() == "none":
        return b""
    key = parse_key(name)
    for code, keys in enumerate(_KEYS_OF_CONTROL):
        if key.modifiers == CTRL and key.name in {*keys, "space" if code == 0 else ""} and code not in b"\x1b\t\r\n":
            return bytes([code])
    raise InvalidParams(f"{name!r} cannot be the prefix", hint='choose "ctrl-" and a letter (not i, j, m), or "none"')


# Which keys send a control character together with Ctrl, by character.
_KEYS_OF_CONTROL: Final = [" @2", *"abcdefghijklmnopqrstuvwxyz", "[3", "\\4", "]5", "^6~", "_7/-"]


class DetachScanner:
    """Finds actions in one client's input. `prefix` is a control character, or empty: then all is forwarded."""

    def __init__(self, prefix: bytes = DEFAULT_PREFIX) -> None:
        self._prefix = prefix
        self._keys = _KEYS_OF_CONTROL[prefix[0]] if prefix else ""
        self._special = re.compile(b"[\x1b%b]" % re.escape(prefix))
        # An unfinished sequence, and how much of it `flush` has given out.
        self._open = b""
        self._given = 0
        # Since the prefix: it, and what came after it and decided nothing.
        self._armed = b""
        self._undecided = b""
        # Inside a paste, its last bytes, all forwarded; None outside.
        self._paste: bytes | None = None

    @property
    def pending(self) -> bool:
        """Whether `flush` would return something: time to set its deadline. (The prefix alone waits without one.)"""
        return self._given < len(self._open)

    def feed(self, data: bytes) -> tuple[bytes, list[Action]]:
        """Return the bytes to forward and the actions asked for. Bytes after an action's keys are forwarded, too."""
        if not self._prefix:
            return data, []
        data = self._open + data
        given, self._open, self._given = self._given, b"", 0
        out: list[bytes] = []
        actions: list[Action] = []
        at = 0
        while at < len(data):
            stop, kind = self._next(data, at)
            piece = data[at:stop]
            if stop == at:
                self._open, self._given = data[at:], max(given - at, 0)
                break
            if kind == "armed" and given <= at and not self._armed:
                self._armed, piece = piece, b""
            elif kind == "undecided" and self._armed:
                self._undecided += piece
                piece = self._disarm() if len(self._undecided) > MAX_HELD_BYTES else b""
            elif self._armed and (action := "literal" if kind == "armed" else _action(piece)) is not None:
                piece = (self._armed if action == "literal" else b"") + self._undecided
                self._armed = self._undecided = b""
                actions.append(action)
            else:
                out.append(self._disarm())
                piece = data[max(at, given) : stop]
            out.append(piece)
            at = stop
        return b"".join(out), actions

    def flush(self, final: bool = False) -> bytes:
        """Return what is held of an unfinished sequence, as nothing has followed; with `final` all that is held."""
        if not self.pending and not final:
            return b""
        held = self._disarm() + self._open[self._given :]
        self._given = len(self._open)
        return held

    def _disarm(self) -> bytes:
        held = self._armed + self._undecided
        self._armed = self._undecided = b""
        return held

    def _next(self, data: bytes, at: int) -> tuple[int, str]:
        """Return where the piece at `data[at]` ends, and its kind: "armed" (the prefix), "undecided", "key" or "text".

        It ends at `at` if it is unfinished.
        """
        if self._paste is not None:
            return self._next_of_paste(data, at), "text"
        byte = data[at : at + 1]
        if byte == self._prefix:
            return at + 1, "armed"
        if byte != b"\x1b":
            special = self._special.search(data, at)
            stop = special.start() if special else len(data)
            return (at + 1 if self._armed else stop), "text"
        whole = _SEQUENCE.match(data, at)
        if whole is not None:
            if whole[0] == _PASTE_BEGIN:
                self._paste = b""
            return whole.end(), self._kind(whole[0])
        return (at if _UNFINISHED.match(data, at) else at + 1), "text"

    def _next_of_paste(self, data: bytes, at: int) -> int:
        tail = self._paste or b""
        window = tail + data[at:]
        end = window.find(_PASTE_END)
        self._paste = window[1 - len(_PASTE_END) :] if end < 0 else None
        return len(data) if end < 0 else at + end + len(_PASTE_END) - len(tail)

    def _kind(self, sequence: bytes) -> str:
        pressed = _pressed(sequence)
        if pressed is not None:
            # The signs among them need Shift on most keyboards; with a letter it makes another key.
            wanted = {CTRL, CTRL | SHIFT} if len(self._keys) > 1 else {CTRL}
            return "armed" if pressed.modifiers in wanted and pressed.name in self._keys else "key"
        return "key" if _KEY.fullmatch(sequence) and not _KITTY_KEY.fullmatch(sequence) else "undecided"


def _pressed(sequence: bytes) -> Key | None:
    """Return the key that `sequence` reports as pressed, None for a release, a modifier, or anything else."""
    xterm = _XTERM_KEY.fullmatch(sequence)
    if xterm is not None:
        return Key(_char(xterm[2]), (int(xterm[1]) - 1) & ~_LOCKS)
    kitty = _KITTY_KEY.fullmatch(sequence)
    if kitty is None or kitty[5] == _RELEASE or int(kitty[1]) in _MODIFIER_KEYS:
        return None
    modifiers = (int(kitty[4] or 1) - 1) & ~_LOCKS
    # On a Cyrillic layout Ctrl with С is meant as Ctrl-C: the base layout's key counts, where it is reported.
    name = _char(kitty[3] or kitty[1])
    if modifiers & ~SHIFT == 0:
        name = _char(kitty[2]) if kitty[2] else {("/", SHIFT): "?"}.get((name, modifiers), name)
    return Key(name, modifiers)


def _action(piece: bytes) -> Action | None:
    """Return the action of the key after the prefix."""
    if piece[:1] != b"\x1b":
        return _ACTIONS.get(piece.decode("latin-1").lower())
    key = _pressed(piece)
    if key is None or key.modifiers & ~(SHIFT | CTRL):
        return None
    if key.modifiers & CTRL:
        return "suspend" if key == Key("z", CTRL) else None
    return _ACTIONS.get(key.name.lower())


def _char(digits: bytes) -> str:
    code = int(digits)
    return chr(code) if code < 0x110000 else "\ufffd"
