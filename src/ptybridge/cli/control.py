"""`rename`, `resize`, `signal` and `close`: change what a session is, or end it."""

from typing import Literal, get_args

import click

from ptybridge.api.session import (
    CLOSE,
    CLOSE_ALL,
    RESIZE,
    SIGNAL,
    UPDATE,
    Background,
    Close,
    CloseAll,
    ClosedResult,
    Resize,
    Signal,
    Update,
)
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.completing import complete_signal
from ptybridge.cli.creating import parse_size
from ptybridge.cli.identity import client_name
from ptybridge.cli.targets import find_id, target_argument
from ptybridge.model import SizePolicy


@command(
    "rename",
    example="""
    ptybridge rename s1 build
    ptybridge rename build --none
    """,
)
@target_argument()
@click.argument("name", required=False)
@click.option("--none", "no_name", is_flag=True, help="Take the name away.")
def rename_command(app: App, target: str, name: str | None, no_name: bool) -> None:
    """Give the session TARGET the name NAME."""
    if (name is None) != no_name:
        raise click.UsageError("give a name, or --none")
    session = app.call(UPDATE, Update(session_id=find_id(app, target), name=name, client_id=client_name()))
    if app.json:
        app.emit(session)


@command(
    "resize",
    example="""
    ptybridge resize build 120x40
    ptybridge resize build --policy smallest
    """,
)
@target_argument()
@click.argument("size", required=False, callback=parse_size, metavar="[CxR]")
@click.option("--policy", type=click.Choice(["latest", "smallest", "largest", "manual"]),
              help="Whose window decides when several clients are attached.")  # fmt: skip
def resize_command(app: App, target: str, size: tuple[int, int] | None, policy: SizePolicy | None) -> None:
    """Set the size of TARGET's terminal in columns and rows, its policy, or both."""
    if size is None and policy is None:
        raise click.UsageError("give a size such as 120x40, or --policy")
    cols, rows = size or (None, None)
    session_id = find_id(app, target)
    params = Resize(session_id=session_id, cols=cols, rows=rows, policy=policy, client_id=client_name())
    answer = app.call(RESIZE, params)
    if app.json:
        app.emit(answer)


@command(
    "signal",
    example="""
    ptybridge signal build INT
    ptybridge signal build HUP --session
    """,
)
@target_argument()
@click.argument("signal_name", metavar="SIGNAL", shell_complete=complete_signal)
@click.option("--session", "whole", is_flag=True, help="To every process of the session, not just the foreground.")
def signal_command(app: App, target: str, signal_name: str, whole: bool) -> None:
    """Send SIGNAL (INT, SIGTERM …) to what runs in the foreground of TARGET, past all waiting input."""
    session_id = find_id(app, target)
    reach: Literal["session", "foreground"] = "session" if whole else "foreground"
    done = app.call(SIGNAL, Signal(session_id=session_id, signal=signal_name, target=reach, client_id=client_name()))
    if app.json:
        app.emit(done)


@command(
    "close",
    example="""
    ptybridge close build
    ptybridge close --tag ci
    ptybridge close --exited
    """,
)
@target_argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--all", "everything", is_flag=True, help="All sessions.")
@click.option("--exited", is_flag=True, help="All that have exited.")
@click.option("--tag", metavar="T", help="All with this tag.")
@click.option(
    "--background",
    type=click.Choice(get_args(Background)),
    default="end",
    show_default=True,
    help="What becomes of background jobs: `leave` spares those of programs that have exited, `all` also "
    "ends what has left the session (setsid), which otherwise is only done in agents' sessions.",
)
@click.option("--grace", type=click.FloatRange(0, 60), default=1.5, show_default=True, metavar="S",
              help="Seconds between hang-up, terminate and kill.")  # fmt: skip
def close_command(
    app: App,
    targets: tuple[str, ...],
    everything: bool,
    exited: bool,
    tag: str | None,
    background: Background,
    grace: float,
) -> None:
    """End the sessions TARGET … and forget them, with their output.

    Their programs are hung up on, then asked to end, then killed, and this waits until they are gone.
    """
    several = everything or exited or tag is not None
    if bool(targets) == several:
        raise click.UsageError("give a TARGET, or one of --all, --exited and --tag")
    grace_ms = int(grace * 1000)
    if several:
        chosen = CloseAll(tag=tag, exited_only=exited, grace_ms=grace_ms, background=background)
        closed = app.call(CLOSE_ALL, chosen, None).closed
    else:
        ids = [find_id(app, target) for target in targets]
        name = client_name()
        closed = [
            app.call(CLOSE, Close(session_id=one, grace_ms=grace_ms, background=background, client_id=name), None)
            for one in ids
        ]
    for one in closed:
        if one.survivors and background != "leave":
            note(f"{one.session_id}: these outlived even SIGKILL: {', '.join(map(str, one.survivors))}")
        if one.escaped and background != "leave":
            note(f"{one.session_id}: these have left the session and run on: {', '.join(map(str, one.escaped))}")
    _report(app, closed, several)


def _report(app: App, closed: list[ClosedResult], several: bool) -> None:
    if app.json:
        app.emit(closed if several or len(closed) != 1 else closed[0])
    elif several:
        print(f"closed {len(closed)} session{'' if len(closed) == 1 else 's'}")
