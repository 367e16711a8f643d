"""tmux's control mode, as a parser without input or output: tmux(1), section CONTROL MODE.

tmux writes lines. What a command answers stands between `%begin TIME NUMBER FLAGS` and `%end` or `%error` with the
same three; flag 1 marks answers to commands that came through this connection, which come in the order of the
commands. Outside of them stand notifications such as `%output %PANE DATA`, in which bytes below a space and the
backslash are three octal digits after a backslash; all other bytes are themselves.
"""

import re
from typing import Final

import msgspec

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_BYTES: Final = {b"%03o" % value: bytes([value]) for value in range(256)}
_BLOCK: Final = re.compile(rb"%(begin|end|error) (\d+ \d+) (\d+)")
# No command takes so many arguments that it matters, and an interrupted one is no longer than this.
KEY_BYTES: Final = 1024


class Output(msgspec.Struct, frozen=True):
    """Bytes a pane's program has printed."""

    pane: str
    data: bytes


class Reply(msgspec.Struct, frozen=True):
    """The answer to the oldest command not yet answered."""

    lines: list[bytes]
    failed: bool = False


class Notice(msgspec.Struct, frozen=True):
    """Any other notification, by name without the percent sign; the rest of its line is not split."""

    name: str
    rest: str


Event = Output | Reply | Notice


def unescape(data: bytes) -> bytes:
    """Return the bytes that `%output` means."""
    if b"\\" not in data:
        return data
    return _ESCAPED.sub(lambda match: _BYTES.get(match[1], match[0]), data)


class Parser:
    """Turns what tmux writes into events, however it is cut into pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._block: tuple[bytes, bool] | None = None
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> Event | None:
        if self._block is not None:
            return self._inside(line)
        if line.startswith(b"%output "):
            pane, _, data = line[8:].partition(b" ")
            return Output(pane.decode("ascii", "replace"), unescape(data))
        match = _BLOCK.fullmatch(line)
        if match is not None:
            if match[1] == b"begin":
                self._block, self._lines = (match[2], match[3] == b"1"), []
            return None
        if not line.startswith(b"%"):
            return None
        name, _, rest = line[1:].decode(errors="replace").partition(" ")
        return Notice(name, rest)

    def _inside(self, line: bytes) -> Event | None:
        assert self._block is not None
        number, ours = self._block
        match = _BLOCK.fullmatch(line)
        # What a command prints may look like a notification, but hardly like its very own end.
        if match is None or match[1] == b"begin" or match[2] != number:
            self._lines.append(line)
            return None
        self._block = None
        return Reply(self._lines, match[1] == b"error") if ours else None


def quote(text: str) -> str:
    """Return `text` as one argument of a command line, formats in it switched off."""
    escaped = "".join(
        f"\\{ord(char):03o}" if ord(char) < 32 or char in '"\\$' else "##" if char == "#" else char for char in text
    )
    return f'"{escaped}"'


def send_keys(pane: str, data: bytes) -> str:
    """Return the command that types `data`, of up to `KEY_BYTES`, byte by byte."""
    return f"send-keys -t {pane} -H {data.hex(' ')}"
