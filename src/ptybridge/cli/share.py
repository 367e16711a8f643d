"""`share`: the session that `serve --public` shares, and links to it."""

import sys

import click

from ptybridge.api.share import LINK, STATUS, LinkShare, ShareState, ShareStatus
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import Group, command
from ptybridge.cli.durations import duration
from ptybridge.cli.exits import EXIT_FAILURE


@command(
    "status",
    example="""
    ptybridge share status
    ptybridge share status --json
    """,
    exits="0 something is shared; 1 nothing is",
)
def status_command(app: App) -> int:
    """Show what is shared, and whether anybody is there."""
    found = app.call(STATUS, ShareStatus())
    if app.json:
        app.emit(found)
    elif not found.public:
        note("nothing is shared; `ptybridge serve -c CMD --public` does")
    else:
        print(*_told(found), sep="\n")
    return 0 if found.public else EXIT_FAILURE


def _told(found: ShareState) -> list[str]:
    room = "" if found.max_clients is None else f" of at most {found.max_clients}"
    session = (
        f"{found.session_id}, {found.clients}{room} on it" if found.session_id else "starts with the first visitor"
    )
    may = "watch" if found.read_only else "type"
    return output.pairs(
        [
            ("command", found.command or ""),
            ("session", session),
            ("visitors", f"{may}{', and it is served once' if found.once else ''}"),
        ]
    )


@command(
    "link",
    example="""
    ptybridge share link ann --expires 2h
    ptybridge share link class --read-only
    """,
)
@click.argument("name", default="visitor")
@click.option("--read-only", is_flag=True, help="Who comes by it only watches.")
@click.option("--expires", metavar="TIME", callback=duration, default="1d", help="How long it is good: 90s, 12h; 1d.")
def link_command(app: App, name: str, read_only: bool, expires: int) -> None:
    """Print a link for visitors, with a key called NAME (visitor) in it; it is shown this once.

    Whoever has the link gets in, any number of times, until it expires or `ptybridge key revoke NAME`.
    """
    made = app.call(LINK, LinkShare(name=name, read_only=read_only, expires_in_ms=expires))
    if app.json:
        app.emit(made)
        return
    print(made.url)
    if sys.stdout.isatty():
        ends = "" if made.key.expires_at_ms is None else f"good until {output.clock(made.key.expires_at_ms)}; "
        note(f"{ends}`ptybridge key revoke {made.key.name}` ends it at once")


@click.group(
    "share",
    cls=Group,
    subcommand_metavar="COMMAND …",
    example="""
    ptybridge share status
    ptybridge share link ann --expires 2h
    """,
)
def share_command() -> None:
    """Show the session that `ptybridge serve --public` shares, and make links for visitors."""


for _each in (status_command, link_command):
    share_command.add_command(_each)
