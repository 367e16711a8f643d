"""`send`, `keys` and `paste`: input to a session."""

import sys
from base64 import b64encode

import click

from ptybridge.api.terminal import PASTE, SEND_KEYS, WRITE, Paste, SendKeys, Write, Written
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.completing import complete_key
from ptybridge.cli.identity import client_name
from ptybridge.cli.targets import find_id, target_argument

# The daemon takes this much at once; more goes in pieces, in order.
PIECE_BYTES = 1 << 20


@command(
    "send",
    example="""
    ptybridge send build 'make test' --enter
    printf 'a\\0b' | ptybridge send build -
    """,
)
@target_argument()
@click.argument("text")
@click.option("--enter", is_flag=True, help="Press Enter afterwards.")
@click.option("--eof", is_flag=True, help="End the input afterwards (Ctrl-D; for pipes, close it).")
def send_command(app: App, target: str, text: str, enter: bool, eof: bool) -> None:
    """Send TEXT to the session TARGET just as it is; - takes it from standard input.

    Texts of several lines are better sent with `paste`.
    """
    session_id = find_id(app, target)
    data = _given(text)
    accepted = 0
    for start in range(0, len(data), PIECE_BYTES):
        accepted += _write(app, session_id, data[start : start + PIECE_BYTES])
    if enter:
        # A terminal's Enter key sends a carriage return.
        pressed = SendKeys(session_id=session_id, keys=["enter"], client_id=client_name())
        accepted += app.call(SEND_KEYS, pressed, None).accepted_bytes
    if eof:
        app.call(WRITE, Write(session_id=session_id, data="", eof=True, client_id=client_name()), None)
    _report(app, Written(accepted_bytes=accepted))


def _write(app: App, session_id: str, piece: bytes) -> int:
    data = b64encode(piece).decode()
    params = Write(session_id=session_id, data=data, encoding="base64", client_id=client_name())
    return app.call(WRITE, params, None).accepted_bytes


def _given(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    return text.encode(errors="surrogateescape")


@command(
    "keys",
    example="""
    ptybridge keys build ctrl-c
    ptybridge keys edit escape : w q enter
    """,
)
@target_argument()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...", shell_complete=complete_key)
def keys_command(app: App, target: str, keys: tuple[str, ...]) -> None:
    """Press KEY after KEY in the session TARGET, encoded as its programs want them at that moment.

    Keys are enter, tab, escape, space, backspace, up, down, left, right, home, end, pageup, pagedown, insert, delete,
    f1 … f24, single characters, and those with ctrl-, alt- and shift- before them.
    """
    params = SendKeys(session_id=find_id(app, target), keys=list(keys), client_id=client_name())
    _report(app, app.call(SEND_KEYS, params))


@command(
    "paste",
    example="""
    ptybridge paste edit 'two words'
    ptybridge paste edit - < notes.txt
    """,
)
@target_argument()
@click.argument("text")
def paste_command(app: App, target: str, text: str) -> None:
    """Paste TEXT (- for standard input) into the session TARGET as a terminal would.

    Programs that ask for it are told where the paste begins and ends, so an editor does not indent it and a shell
    does not run it.
    """
    text = _given(text).decode(errors="replace")
    _report(app, app.call(PASTE, Paste(session_id=find_id(app, target), text=text, client_id=client_name()), None))


def _report(app: App, written: Written) -> None:
    if app.json:
        app.emit(written)
