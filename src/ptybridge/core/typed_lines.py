"""What is typed at a shell's prompt, put together to the lines that Enter would run, so that they can be judged before.

How it works: every write is played through a model of a line editor (GNU readline's emacs keys, bash(1) READLINE, which
zsh and fish share, and the terminal's own line mode, termios(3)) that starts from what was typed before. Nothing is
kept but the unfinished line, what was last cut out of it, and the unfinished command before it; all of it is bounded.

What the model cannot know is what the shell itself brings into the line: history, completion, abbreviations, its own
bindings. There it goes on with what was typed.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

# More typed text than can be judged is "too long", whatever it is.
MAX_LINE: Final = 64 << 10
# Of an unfinished command so many of the last lines and characters are kept.
KEPT_LINES: Final = 200
KEPT_CHARACTERS: Final = 16 << 10
# Each takes time in proportion to the line; no person edits so much within one write.
MAX_EDITS: Final = 4096

# An unfinished sequence is waited for; longer ones are none.
_LONGEST_SEQUENCE: Final = 32
# In the order of the alternatives: CSI and SS3 sequences (ECMA-48), Escape with a character (Alt), other controls.
_SPECIAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[ -~]|\x1b[^\[O]|[\x00-\x08\x0a-\x1f\x7f]", re.S)
_UNFINISHED: Final = re.compile(rf"\x1b(?:\[[0-?]{{0,{_LONGEST_SEQUENCE}}}[ -/]*|O)?\Z")
_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"
# The kitty protocol: CSI code[:alternates] [; modifiers[:event] [; text]] u.
_KITTY: Final = re.compile(r"\x1b\[(\d{1,7})(?::[\d:]*)?(?:;(\d{1,3})(?::(\d))?)?(?:;[\d:]*)?u")
# What a terminal does by itself in line mode; everything else is text there.
_LINE_KEYS: Final = frozenset({"\r", "\n", "\x03", "\x04", "\x08", "\x15", "\x16", "\x17", "\x1c", "\x7f"})
_SAME: Final = {
    "\x1b[C": "\x06", "\x1bOC": "\x06", "\x1b[D": "\x02", "\x1bOD": "\x02",
    "\x1b[H": "\x01", "\x1bOH": "\x01", "\x1b[1~": "\x01", "\x1b[7~": "\x01",
    "\x1b[F": "\x05", "\x1bOF": "\x05", "\x1b[4~": "\x05", "\x1b[8~": "\x05",
    "\x1b[3~": "delete", "\x1bOM": "\r", "\x1b\r": "\r", "\x1b\n": "\r", "\n": "\r", "\x0f": "\r", "\x08": "\x7f",
    "\x1b\x7f": "erase-word", "\x1b\x08": "erase-word", "\x1b[1;5C": "\x1bf", "\x1b[1;5D": "\x1bb",
    "\x1b[1;3C": "\x1bf", "\x1b[1;3D": "\x1bb",
}  # fmt: skip


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The line and where in it the cursor is; `before` are lines entered that are no whole command yet."""

    line: str = ""
    cursor: int = 0
    cut: str = ""
    before: str = ""
    literal: bool = False
    pasting: bool = False
    held: bytes = b""
    too_long: bool = False


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """What a write would do: `entered` lines to run (None: none is) after the unfinished ones `before`."""

    entered: str | None
    before: str
    too_long: bool
    after: State

    @property
    def script(self) -> str:
        """What the shell would have got to run, unfinished lines included."""
        return self.before + (self.entered or "")


def play(state: State, data: bytes, *, line_mode: bool = False, pastes: bool = True) -> Typed:
    """Tell what typing `data` would do.

    `line_mode`: the terminal itself edits lines. `pastes`: the shell has asked for bracketed pastes (xterm's
    "Bracketed Paste Mode"), within which a newline is text.
    """
    editor = _Editor(state, line_mode, pastes)
    editor.run(data)
    return Typed(
        entered="".join(editor.entered) if editor.runs else None,
        before=editor.before,
        too_long=editor.too_long_entered,
        after=editor.state(),
    )


