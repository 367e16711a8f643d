"""`file archive`, `file extract` and `file fetch`."""

import os
from typing import Any

import click
import msgspec

from ptybridge.api import archive, fetch
from ptybridge.api.operation import Operation, Params
from ptybridge.cli import output
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.completing import paths
from ptybridge.cli.progress import Progress
from ptybridge.errors import ConnectionLost
from ptybridge.text import printable

_SUFFIXES = (".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz", ".tgz", ".tzst", ".tar", ".zip")


@command(
    "archive",
    example="""
    ptybridge file archive ~/backup.tar.zst ~/app ~/notes
    ptybridge file archive --force site.zip site
    """,
)
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("sources", nargs=-1, required=True, metavar="SRC…", shell_complete=paths("file"))
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
@click.option("-p", "--parents", is_flag=True, help="Make the directories above ARCHIVE.")
@click.option(
    "--format", "kind", type=click.Choice(["zip", "tar", "tar.gz", "tar.zst"]), help="Instead of what the name says."
)
def archive_command(
    app: App, archive_path: str, sources: tuple[str, ...], force: bool, parents: bool, kind: str | None
) -> None:
    """Put files and trees into an archive, which appears when it is complete."""
    params = archive.Archive(
        sources=list(sources), destination=archive_path, cwd=os.getcwd(), overwrite=force, create_parents=parents,
        format=kind,  # type: ignore[arg-type]
    )  # fmt: skip
    done = watched(app, archive.ARCHIVE, params, archive_path)
    if app.json:
        app.emit(done)
    elif done.skipped:
        note(f"left out {done.skipped} that are no files (devices, FIFOs, sockets)")


@command(
    "extract",
    example="""
    ptybridge file extract ~/backup.tar.zst ~/restored
    ptybridge file extract site.zip
    """,
)
@click.argument("archive_path", metavar="ARCHIVE")
@click.argument("destination", required=False, metavar="[DST]", shell_complete=paths("file"))
@click.option("-f", "--force", is_flag=True, help="DST may be there, if it is empty.")
@click.option("-p", "--parents", is_flag=True, help="Make the directories above DST.")
@click.option("--max-bytes", type=click.IntRange(0), default=64 << 30, metavar="N", help="What may come out in all.")
@click.option("--max-entries", type=click.IntRange(1), default=1_000_000, metavar="N", help="How many members.")
@click.option("--max-ratio", type=click.IntRange(1), default=200, metavar="N", help="Times the archive's own size.")
def extract_command(
    app: App,
    archive_path: str,
    destination: str | None,
    force: bool,
    parents: bool,
    max_bytes: int,
    max_entries: int,
    max_ratio: int,
) -> None:
    """Extract to exactly DST, a directory that appears when everything is in it.

    Without DST it is called like the archive. What would lead out of it is refused.
    """
    params = archive.Extract(
        source=archive_path, destination=destination or _without_suffix(archive_path), cwd=os.getcwd(),
        overwrite=force, create_parents=parents, max_bytes=max_bytes, max_entries=max_entries, max_ratio=max_ratio,
    )  # fmt: skip
    done = watched(app, archive.EXTRACT, params, archive_path)
    if app.json:
        app.emit(done)
    else:
        print(f"{printable(done.path)}: {done.entries} entries, {output.size(done.bytes)}")


@command(
    "fetch",
    example="""
    ptybridge file fetch https://example.org/data.csv ~/data.csv
    ptybridge file fetch --sha256 9f86d08…0f00a08 https://example.org/tool ~/bin/tool
    """,
)
@click.argument("url")
@click.argument("path", shell_complete=paths("file"))
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
@click.option("-p", "--parents", is_flag=True, help="Make the directories above PATH.")
@click.option("--mode", metavar="0644", help="Its permissions.")
@click.option("--sha256", metavar="HEX", help="The checksum it must have.")
@click.option("--max-bytes", type=click.IntRange(0), default=4 << 30, metavar="N", help="How large it may be.")
def fetch_command(
    app: App, url: str, path: str, force: bool, parents: bool, mode: str | None, sha256: str | None, max_bytes: int
) -> None:
    """Get a URL into a file on the daemon's side: whole, or not at all.

    The configuration has to allow it: `[files] fetch = true`.
    """
    params = fetch.FetchFile(
        url=url, path=path, cwd=os.getcwd(), overwrite=force, create_parents=parents, mode=mode, sha256=sha256,
        max_bytes=max_bytes,
    )  # fmt: skip
    done = watched(app, fetch.FETCH, params, path)
    if app.json:
        app.emit(done)


def watched(app: App, operation: Operation[Any, Any], params: Params, name: str) -> Any:
    """Run a stream of progress to its end and return its last event; the bar is for who looks."""
    progress = Progress(os.path.basename(name))
    last: msgspec.Struct | None = None
    try:
        with app.once(operation) as connection:
            for event in connection.stream(operation, params):
                if not isinstance(event, archive.FileProgress):
                    last = event
                elif event.total_bytes is not None:
                    progress(event.done_bytes, event.total_bytes)
                else:
                    progress.count(event.done_bytes, event.name)
    finally:
        progress.end()
    if last is None:
        raise ConnectionLost("the daemon has ended before it was done", hint="nothing was left; do it again")
    return last


def _without_suffix(path: str) -> str:
    name = os.path.basename(path.rstrip("/"))
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    raise click.UsageError(f"{name} does not tell what to call the directory; give DST")
