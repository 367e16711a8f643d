"""`key`: keys for scripts and other people, and the logins of browsers."""

import sys

import click

from ptybridge.api.key import CREATE, LIST, REVOKE, CreateKey, KeyInfo, ListKeys, RevokeKey
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import Group, command
from ptybridge.cli.durations import duration
from ptybridge.cli.targets import complete_target, find_id
from ptybridge.errors import KeyNotFound

_LEVEL_STYLES = {"read": "green", "write": "", "full": "", "admin": "yellow"}


@command(
    "new",
    example="""
    ptybridge key new backup --level read --expires 30d
    ptybridge key new friend --level read --session build
    ptybridge key new ci > ~/.config/ci-key
    """,
)
@click.argument("name")
@click.option("--level", type=click.Choice(list(_LEVEL_STYLES)), default="full", help="What it may; full.")
@click.option("--expires", metavar="TIME", callback=duration, help="How long it is good: 90s, 12h, 30d; for ever.")
@click.option(
    "--session",
    "sessions",
    multiple=True,
    metavar="TARGET",
    shell_complete=complete_target,
    help="It is for this session only; repeatable.",
)
def new_command(app: App, name: str, level: str, expires: int | None, sessions: tuple[str, ...]) -> None:
    """Make a key called NAME and print its value, which is shown this once and kept nowhere.

    A key of level read sees sessions, write also types into them, full also makes and controls them, admin may do
    what you may.
    """
    made = app.call(
        CREATE,
        CreateKey(
            name=name,
            level=level,  # type: ignore[arg-type]  # click has checked it
            expires_in_ms=expires,
            session_ids=[find_id(app, one) for one in sessions] or None,
        ),
    )
    if app.json:
        app.emit(made)
        return
    print(made.value)
    if sys.stdout.isatty():
        note(f"this is the only time it is shown; `ptybridge key revoke {made.key.name}` ends it")


@command("ls", example="ptybridge key ls")
def ls_command(app: App) -> None:
    """List the keys, and the logins of browsers."""
    found = app.call(LIST, ListKeys()).keys
    if app.json:
        app.emit(found)
        return
    if not found:
        note("there are no keys and no logins")
        return
    head = ("ID", "KIND", "NAME", "LEVEL", "MADE", "USED", "EXPIRES", "SESSIONS")
    print(*output.table(head, [_row(one) for one in found], ("USED", "MADE", "KIND", "EXPIRES")), sep="\n")


def _row(one: KeyInfo) -> list[tuple[str, str]]:
    return [
        (one.key_id, ""),
        (one.kind, "dim"),
        (one.name, ""),
        (one.level, _LEVEL_STYLES[one.level]),
        (f"{output.ago(one.created_at_ms)} ago", "dim"),
        ("never" if one.last_used_at_ms is None else f"{output.ago(one.last_used_at_ms)} ago", "dim"),
        ("never" if one.expires_at_ms is None else output.clock(one.expires_at_ms), "dim"),
        ("all" if one.session_ids is None else ", ".join(one.session_ids), ""),
    ]


@command(
    "revoke",
    example="""
    ptybridge key revoke backup
    ptybridge key revoke l3f09a2c1
    ptybridge key revoke --logins
    """,
)
@click.argument("which", nargs=-1, metavar="[ID|NAME]…")
@click.option("--logins", is_flag=True, help="End the logins of all browsers.")
def revoke_command(app: App, which: tuple[str, ...], logins: bool) -> None:
    """End keys and logins: what is open with them closes at once."""
    if not which and not logins:
        raise click.UsageError("say which, by id or name, or --logins")
    wanted = list(which)
    if logins:
        wanted += [one.key_id for one in app.call(LIST, ListKeys()).keys if one.kind == "login"]
    gone: dict[str, KeyInfo] = {}
    for one in wanted:
        if one in gone:
            continue  # it went with the key it was made with
        try:
            ended = app.call(REVOKE, RevokeKey(key_id=one)).keys
        except KeyNotFound:
            if one in which:
                raise
            continue  # a login that has ended by itself meanwhile
        gone |= {info.key_id: info for info in ended}
    if app.json:
        app.emit(list(gone.values()))


@click.group(
    "key",
    cls=Group,
    subcommand_metavar="COMMAND …",
    example="""
    ptybridge key new backup --level read
    ptybridge key ls
    ptybridge key revoke backup
    """,
)
def key_command() -> None:
    """Make, list and end the keys with which scripts and other people get in over the network."""


for _each in (new_command, ls_command, revoke_command):
    key_command.add_command(_each)
