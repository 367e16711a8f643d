"""Listing directories in pages, and reading ranges of files."""

import base64
import os
from typing import Final, Literal, NamedTuple

import msgspec

from ptybridge.core.files.facts import Checked, Details, Facts, details, etag_of, facts
from ptybridge.core.files.failures import failing
from ptybridge.core.files.places import Place
from ptybridge.errors import FileNotFound, InvalidParams

Sort = Literal["name", "size", "modified"]
# How many entries are looked at between two looks at whether anybody still waits.
_CHECK_EVERY: Final = 1000


class Page(NamedTuple):
    """Some entries of a directory, how many there are in all, and where the next page begins."""

    entries: list[Facts]
    total: int
    cursor: str | None


def list_directory(
    place: Place, *, hidden: bool, sort: Sort, descending: bool, limit: int, cursor: str | None, check: Checked
) -> Page:
    """Return a page of a directory's entries, sorted; a cursor is a place in the order, so it outlives changes."""
    after = _decode(cursor, sort, descending) if cursor is not None else None
    fd = place.open_directory()
    try:
        with failing(place.path):
            names = [name for name in os.listdir(fd) if hidden or not name.startswith(".")]
        keys: list[tuple[int, bytes]] = []
        for number, name in enumerate(names):
            if number % _CHECK_EVERY == 0:
                check()
            key = 0
            if sort != "name":
                try:
                    found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError:
                    continue  # it is gone
                key = found.st_size if sort == "size" else found.st_mtime_ns
            keys.append((key, os.fsencode(name)))
        keys.sort(reverse=descending)
        total = len(keys)
        if after is not None:
            keys = [one for one in keys if (one < after if descending else one > after)]
        page = keys[:limit]
        more = len(keys) > limit
        entries = []
        for _, raw in page:
            name = os.fsdecode(raw)
            # Of what is kept from the caller the name may be seen, and nothing done.
            entry = Place(fd, name, os.path.join(place.path, name), place.rules)
            try:
                entries.append(facts(entry, entry.stat()))
            except FileNotFound:
                continue  # gone since
        return Page(entries, total, _encode(page[-1], sort, descending) if more else None)
    finally:
        os.close(fd)


def info(place: Place, *, checksum: bool, check: Checked) -> Details:
    """Return everything about one entry."""
    return details(place, place.stat(), checksum=checksum, check=check)


class Range(NamedTuple):
    """Bytes of a file from `offset` on, and the file they were read from."""

    data: bytes
    size: int
    etag: str
    at_end: bool


def read(place: Place, offset: int, max_bytes: int, check: Checked) -> Range:
    """Read a range of a file, to its end if `max_bytes` go beyond it."""
    fd = place.open_file()
    try:
        with failing(place.path):
            parts = []
            left = max_bytes
            at = offset
            while left and (data := os.pread(fd, min(left, 1 << 20), at)):
                parts.append(data)
                left -= len(data)
                at += len(data)
                check()
            # Files of /proc say 0 and hold more, so only reading tells the end.
            at_end = not os.pread(fd, 1, at)
            found = os.fstat(fd)
        return Range(b"".join(parts), max(found.st_size, at) if parts else found.st_size, etag_of(found), at_end)
    finally:
        os.close(fd)


def _encode(key: tuple[int, bytes], sort: Sort, descending: bool) -> str:
    value = [sort, descending, key[0], base64.b64encode(key[1]).decode()]
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode()


def _decode(cursor: str, sort: Sort, descending: bool) -> tuple[int, bytes]:
    try:
        raw = base64.urlsafe_b64decode(cursor)
        kind, down, key, name = msgspec.json.decode(raw, type=tuple[Sort, bool, int, str])
        decoded = base64.b64decode(name, validate=True)
    except ValueError as exc:
        raise InvalidParams("the cursor is not one that file.list has given") from exc
    if (kind, down) != (sort, descending):
        raise InvalidParams(
            "the cursor belongs to another order", hint="keep `sort` and `descending` from page to page"
        )
    return key, decoded
