"""`file watch`."""

import os

import click

from ptybridge.api import watch
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.completing import paths
from ptybridge.errors import FileNotFound
from ptybridge.text import printable


@command(
    "watch",
    example="""
    ptybridge file watch -r ~/app
    ptybridge file watch -n 1 ~/app/settings.toml && make reload
    """,
)
@click.argument("path", default=".", shell_complete=paths("file"))
@click.option("-r", "--recursive", is_flag=True, help="Also everything below.")
@click.option("-n", "--count", type=click.IntRange(1), metavar="N", help="End after so many changes.")
def watch_command(app: App, path: str, recursive: bool, count: int | None) -> None:
    """Print what happens to a file or in a directory, until Ctrl-C or until it is gone.

    With --json each change is one line.
    """
    params = watch.WatchFiles(path=path, cwd=os.getcwd(), recursive=recursive)
    for event in app.stream(watch.WATCH, params):
        if app.json:
            app.emit_line(event)
        elif isinstance(event, watch.FileGap):
            note("more happened than could be told; look at everything again")
        else:
            mark = "/" if event.directory else ""
            old = f"{printable(event.old_path)}{mark} → " if event.old_path else ""
            print(f"{event.change:8}  {old}{printable(event.path)}{mark}", flush=True)
        if count is not None:
            count -= isinstance(event, watch.FileChange)
            if not count:
                return
    raise FileNotFound(f"{path} is gone")
