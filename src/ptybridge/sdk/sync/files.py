# Made from `sdk/aio` by `make docs`; do not edit.
"""Files of the daemon's machine as bytes and paths, with cmdop's names; every failure raises."""

import base64
import builtins
import os
import tempfile
from os import PathLike
from typing import Literal

from ptybridge.api import archive as archive_api
from ptybridge.api import fetch as fetch_api
from ptybridge.api import file
from ptybridge.api.transfer import Download, Downloading, Upload
from ptybridge.errors import EtagMismatch
from ptybridge.sdk.durations import milliseconds
from ptybridge.sdk.shapes import Info, Listing, shaped
from ptybridge.sdk.sync.connection import in_thread
from ptybridge.sdk.sync.methods import FileMethods
from ptybridge.sdk.sync.transfers import Progress, download, upload
from ptybridge.sdk.sync.works import WorkProgress, worked
from ptybridge.wire.attach import Stored

LIST, INFO = shaped(file.LIST, Listing), shaped(file.INFO, Info)
PIECE_BYTES = 4 << 20
# What goes up in one request; beyond, a channel carries it.
REQUEST_BYTES = 8 << 20

StrPath = str | PathLike[str]


class Files(FileMethods):
    """Files. Paths are absolute, begin with `~`, or count from the caller's directory (or `cwd`).

    `session_id` is there for programs that were written for cmdop, and has no effect: files belong to the machine.
    """

    def list(
        self,
        path: StrPath,
        include_hidden: bool = False,
        page_size: int = 100,
        page_token: str | None = None,
        session_id: str | None = None,
        *,
        sort: Literal["name", "size", "modified"] = "name",
        descending: bool = False,
        cwd: str | None = None,
    ) -> Listing:
        """List a directory, a page at a time: `page_token` is the `next_page_token` of the page before."""
        params = file.ListFiles(
            path=os.fspath(path),
            cwd=cwd,
            hidden=include_hidden,
            sort=sort,
            descending=descending,
            limit=page_size,
            cursor=page_token,
        )
        return self._link.call(LIST, params)

    def read(
        self,
        path: StrPath,
        offset: int = 0,
        length: int = 0,
        session_id: str | None = None,
        *,
        cwd: str | None = None,
    ) -> bytes:
        """Read a file, or `length` bytes of it from `offset` on; 0 is everything, which is held in memory."""
        parts: list[bytes] = []
        etag, left = None, length
        while True:
            size = min(PIECE_BYTES, left) if length else PIECE_BYTES
            params = file.ReadFile(path=os.fspath(path), cwd=cwd, offset=offset, max_bytes=size, encoding="base64")
            piece = self._link.call(file.READ, params)
            if etag not in (None, piece.etag):
                raise EtagMismatch(f"{piece.path} changed while it was read")
            etag = piece.etag
            data = base64.b64decode(piece.data)
            parts.append(data)
            offset, left = piece.next_offset, left - len(data)
            if piece.eof or not data or (length and left <= 0):
                return b"".join(parts)

    def write(
        self,
        path: StrPath,
        content: bytes | str,
        create_parents: bool = False,
        overwrite: bool = True,
        session_id: str | None = None,
        *,
        append: bool = False,
        mode: str | None = None,
        if_match: str | None = None,
        cwd: str | None = None,
    ) -> file.FileWritten:
        """Write a file whole, in place of what was there; or add to its end with `append` (at most 16 MiB)."""
        data = content.encode() if isinstance(content, str) else bytes(content)
        if append or len(data) <= REQUEST_BYTES:
            params = file.WriteFile(
                path=os.fspath(path),
                data=base64.b64encode(data).decode("ascii"),
                cwd=cwd,
                encoding="base64",
                create_parents=create_parents,
                overwrite=overwrite,
                append=append,
                mode=mode,
                if_match=if_match,
            )
            return self._link.call(file.WRITE, params)
        with tempfile.TemporaryFile() as spool:
            in_thread(spool.write, data)
            in_thread(spool.flush)
            wanted = Upload(
                path=os.fspath(path),
                cwd=cwd,
                create_parents=create_parents,
                overwrite=overwrite,
                mode=mode,
                if_match=if_match,
            )
            stored = upload(self._link, spool.fileno(), wanted)
        return file.FileWritten(path=stored.path, size=stored.size, etag=stored.etag)

    def delete(
        self,
        path: StrPath,
        recursive: bool = False,
        session_id: str | None = None,
        *,
        missing_ok: bool = False,
        cwd: str | None = None,
    ) -> file.FilesDeleted:
        """Delete a file, a link, an empty directory or, with `recursive`, a whole tree."""
        params = file.DeleteFile(path=os.fspath(path), cwd=cwd, recursive=recursive, missing_ok=missing_ok)
        return self._link.call(file.DELETE, params)

    def copy(
        self,
        source: StrPath,
        destination: StrPath,
        session_id: str | None = None,
        *,
        overwrite: bool = False,
        recursive: bool = False,
        create_parents: bool = False,
        cwd: str | None = None,
    ) -> file.FilesCopied:
        """Copy a file or, with `recursive`, a tree to exactly `destination`."""
        params = file.CopyFile(
            source=os.fspath(source),
            destination=os.fspath(destination),
            cwd=cwd,
            overwrite=overwrite,
            create_parents=create_parents,
            recursive=recursive,
        )
        return self._link.call(file.COPY, params)

    def move(
        self,
        source: StrPath,
        destination: StrPath,
        session_id: str | None = None,
        *,
        overwrite: bool = False,
        create_parents: bool = False,
        cwd: str | None = None,
    ) -> file.FileMoved:
        """Move or rename a file, a link or a tree to exactly `destination`."""
        params = file.MoveFile(
            source=os.fspath(source),
            destination=os.fspath(destination),
            cwd=cwd,
            overwrite=overwrite,
            create_parents=create_parents,
        )
        return self._link.call(file.MOVE, params)

    def mkdir(
        self,
        path: StrPath,
        create_parents: bool = True,
        session_id: str | None = None,
        *,
        mode: str | None = None,
        cwd: str | None = None,
    ) -> file.DirectoryMade:
        """Make a directory, and with `create_parents` those above it."""
        params = file.MakeDirectory(path=os.fspath(path), cwd=cwd, parents=create_parents, mode=mode)
        return self._link.call(file.MKDIR, params)

    def info(
        self,
        path: StrPath,
        session_id: str | None = None,
        *,
        follow: bool = False,
        checksum: Literal["sha256"] | None = None,
        cwd: str | None = None,
    ) -> Info:
        """Tell everything about an entry."""
        params = file.GetFileInfo(path=os.fspath(path), cwd=cwd, follow=follow, checksum=checksum)
        return self._link.call(INFO, params)

    def upload(
        self,
        source: StrPath,
        path: StrPath,
        *,
        progress: Progress | None = None,
        create_parents: bool = False,
        overwrite: bool = True,
        mode: str | None = None,
        if_match: str | None = None,
        cwd: str | None = None,
    ) -> Stored:
        """Send the local file `source` up as `path`: in constant memory, verified, never half under its name.

        `progress` is called with (bytes done, bytes in all). Local failures are `OSError`s.
        """
        with open(source, "rb") as local:
            params = Upload(
                path=os.fspath(path),
                cwd=cwd,
                create_parents=create_parents,
                overwrite=overwrite,
                mode=mode,
                if_match=if_match,
            )
            return upload(self._link, local.fileno(), params, progress)

    def download(
        self, path: StrPath, target: StrPath, *, progress: Progress | None = None, cwd: str | None = None
    ) -> Downloading:
        """Get a file into the local file `target`, which appears when it is complete and verified."""
        directory, name = os.path.split(os.path.abspath(target))
        partial = tempfile.NamedTemporaryFile(prefix=f".{name[:200]}.", dir=directory, delete=False)  # noqa: SIM115
        try:
            with partial:
                params = Download(path=os.fspath(path), cwd=cwd)
                done = download(self._link, partial.fileno(), params, progress)
                os.fchmod(partial.fileno(), int(done.mode, 8) & 0o777)
                in_thread(os.fsync, partial.fileno())
            os.replace(partial.name, target)
        except BaseException:
            os.unlink(partial.name)
            raise
        return done

    def archive(
        self,
        sources: StrPath | builtins.list[StrPath],
        destination: StrPath,
        *,
        progress: WorkProgress | None = None,
        format: archive_api.ArchiveFormat | None = None,
        overwrite: bool = False,
        create_parents: bool = False,
        cwd: str | None = None,
    ) -> archive_api.Archived:
        """Put files and trees into an archive at exactly `destination`, which appears when it is complete.

        Without `format` the name of `destination` tells it: zip, tar, tar.gz or tar.zst. `progress` gets a
        `FileProgress` (`done_bytes`, `entries`, `name`) now and then; what it raises ends the work, and leaves nothing.
        """
        params = archive_api.Archive(
            sources=[os.fspath(one) for one in (sources if isinstance(sources, builtins.list) else [sources])],
            destination=os.fspath(destination),
            cwd=cwd,
            format=format,
            overwrite=overwrite,
            create_parents=create_parents,
        )
        return worked(self._link, archive_api.ARCHIVE, params, archive_api.Archived, progress)

    def extract(
        self,
        source: StrPath,
        destination: StrPath,
        *,
        progress: WorkProgress | None = None,
        overwrite: bool = False,
        create_parents: bool = False,
        max_bytes: int = 64 << 30,
        max_entries: int = 1_000_000,
        max_ratio: int = 200,
        cwd: str | None = None,
    ) -> archive_api.Extracted:
        """Extract an archive to exactly `destination`, a directory that appears when everything is in it.

        What leads out of it, comes twice or grows beyond the bounds is refused whole. `progress`: see `archive`.
        """
        params = archive_api.Extract(
            source=os.fspath(source),
            destination=os.fspath(destination),
            cwd=cwd,
            overwrite=overwrite,
            create_parents=create_parents,
            max_bytes=max_bytes,
            max_entries=max_entries,
            max_ratio=max_ratio,
        )
        return worked(self._link, archive_api.EXTRACT, params, archive_api.Extracted, progress)

    def fetch(
        self,
        url: str,
        path: StrPath,
        *,
        progress: WorkProgress | None = None,
        overwrite: bool = False,
        create_parents: bool = False,
        mode: str | None = None,
        sha256: str | None = None,
        max_bytes: int = 4 << 30,
        timeout: float = 3600.0,
        cwd: str | None = None,
    ) -> fetch_api.FileFetched:
        """Get an http or https URL into a file on the daemon's side, where its configuration allows that.

        `progress`: see `archive`; `total_bytes` is what the other side announces.
        """
        params = fetch_api.FetchFile(
            url=url,
            path=os.fspath(path),
            cwd=cwd,
            overwrite=overwrite,
            create_parents=create_parents,
            mode=mode,
            sha256=sha256,
            max_bytes=max_bytes,
            timeout_ms=milliseconds(timeout),
        )
        return worked(self._link, fetch_api.FETCH, params, fetch_api.FileFetched, progress)
