"""`file`: what can be done with files on the daemon's side, one word each."""

import os
import shutil
import sys
import tempfile

import click

from ptybridge.api import file
from ptybridge.api.transfer import Download, Upload
from ptybridge.cli import output
from ptybridge.cli.app import App
from ptybridge.cli.archiving import archive_command, extract_command, fetch_command
from ptybridge.cli.command import Group, command
from ptybridge.cli.completing import paths
from ptybridge.cli.finding import find_command
from ptybridge.cli.watching import watch_command
from ptybridge.errors import InvalidParams

# Deleting and copying trees takes as long as it takes.
PATIENT = None

_KIND_STYLES = {"directory": "bold", "symlink": "green", "file": ""}


@command(
    "ls",
    example="""
    ptybridge file ls ~/app
    ptybridge file ls -a --sort size --reverse /var/log
    """,
)
@click.argument("path", default=".", shell_complete=paths("file"))
@click.option("-a", "--all", "hidden", is_flag=True, help="Also names that begin with a dot.")
@click.option("--sort", type=click.Choice(["name", "size", "modified"]), default="name", help="The order.")
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
def ls_command(app: App, path: str, hidden: bool, sort: str, reverse: bool) -> None:
    """List a directory."""
    entries: list[file.FileEntry] = []
    cursor = None
    while True:
        params = file.ListFiles(
            path=path, cwd=os.getcwd(), hidden=hidden, sort=sort, descending=reverse, cursor=cursor, limit=10_000  # type: ignore[arg-type]
        )  # fmt: skip
        page = app.call(file.LIST, params)
        entries += page.entries
        cursor = page.next_cursor
        if cursor is None:
            break
    if app.json:
        app.emit(entries)
        return
    rows = [
        [(one.permissions, ""), (output.size(one.size) if one.type == "file" else "-", ""),
         (output.clock(one.modified_ms), "dim"),
         (one.name + (f" → {one.target}" if one.target else ""), _KIND_STYLES.get(one.type, "yellow"))]
        for one in entries
    ]  # fmt: skip
    if rows:
        print(*output.table(("MODE", "SIZE", "MODIFIED", "NAME"), rows, ("MODE", "MODIFIED")), sep="\n")


