"""`open`: the sessions in a browser."""

import contextlib
import os
import secrets
import sys
from html import escape

import click

from ptybridge.api.web import OPEN, OpenWeb
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.targets import find_id, target_argument
from ptybridge.model import Level

# Below the runtime directory, so that it is gone with the user's session at the latest.
_PAGE = "open-{}.html"
# A slow browser has read it by then; the code in it is good once, and for two minutes at most.
PAGE_SECONDS = 60


@command(
    "open",
    example="""
    ptybridge open
    ptybridge open build
    ptybridge open build --read-only --print
    """,
)
@target_argument(required=False)
@click.option("--read-only", is_flag=True, help="The browser sees everything and changes nothing.")
@click.option("--admin", is_flag=True, help="The browser may do all that you may, keys and the daemon itself included.")
@click.option("--print", "only_print", is_flag=True, help="Print the link and open nothing.")
def open_command(app: App, target: str | None, read_only: bool, admin: bool, only_print: bool) -> None:
    """Open the sessions, or the session TARGET, in your browser, and log it in.

    The daemon begins to serve the web if it does not yet. The link is good once, for two minutes; whoever has it by
    then is logged in as you. The browser stays logged in for 30 days, or until `ptybridge key revoke`.
    """
    if read_only and admin:
        raise click.UsageError("--read-only and --admin exclude each other")
    level: Level = "read" if read_only else "admin" if admin else "full"
    session_id = None if target is None else find_id(app, target)
    opened = app.call(OPEN, OpenWeb(level=level, session_id=session_id))
    if app.json:
        app.emit(opened)
    elif only_print or not _show(app, opened.url):
        print(opened.url)
        if sys.stdout.isatty():
            note("the link works once, within two minutes")


def _show(app: App, url: str) -> bool:
    """Open a browser; tell whether there is one.

    It is given a page of ours that leads on, and not the link: what stands on a command line other users can read.
    """
    import webbrowser

    _sweep(app)
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")):
        return False  # a browser in this terminal would take it over, and can show no terminal
    path = os.path.join(app.config.paths.runtime_dir, _PAGE.format(secrets.token_hex(8)))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as page:
        link = escape(url, quote=True)
        page.write(
            '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
            f'<meta http-equiv="refresh" content="0; url={link}"><title>ptybridge</title>'
            f'<a href="{link}">ptybridge</a>\n'
        )
    try:
        return webbrowser.open(f"file://{path}")
    finally:
        _remove_soon(path)


def _remove_soon(path: str) -> None:
    """Remove the page when the browser has had the time to read it, without waiting for that."""
    import subprocess

    subprocess.run(
        ["sh", "-c", '{ sleep "$1"; rm -f -- "$2"; } &', "sh", str(PAGE_SECONDS), path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )


def _sweep(app: App) -> None:
    """Remove the pages of earlier calls that were left, such as by a machine that was switched off."""
    import time

    begin, end = _PAGE.split("{}")
    with contextlib.suppress(OSError):
        for entry in os.scandir(app.config.paths.runtime_dir):
            if entry.name.startswith(begin) and entry.name.endswith(end):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > 120:
                        os.unlink(entry.path)
