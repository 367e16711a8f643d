"""`events`: what happens, as it happens."""

from typing import Any

import click

from ptybridge.api.event import FOLLOW, FollowEvents
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.completing import complete_event
from ptybridge.cli.targets import complete_target, find_id
from ptybridge.text import printable

# What is in front of each line anyway.
_COMMON = {"number", "time_ms", "session_id"}


@command(
    "events",
    example="""
    ptybridge events
    ptybridge events --type exited --type bell
    ptybridge events --json --after 120
    """,
)
@click.option(
    "--session", "target", metavar="TARGET", shell_complete=complete_target, help="Only those of one session."
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="T",
    shell_complete=complete_event,
    help="Only this type; may be repeated.",
)
@click.option("--after", type=click.IntRange(min=0), metavar="N", help="Begin behind the event number N.")
def events_command(app: App, target: str | None, types: tuple[str, ...], after: int | None) -> None:
    """Print what happens in all sessions until you stop it with Ctrl-C.

    Events are numbered; --after goes on where you stopped. With --json every line is an event.
    """
    session_id = find_id(app, target) if target else None
    params = FollowEvents(session_id=session_id, types=list(types) or None, after=after)
    for event in app.stream(FOLLOW, params):
        if app.json:
            app.emit_line(event)
        else:
            print(_line(event), flush=True)
    note("the daemon has been stopped")


def _line(event: Any) -> str:
    kind = event.__struct_config__.tag
    facts = [
        f"{name}={_value(getattr(event, name))}"
        for name in event.__struct_fields__
        if name not in _COMMON and getattr(event, name) not in (None, "", [])
    ]
    start = f"{output.clock(event.time_ms)} {output.style(str(event.number).rjust(5), 'dim')}"
    return f"{start}  {event.session_id or '-':6} {output.style(kind, 'bold')} {' '.join(facts)}".rstrip()


def _value(value: object) -> str:
    if isinstance(value, list):
        return printable(output.command_line([str(part) for part in value]))
    if isinstance(value, bool):
        return str(value).lower()  # as everywhere else but in Python
    return printable(str(value))
