"""`clients` and `kick`: who is on a session."""

import click

from ptybridge.api.session import GET, KICK, LIST, Attachment, Get, Kick, List
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.targets import find, find_id, target_argument
from ptybridge.errors import AttachmentNotFound


@command(
    "clients",
    example="""
    ptybridge clients
    ptybridge clients build --json
    """,
)
@target_argument(required=False)
def clients_command(app: App, target: str | None) -> None:
    """List who is attached to the session TARGET, or to any."""
    if target is None:
        sessions = app.call(LIST, List()).sessions
    else:
        sessions = [app.call(GET, Get(session_id=find_id(app, target)))]
    found = [(session.session_id, one) for session in sessions for one in session.clients]
    if app.json:
        app.emit([{"session_id": session_id, **_fields(one)} for session_id, one in found])
    elif found:
        head = ("ID", "SESSION", "MODE", "SIZE", "SINCE", "LAG", "PID", "CLIENT")
        print(*output.table(head, [_row(*one) for one in found], ("LAG", "PID", "SINCE", "SIZE")), sep="\n")


def _fields(attachment: Attachment) -> dict[str, object]:
    return {name: getattr(attachment, name) for name in attachment.__struct_fields__}


def _row(session_id: str, one: Attachment) -> list[tuple[str, str]]:
    return [
        (one.attachment_id, "bold"),
        (session_id, ""),
        (one.mode, ""),
        (f"{one.cols}x{one.rows}{' cropped' if one.rendered else ''}", ""),
        (output.ago(one.attached_at_ms), ""),
        (output.size(one.lag_bytes) if one.lag_bytes else "-", "yellow" if one.lag_bytes else ""),
        (str(one.pid or "-"), ""),
        (one.client_id, ""),
    ]


@command(
    "kick",
    example="""
    ptybridge kick build 1a2b3c4d
    ptybridge kick build --all --reason 'the release starts'
    """,
)
@target_argument()
@click.argument("client", required=False)
@click.option("--all", "everybody", is_flag=True, help="Everybody who is attached.")
@click.option("--reason", default="", metavar="TEXT", help="What they are told.")
def kick_command(app: App, target: str, client: str | None, everybody: bool, reason: str) -> None:
    """Remove CLIENT (an id as `clients` shows it, or the beginning of one) from the session TARGET."""
    if (client is None) != everybody:
        raise click.UsageError("give a CLIENT, or --all")
    session = find(app, target)
    attached = app.call(GET, Get(session_id=session.session_id)).clients
    chosen = [one.attachment_id for one in attached if everybody or client in _names(one, client)]
    if not chosen and not everybody:
        raise AttachmentNotFound(f"nobody called {client!r} is attached to {session.session_id}")
    for attachment_id in chosen:
        app.call(KICK, Kick(session_id=session.session_id, attachment_id=attachment_id, reason=reason))
    if app.json:
        app.emit({"kicked": chosen})


def _names(attachment: Attachment, wanted: str | None) -> set[str]:
    return {attachment.client_id, attachment.attachment_id[: len(wanted or "")]}
