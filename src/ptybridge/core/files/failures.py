"""The system's failures as typed errors that name the path and say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ptybridge.errors import (
    DirectoryNotEmpty,
    FileExists,
    FileFailed,
    FileNotFound,
    FileTooLarge,
    InvalidParams,
    IsADirectory,
    NoSpace,
    NotADirectory,
    NotAFile,
    OutOfDescriptors,
    PermissionDenied,
    PtybridgeError,
)

_KINDS: Final[dict[int, tuple[type[PtybridgeError], str]]] = {
    errno.ENOENT: (FileNotFound, "there is no {path}"),
    errno.EEXIST: (FileExists, "{path} is there already"),
    errno.ENOTDIR: (NotADirectory, "{path} is no directory, or lies below something that is none"),
    errno.EISDIR: (IsADirectory, "{path} is a directory"),
    errno.ENOTEMPTY: (DirectoryNotEmpty, "{path} is not empty"),
    errno.EACCES: (PermissionDenied, "the system denies access to {path}"),
    errno.EPERM: (PermissionDenied, "the system does not permit this to {path}"),
    errno.EROFS: (PermissionDenied, "{path} lies on a file system that is read-only"),
    errno.ENOSPC: (NoSpace, "no space is left for {path}"),
    errno.EDQUOT: (NoSpace, "the quota is used up for {path}"),
    errno.EFBIG: (FileTooLarge, "{path} would be larger than the file system or a limit allows"),
    errno.ENAMETOOLONG: (InvalidParams, "the name is too long: {path}"),
    errno.ENXIO: (NotAFile, "{path} is a device, a FIFO or a socket"),
    errno.EMFILE: (OutOfDescriptors, "no file descriptor is left to open {path}"),
    errno.ENFILE: (OutOfDescriptors, "no file descriptor is left to open {path}"),
}


def translated(exc: OSError, path: str) -> PtybridgeError:
    """Return the typed error for what the system said about `path`."""
    number = exc.errno or 0
    kind, text = _KINDS.get(number, (FileFailed, "{path}: " + (exc.strerror or str(exc)).lower()))
    return kind(text.format(path=path), path=path, errno=number)


@contextmanager
def failing(path: str) -> Iterator[None]:
    """Translate what the system refuses while something is done to `path`."""
    try:
        yield
    except OSError as exc:
        raise translated(exc, path) from exc
