"""`file find`."""

import os

import click

from ptybridge.api import file, find
from ptybridge.cli.app import App, note
from ptybridge.cli.command import command
from ptybridge.cli.completing import paths
from ptybridge.errors import ConnectionLost
from ptybridge.text import printable


@command(
    "find",
    example="""
    ptybridge file find ~/app -g '*.py'
    ptybridge file find -e 'TODO|FIXME' -C 2 ~/app
    """,
    exits="0 when something was found, 1 when nothing was",
)
@click.argument("path", default=".", shell_complete=paths("file"))
@click.option("-g", "--glob", metavar="GLOB", help="Names, or with a slash in it paths, that fit.")
@click.option("-e", "--pattern", metavar="REGEX", help="Lines that match (RE2).")
@click.option("-i", "--ignore-case", is_flag=True, help="Upper or lower case.")
@click.option("-C", "--context", type=click.IntRange(0, 20), default=0, metavar="N", help="Lines around each.")
@click.option(
    "-n", "--max", "limit", type=click.IntRange(1, 10_000_000), default=1000, metavar="N", help="At most so many."
)
@click.option("-a", "--all", "hidden", is_flag=True, help="Also names that begin with a dot.")
@click.option("--no-ignore", is_flag=True, help="Also what .gitignore leaves out.")
def find_command(
    app: App,
    path: str,
    glob: str | None,
    pattern: str | None,
    ignore_case: bool,
    context: int,
    limit: int,
    hidden: bool,
    no_ignore: bool,
) -> int:
    """Find files by name, by a line they hold, or both; each is printed when it is found."""
    params = find.FindFiles(
        path=path,
        cwd=os.getcwd(),
        glob=glob,
        pattern=pattern,
        ignore_case=ignore_case,
        context_lines=context,
        max_results=limit,
        hidden=hidden,
        ignore=not no_ignore,
    )
    last: find.FindFinished | None = None
    matches: list[file.FileMatch] = []
    count = 0
    with app.once(find.FIND) as connection:
        stream = connection.stream(find.FIND, params)
        for event in stream:
            if isinstance(event, find.FindFinished):
                last = event
            elif isinstance(event, find.FileFound):
                count += 1
                match = file.FileMatch(entry=event.entry, lines=event.lines)
                if app.json:
                    matches.append(match)
                else:
                    _print(match)
    if last is None:
        raise ConnectionLost("the daemon has ended before everything was looked at")
    if app.json:
        told = {"searched_files": last.searched_files, "skipped": last.skipped}
        app.emit(file.FileMatches(path=stream.opened.path, matches=matches, truncated=last.truncated, **told))
    elif last.truncated:
        note(f"there is more than {limit}; -n takes more")
    return 0 if count else 1


def _print(match: file.FileMatch) -> None:
    name = printable(match.entry.path)
    if not match.lines:
        print(name, flush=True)
    for line in match.lines:
        for number, text in enumerate(line.before, line.number - len(line.before)):
            print(f"{name}-{number}-{printable(text)}")
        print(f"{name}:{line.number}:{printable(line.text)}", flush=True)
        for number, text in enumerate(line.after, line.number + 1):
            print(f"{name}-{number}-{printable(text)}")