@command("cat", example="ptybridge file cat ~/app/settings.toml", json=False)
@click.argument("path", shell_complete=paths("file"))
def cat_command(app: App, path: str) -> None:
    """Print a file as it is."""
    from ptybridge.sdk.transfer import download

    with tempfile.TemporaryFile() as spool:
        download(app.connect, spool.fileno(), Download(path=path, cwd=os.getcwd()), None, app.come_back)
        shutil.copyfileobj(spool, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@command(
    "write",
    example="""
    ptybridge file write -p ~/app/settings.toml < settings.toml
    date | ptybridge file write --append ~/log
    """,
)
@click.argument("path", shell_complete=paths("file"))
@click.option("-p", "--parents", is_flag=True, help="Make the directories above it.")
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace a file that is there.")
@click.option("--append", is_flag=True, help="Add to its end (up to 16 MiB).")
@click.option("--mode", metavar="0644", help="Its permissions.")
@click.option("--if-match", metavar="ETAG", help="Only if it is still the file with this etag (`file info`).")
def write_command(
    app: App, path: str, parents: bool, no_clobber: bool, append: bool, mode: str | None, if_match: str | None
) -> None:
    """Write standard input into a file: whole, or not at all."""
    from ptybridge.sdk.transfer import upload

    if append:
        from base64 import b64encode

        data = sys.stdin.buffer.read((16 << 20) + 1)
        if len(data) > 16 << 20:
            raise InvalidParams("more than 16 MiB cannot be added at once", hint="write it whole")
        params = file.WriteFile(
            path=path, cwd=os.getcwd(), data=b64encode(data).decode(), encoding="base64", append=True,
            create_parents=parents, mode=mode, if_match=if_match,
        )  # fmt: skip
        done = app.call(file.WRITE, params)
        size, etag, where = done.size, done.etag, done.path
    else:
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            wanted = Upload(path=path, cwd=os.getcwd(), create_parents=parents, overwrite=not no_clobber, mode=mode,
                            if_match=if_match)  # fmt: skip
            stored = upload(app.connect, spool.fileno(), wanted, None, app.come_back)
            size, etag, where = stored.size, stored.etag, stored.path
    if app.json:
        app.emit({"path": where, "size": size, "etag": etag})


@command(
    "rm",
    example="""
    ptybridge file rm ~/app/old.log
    ptybridge file rm -r ~/app/build
    """,
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", shell_complete=paths("file"))
@click.option("-r", "--recursive", is_flag=True, help="Directories, with everything below them.")
@click.option("-f", "--force", is_flag=True, help="It is no failure that there is nothing.")
def rm_command(app: App, paths: tuple[str, ...], recursive: bool, force: bool) -> None:
    """Delete files; links are deleted, never what they lead to."""
    deleted = 0
    for path in paths:
        params = file.DeleteFile(path=path, cwd=os.getcwd(), recursive=recursive, missing_ok=force)
        deleted += app.call(file.DELETE, params, timeout=PATIENT).deleted
    if app.json:
        app.emit({"deleted": deleted})


@command("cp", example="ptybridge file cp -r ~/app ~/app.old")
@click.argument("source", metavar="SRC", shell_complete=paths("file"))
@click.argument("destination", metavar="DST", shell_complete=paths("file"))
@click.option("-r", "--recursive", is_flag=True, help="A directory, with everything below it.")
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
@click.option("-p", "--parents", is_flag=True, help="Make the directories above DST.")
def cp_command(app: App, source: str, destination: str, recursive: bool, force: bool, parents: bool) -> None:
    """Copy to exactly DST, which appears when it is complete."""
    params = file.CopyFile(source=source, destination=destination, cwd=os.getcwd(), recursive=recursive,
                           overwrite=force, create_parents=parents)  # fmt: skip
    done = app.call(file.COPY, params, timeout=PATIENT)
    if app.json:
        app.emit(done)


@command("mv", example="ptybridge file mv ~/app/new.toml ~/app/settings.toml --force")
@click.argument("source", metavar="SRC", shell_complete=paths("file"))
@click.argument("destination", metavar="DST", shell_complete=paths("file"))
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
@click.option("-p", "--parents", is_flag=True, help="Make the directories above DST.")
def mv_command(app: App, source: str, destination: str, force: bool, parents: bool) -> None:
    """Move or rename to exactly DST."""
    params = file.MoveFile(source=source, destination=destination, cwd=os.getcwd(), overwrite=force,
                           create_parents=parents)  # fmt: skip
    done = app.call(file.MOVE, params, timeout=PATIENT)
    if app.json:
        app.emit(done)


@command("mkdir", example="ptybridge file mkdir -p ~/app/data/cache")
@click.argument("path", shell_complete=paths("file"))
@click.option("-p", "--parents", is_flag=True, help="Also those above it; one that is there will do.")
@click.option("--mode", metavar="0755", help="Its permissions.")
def mkdir_command(app: App, path: str, parents: bool, mode: str | None) -> None:
    """Make a directory."""
    made = app.call(file.MKDIR, file.MakeDirectory(path=path, cwd=os.getcwd(), parents=parents, mode=mode))
    if app.json:
        app.emit(made)


@command(
    "info",
    example="""
    ptybridge file info /etc/os-release
    ptybridge file info --sha256 backup.tar --json | jq -r .sha256
    """,
)
@click.argument("path", shell_complete=paths("file"))
@click.option("-L", "--follow", is_flag=True, help="Of a link: what it leads to.")
@click.option("--sha256", is_flag=True, help="Also the checksum, which reads the whole file.")
def info_command(app: App, path: str, follow: bool, sha256: bool) -> None:
    """Show everything about a file."""
    params = file.GetFileInfo(path=path, cwd=os.getcwd(), follow=follow, checksum="sha256" if sha256 else None)
    found = app.call(file.INFO, params, timeout=PATIENT)
    if app.json:
        app.emit(found)
        return
    rights = [word for word in ("readable", "writable", "executable") if getattr(found, word)]
    print(
        *output.pairs(
            [
                ("path", found.path),
                ("type", found.type + (f" → {found.target}" if found.target else "")),
                ("size", f"{found.size} bytes"),
                ("mode", f"{found.mode} ({found.permissions})"),
                ("owner", f"{found.owner or found.uid}:{found.group or found.gid}"),
                ("access", ", ".join(rights) or "none"),
                ("modified", output.clock(found.modified_ms)),
                ("content", found.mime_type or ""),
                ("sha256", found.sha256 or ""),
                ("etag", found.etag),
            ]
        ),
        sep="\n",
    )


@click.group(
    "file",
    cls=Group,
    subcommand_metavar="WORD …",
    example="""
    ptybridge file ls -a ~/app
    ptybridge file cat ~/app/settings.toml
    ptybridge file write -p ~/app/settings.toml < settings.toml
    ptybridge file rm -r ~/app/build
    """,
)
def file_command() -> None:
    """List, read, write and change files on the daemon's side.

    Relative paths begin at the present directory. `ptybridge file WORD --help` explains each; `ptybridge cp` brings
    files there and back.
    """


for _each in (
    ls_command,
    cat_command,
    write_command,
    rm_command,
    cp_command,
    mv_command,
    mkdir_command,
    info_command,
    find_command,
    archive_command,
    extract_command,
    watch_command,
    fetch_command,
):
    file_command.add_command(_each)
