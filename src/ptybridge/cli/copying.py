"""`cp`: files between here and the daemon's side, resumed where an interrupted copy has ended."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ptybridge.api import file
from ptybridge.api.transfer import Download, Upload
from ptybridge.cli.app import App
from ptybridge.cli.command import command
from ptybridge.cli.completing import paths
from ptybridge.cli.progress import Progress
from ptybridge.errors import FileExists, FileFailed, FileNotFound, IsADirectory, PermissionDenied, PtybridgeError


@command(
    "cp",
    example="""
    ptybridge cp backup.tar :/srv/backup.tar
    ptybridge cp :~/app/app.log .
    ptybridge cp :~/app/settings.toml :~/app/settings.toml.old
    """,
)
@click.argument("source", metavar="SRC", shell_complete=paths("file"))
@click.argument("destination", metavar="DST", shell_complete=paths("file"))
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace a file that is there.")
@click.option("-p", "--parents", is_flag=True, help="Make directories above DST on the daemon's side.")
def cp_command(app: App, source: str, destination: str, no_clobber: bool, parents: bool) -> None:
    """Copy a file between here and the daemon's side.

    A path on the daemon's side begins with a colon. DST may be a directory. What is interrupted goes on where it was
    when the same command is given again; the file has its name when it is complete and its checksum is right.
    """
    there, here = _remote(source), _remote(destination)
    if there is None and here is None:
        raise click.UsageError("both paths are here; one of them begins with a colon, or use cp")
    if there is not None and here is not None:
        target = _into(app, here, there)
        params = file.CopyFile(
            source=there, destination=target, cwd=os.getcwd(), overwrite=not no_clobber, create_parents=parents
        )
        try:
            path = app.call(file.COPY, params, timeout=None).path
        except IsADirectory as exc:
            exc.hint = "`ptybridge file cp -r` copies directories on the daemon's side"
            raise
    elif here is not None:
        path = _up(app, source, _into(app, here, source), no_clobber, parents)
    else:
        assert there is not None
        path = _down(app, there, destination, no_clobber)
    if app.json:
        app.emit({"path": path})


def _remote(path: str) -> str | None:
    """Return a path on the daemon's side without its mark, None for one here."""
    return path[1:] or "." if path.startswith(":") else None


def _into(app: App, target: str, source: str) -> str:
    """Return the file that is meant: below `target` if that is a directory there."""
    try:
        found = app.call(file.INFO, file.GetFileInfo(path=target, cwd=os.getcwd(), follow=True))
    except PtybridgeError:
        return target  # what is wrong with it the copy itself will say
    return os.path.join(target, os.path.basename(source)) if found.type == "directory" else target


def _up(app: App, source: str, target: str, no_clobber: bool, parents: bool) -> str:
    from ptybridge.sdk.transfer import upload

    with opened(source) as fd:
        found = os.fstat(fd)
        # The same file to the same place is the same upload, and goes on.
        what = (
            f"{os.path.abspath(source)}\0{target}\0{os.getcwd()}\0{found.st_ino}\0{found.st_size}\0{found.st_mtime_ns}"
        )
        upload_id = hashlib.sha256(os.fsencode(what)).hexdigest()[:32]
        progress = Progress(os.path.basename(source))
        params = Upload(
            path=target,
            cwd=os.getcwd(),
            upload_id=upload_id,
            overwrite=not no_clobber,
            create_parents=parents,
            mode=f"{found.st_mode & 0o777:04o}",
        )
        try:
            return upload(app.connect, fd, params, progress, app.come_back).path
        finally:
            progress.end()


def _down(app: App, source: str, target: str, no_clobber: bool) -> str:
    from ptybridge.sdk.transfer import download

    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    if no_clobber and os.path.lexists(target):
        raise FileExists(f"{target} is there already", hint="leave out --no-clobber, or choose another name")
    found = app.call(file.INFO, file.GetFileInfo(path=source, cwd=os.getcwd(), follow=True))
    token = hashlib.sha256(f"{found.path}\0{found.etag}".encode()).hexdigest()[:12]
    directory, name = os.path.split(os.path.abspath(target))
    partial = os.path.join(directory, f".{name[:200]}.ptybridge-{token}")
    progress = Progress(name)
    try:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise local_failure(exc, target) from exc
    try:
        offset = min(os.fstat(fd).st_size, found.size)
        params = Download(path=source, cwd=os.getcwd(), offset=offset, if_match=found.etag)
        try:
            download(app.connect, fd, params, progress, app.come_back)
        except PtybridgeError as exc:
            if not exc.retryable:
                os.unlink(partial)
            raise
        finally:
            progress.end()
        os.fchmod(fd, int(found.mode, 8) & 0o777)
        os.fsync(fd)
        os.rename(partial, target)
    except OSError as exc:
        raise local_failure(exc, target) from exc
    finally:
        os.close(fd)
    return os.path.abspath(target)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a regular file here for reading."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise local_failure(exc, path) from exc
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IsADirectory(f"{path} is no regular file", hint="`ptybridge cp` copies single files")
        yield fd
    finally:
        os.close(fd)


def local_failure(exc: OSError, path: str) -> PtybridgeError:
    """Return the typed error for what the system said about a file here."""
    if isinstance(exc, FileNotFoundError):
        return FileNotFound(f"there is no {path} here")
    if isinstance(exc, PermissionError):
        return PermissionDenied(f"the system denies access to {path}")
    return FileFailed(f"{path}: {(exc.strerror or str(exc)).lower()}", errno=exc.errno or 0)