def remembered(typed: Typed, *, unfinished: bool) -> State:
    """Return the state after a write; `unfinished`: what was entered is no whole command, so the next line belongs."""
    if typed.entered is None:
        return typed.after
    before = typed.script if unfinished else ""
    lines = before.splitlines(keepends=True)[-KEPT_LINES:]
    return msgspec.structs.replace(typed.after, before="".join(lines)[-KEPT_CHARACTERS:])


class _Editor:
    def __init__(self, state: State, line_mode: bool, pastes: bool) -> None:
        self.line, self.cursor, self.cut, self.before = state.line, state.cursor, state.cut, state.before
        self.literal, self.pasting, self.held, self.too_long = (
            state.literal, state.pasting, state.held, state.too_long,
        )  # fmt: skip
        self.entered: list[str] = []
        self.runs = False
        self.too_long_entered = False
        self._size = 0
        self._edits = 0
        self._cutting = False
        self._line_mode, self._pastes = line_mode, pastes

    def state(self) -> State:
        return State(
            line=self.line,
            cursor=self.cursor,
            cut=self.cut,
            before=self.before,
            literal=self.literal,
            pasting=self.pasting,
            held=self.held,
            too_long=self.too_long,
        )

    def run(self, data: bytes) -> None:
        data = self.held + data
        text = data.decode("utf-8", "surrogateescape")
        found = _UNFINISHED.search(text)
        self.held = b""
        if found:
            self.held = found[0].encode()
            text = text[: found.start()]
        elif torn := _torn(data):
            self.held = torn
            text = data[: -len(torn)].decode("utf-8", "surrogateescape")
        at = 0
        while at < len(text):
            if self.literal:
                self.literal = False
                self._insert(text[at])
                at += 1
                continue
            special = _SPECIAL.search(text, at)
            self._insert(text[at : special.start() if special else len(text)])
            if special is None:
                return
            at = special.end()
            self._act(special[0])

    def _insert(self, text: str) -> None:
        if not text:
            return
        if len(self.line) + len(text) > MAX_LINE:
            self.too_long = True
            text = text[: max(0, MAX_LINE - len(self.line))]
        self._edits += self.cursor < len(self.line)
        self.line = self.line[: self.cursor] + text + self.line[self.cursor :]
        self.cursor += len(text)
        self._cutting = False

    def _act(self, key: str) -> None:
        if key == _PASTE_BEGINS:
            self.pasting = self._pastes
            return
        if key == _PASTE_ENDS:
            self.pasting = False
            return
        if self.pasting:
            # The controls of a paste are text; of them only newlines mean anything to a shell.
            self._insert("\n" if key in {"\r", "\n"} else key)
            return
        if self._line_mode and key not in _LINE_KEYS:
            self._insert(key)
            return
        key = _SAME.get(key, key)
        if (kitty := _KITTY.fullmatch(key)) is not None:
            key = _of_kitty(kitty)
        if key == "\r":
            self._enter()
            return
        self._edits += 1
        if self._edits > MAX_EDITS:
            self.too_long = True
            return
        cutting = self._cutting
        self._cutting = False
        if len(key) == 1 and key.isprintable():
            self._insert(key)
        elif key == "\x03" or (key == "\x1c" and self._line_mode):
            self.line, self.cursor, self.before, self.too_long = "", 0, "", False
        elif key == "\x04":
            self._end_of_file()
        elif key == "\x16":
            self.literal = True
        else:
            self._edit(key, cutting)

    def _edit(self, key: str, cutting: bool) -> None:
        line, at = self.line, self.cursor
        if key == "\x7f":
            self._keep(line[: max(0, at - 1)], line[at:])
        elif key == "delete":
            self._keep(line[:at], line[at + 1 :])
        elif key == "\x15":
            self._cut(0, len(line) if self._line_mode else at, cutting)
        elif key == "\x0b":
            self._cut(at, len(line), cutting)
        elif key in {"\x17", "erase-word"}:
            self._cut(self._backward(_is_field if key == "\x17" else _is_word), at, cutting)
        elif key == "\x1bd":
            self._cut(at, self._forward(), cutting)
        elif key == "\x19" or (key == "\x1f" and not line):
            self._insert(self.cut)  # what was cut comes back, be it as a yank or by undoing
        elif key == "\x01":
            self.cursor = 0
        elif key == "\x05":
            self.cursor = len(line)
        elif key == "\x02":
            self.cursor = max(0, at - 1)
        elif key == "\x06":
            self.cursor = min(len(line), at + 1)
        elif key == "\x1bb":
            self.cursor = self._backward(_is_word)
        elif key == "\x1bf":
            self.cursor = self._forward()
        elif key == "\x14" and len(line) > 1 and at > 0:
            at = min(at, len(line) - 1)
            self.line = line[: at - 1] + line[at] + line[at - 1] + line[at + 1 :]
            self.cursor = at + 1

    def _backward(self, inside: Callable[[str], bool]) -> int:
        """Return where the word before the cursor begins."""
        at = self.cursor
        while at and not inside(self.line[at - 1]):
            at -= 1
        while at and inside(self.line[at - 1]):
            at -= 1
        self._edits += (self.cursor - at) // 256
        return at

    def _forward(self) -> int:
        """Return where the word behind the cursor ends."""
        at = self.cursor
        while at < len(self.line) and not _is_word(self.line[at]):
            at += 1
        while at < len(self.line) and _is_word(self.line[at]):
            at += 1
        self._edits += (at - self.cursor) // 256
        return at

    def _keep(self, left: str, right: str) -> None:
        self.line, self.cursor = left + right, len(left)

    def _cut(self, start: int, end: int, cutting: bool) -> None:
        piece = self.line[start:end]
        if cutting:
            piece = piece + self.cut if end == self.cursor else self.cut + piece
        self.cut = piece[:MAX_LINE]
        self._cutting = True
        self._keep(self.line[:start], self.line[end:])

    def _enter(self) -> None:
        self.runs = True
        self._put(self.line + "\n")
        self.line, self.cursor, self.too_long = "", 0, False

    def _end_of_file(self) -> None:
        if not self._line_mode:
            self._edit("delete", False)
        elif self.line:
            # The line goes to its reader without a newline, and what follows goes on with it.
            self.runs = True
            self._put(self.line)

    def _put(self, text: str) -> None:
        self._size += len(text)
        self.too_long_entered |= self.too_long or self._size > MAX_LINE
        if self._size <= MAX_LINE:
            self.entered.append(text)


def _is_word(char: str) -> bool:
    return char.isalnum()


def _is_field(char: str) -> bool:
    return not char.isspace()


def _of_kitty(found: re.Match[str]) -> str:
    code, modifiers, event = int(found[1]), int(found[2] or 1) - 1, found[3]
    if event == "3":
        return ""  # the key was released
    if code in {13, 57414}:
        return "\r"
    if code == 127:
        return "erase-word" if modifiers & 6 else "\x7f"
    if modifiers & 4 and 64 <= code < 128:
        return chr(code & 0x1F)
    if modifiers & 2 and 32 <= code < 127:
        return "\x1b" + chr(code)
    return chr(code) if 32 <= code < 0x110000 and not 0xD800 <= code < 0xE000 and not modifiers & ~1 else ""


def _torn(data: bytes) -> bytes:
    """Return the beginning of a character at the end of `data`."""
    for size in range(1, min(4, len(data) + 1)):
        byte = data[-size]
        if byte >= 0xC0:
            return data[-size:] if size < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else b""
        if byte < 0x80:
            return b""
    return b""
