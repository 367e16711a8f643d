"""`read`, `tail` and `screen`: what a session has printed, and what it shows."""

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ptybridge.api.attach import FOLLOW, Follow, GapEvent, OutputEvent
from ptybridge.api.session import SessionInfo
from ptybridge.api.terminal import READ, SCREEN, GetScreen, Read
from ptybridge.api.terminal import Output as Piece
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.replay import Output
from ptybridge.cli.targets import find, find_id, target_argument
from ptybridge.model import Stream
from ptybridge.text import UNPRINTABLE

PIECE_BYTES = 1 << 20
# `tail` looks for its lines in this much.
TAIL_BYTES = 1 << 20
F = TypeVar("F", bound=Callable[..., Any])


def _one_of_both(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value and ctx.params.get("raw"):
        raise click.UsageError("give --raw or --plain, not both")
    return value


def _sequence_options(function: F) -> F:
    """Say what becomes of escape sequences."""
    raw = click.option("--raw", is_flag=True, is_eager=True, help="Do not leave out escape sequences on a terminal.")
    plain = click.option(
        "--plain", is_flag=True, callback=_one_of_both, help="Only text, in a pipe too: no colours, no CR before LF."
    )
    return raw(plain(function))


@command(
    "read",
    example="""
    ptybridge read build
    ptybridge read build --plain > build.txt
    ptybridge read build --stream stderr > errors.txt
    ptybridge read build --client me --timeout 5
    ptybridge read build --json --offset 1024
    """,
)
@target_argument()
@click.option("--offset", type=click.IntRange(min=0), metavar="N", help="Begin at this offset.")
@click.option("--max-bytes", type=click.IntRange(1, 16 << 20), metavar="N", help="At most so much.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Wait so long if there is nothing yet."
)
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="One stream of a session with pipes.")
@click.option("--client", metavar="NAME", help="Go on where the last read of this name has ended.")
@_sequence_options
def read_command(
    app: App,
    target: str,
    offset: int | None,
    max_bytes: int | None,
    timeout: float,
    stream: Stream | None,
    client: str | None,
    raw: bool,
    plain: bool,
) -> None:
    """Print what the session TARGET has printed, as far as it is kept.

    On a terminal, escape sequences other than colours are left out: replayed, they would act on your terminal.
    With --json it is one answer of `session.read`.
    """
    session = find(app, target)
    if offset is None and client is None:
        offset = 0
    params = Read(
        session_id=session.session_id,
        offset=offset,
        max_bytes=max_bytes or PIECE_BYTES,
        timeout_ms=int(timeout * 1000),
        stream=stream,
        client_id=client,
        encoding="text" if app.json else "base64",
    )
    piece = app.call(READ, params, None)
    if app.json:
        app.emit(piece)
        return
    out = Output(raw=raw, plain=plain)
    _write_piece(out, piece, quiet=not params.offset)
    end = _end_of(session, stream)
    while max_bytes is None and piece.data and piece.next_offset < end:
        params = Read(
            session_id=session.session_id, offset=piece.next_offset, max_bytes=PIECE_BYTES, stream=stream,
            encoding="base64", client_id=client,
        )  # fmt: skip
        piece = app.call(READ, params)
        _write_piece(out, piece, quiet=False)
    out.finish()


def _end_of(session: SessionInfo, stream: str | None) -> int:
    """Return where the output ends now: a flood is not followed for ever."""
    if stream is not None and session.streams is not None and stream in session.streams:
        return session.streams[stream].end_offset
    return session.end_offset


def _write_piece(out: Output, piece: Piece, *, quiet: bool) -> None:
    if piece.missed_bytes and not quiet:
        note(f"{output.size(piece.missed_bytes)} had been discarded before they could be read")
    out.write(b64decode(piece.data))


@command(
    "tail",
    example="""
    ptybridge tail build
    ptybridge tail -f --plain build | grep -i error
    ptybridge tail -f --json build
    """,
)
@target_argument()
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How many lines of the past.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on until the session exits.")
@_sequence_options
def tail_command(app: App, target: str, lines: int, follow: bool, raw: bool, plain: bool) -> None:
    """Print the last lines that the session TARGET has printed.

    With --json, and -f, every line is an event of `session.follow`: output, gap, resized, exited.
    """
    session = find(app, target)
    start = max(session.start_offset, session.end_offset - TAIL_BYTES)
    params = Read(session_id=session.session_id, offset=start, max_bytes=TAIL_BYTES, encoding="base64")
    piece = app.call(READ, params)
    past = _last_lines(b64decode(piece.data), lines)
    if app.json and not follow:
        begin = piece.next_offset - len(past)
        app.emit_line(app.call(READ, Read(session_id=session.session_id, offset=begin, max_bytes=TAIL_BYTES)))
        return
    out = Output(raw=raw, plain=plain)
    if not app.json:
        out.write(past)
    if follow:
        offset = piece.next_offset - (len(past) if app.json else 0)
        _follow(app, session.session_id, offset, out)
    out.finish()


def _last_lines(data: bytes, count: int) -> bytes:
    """Return the last `count` lines; an unfinished one counts."""
    if not count:
        return b""
    breaks = [found.end() for found in re.finditer(rb"\n(?!\Z)", data)]
    return data[breaks[-count] :] if len(breaks) >= count else data


def _follow(app: App, session_id: str, offset: int, out: Output) -> None:
    encoding = "text" if app.json else "base64"
    stream = app.stream(FOLLOW, Follow(session_id=session_id, offset=offset, encoding=encoding))  # type: ignore[arg-type]
    for event in stream:
        if app.json:
            app.emit_line(event)
        elif isinstance(event, OutputEvent):
            out.write(b64decode(event.data))
        elif isinstance(event, GapEvent):
            note(f"{output.size(event.to_offset - event.from_offset)} were discarded before they could be read")


@command(
    "screen",
    example="""
    ptybridge screen edit
    ptybridge screen edit --format html > edit.html
    ptybridge screen edit --json | jq .cursor
    """,
)
@target_argument()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "ansi", "html"]),
    default="text",
    show_default=True,
    help="Plain text, with colours, or a page.",
)
@click.option("--scrollback", type=click.IntRange(0, 100_000), default=0, metavar="N",
              help="Also so many lines from above the screen.")  # fmt: skip
def screen_command(app: App, target: str, form: str, scrollback: int) -> None:
    """Print what the terminal of the session TARGET shows."""
    params = GetScreen(session_id=find_id(app, target), format=form, scrollback_lines=scrollback)  # type: ignore[arg-type]
    picture = app.call(SCREEN, params)
    if app.json:
        app.emit(picture)
        return
    lines = [*picture.scrollback, *picture.lines]
    if form == "text":
        lines = [UNPRINTABLE.sub("", line).rstrip() for line in lines]
        while lines and not lines[-1]:
            lines.pop()
    for line in lines:
        print(line)
