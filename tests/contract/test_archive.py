"""`file.archive` and `file.extract` over every endpoint: whole or not at all, and nothing leads out."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client, StreamEnded

from ptybridge.api import archive
from ptybridge.api.operation import Operation
from ptybridge.errors import (
    BadArchive,
    DirectoryNotEmpty,
    FileExists,
    FileNotFound,
    FileTooLarge,
    InvalidParams,
    PtybridgeError,
    UnsafeArchive,
)

FORMATS = ["zip", "tar", "tar.gz", "tar.zst"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


async def run(client: Client, operation: Operation[Any, Any], **params: Any) -> Any:
    """Return the last event. Raises what the stream ends with."""
    last, end = None, ""
    failed: PtybridgeError | None = None
    async with client.stream(operation, **params) as stream:
        while not end and failed is None:
            try:
                last = await stream.next()
            except StreamEnded as ended:
                end = ended.reason
            except PtybridgeError as exc:
                failed = exc  # raised here it would come out in a group
    if failed is not None:
        raise failed
    assert end == "finished"
    return last


def tree(place: Path) -> Path:
    top = place / "app"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "run").write_text("#!/bin/sh\n")
    (top / "run").chmod(0o751)
    (top / "sub" / "grüße").write_bytes(bytes(range(256)) * 5000)
    (top / "sub" / "deep" / "up").symlink_to("../../run")
    (top / "sub" / "nothing").write_bytes(b"")
    (top / "sub").chmod(0o555)
    os.utime(top / "run", (1_600_000_000, 1_600_000_000))
    return top


def picture(top: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in sorted(top.rglob("*")):
        name, mode = str(one.relative_to(top)), stat.S_IMODE(one.lstat().st_mode)
        if one.is_symlink():
            found[name] = os.readlink(one)
        else:
            found[name] = (mode, None if one.is_dir() else one.read_bytes())
    return found


@pytest.mark.parametrize("form", FORMATS)
async def test_a_tree_comes_out_as_it_went_in(client: Client, place: Path, form: str) -> None:
    top = tree(place)
    os.mkfifo(top / "fifo")
    made = await run(client, archive.ARCHIVE, sources=["app"], destination=f"a.{form}", cwd=str(place))
    assert (made.path, made.format, made.size) == (str(place / f"a.{form}"), form, (place / f"a.{form}").stat().st_size)
    assert (made.files, made.directories, made.links, made.skipped) == (3, 4, 1, 1)
    assert made.bytes == 256 * 5000 + 10
    (top / "fifo").unlink()
    done = await run(client, archive.EXTRACT, source=f"a.{form}", destination="out", cwd=str(place))
    assert (done.path, done.entries, done.bytes) == (str(place / "out"), 8, 256 * 5000 + 10)
    assert picture(place / "out" / "app") == picture(top)
    assert (place / "out" / "app" / "run").stat().st_mtime == 1_600_000_000
    assert sorted(os.listdir(place)) == [f"a.{form}", "app", "out"]


async def test_what_is_there_is_not_replaced_unasked(client: Client, place: Path) -> None:
    tree(place)
    (place / "a.zip").write_text("old")
    with pytest.raises(FileExists):
        await run(client, archive.ARCHIVE, sources=[str(place / "app")], destination=str(place / "a.zip"))
    assert (place / "a.zip").read_text() == "old"
    await run(client, archive.ARCHIVE, sources=[str(place / "app")], destination=str(place / "a.zip"), overwrite=True)
    (place / "out").mkdir()
    here = {"source": str(place / "a.zip"), "destination": str(place / "out")}
    with pytest.raises(FileExists):
        await run(client, archive.EXTRACT, **here)
    await run(client, archive.EXTRACT, **here, overwrite=True)
    with pytest.raises(DirectoryNotEmpty):
        await run(client, archive.EXTRACT, **here, overwrite=True)
    with pytest.raises(InvalidParams, match="what kind"):
        await run(client, archive.ARCHIVE, sources=[str(place / "app")], destination=str(place / "a.rar"))
    with pytest.raises(FileNotFound):
        await run(client, archive.ARCHIVE, sources=[str(place / "no")], destination=str(place / "b.zip"))
    both = [str(place / "app"), str(place / "out" / "app")]
    with pytest.raises(InvalidParams, match="called app"):
        await run(client, archive.ARCHIVE, sources=both, destination=str(place / "b.zip"))
    assert sorted(os.listdir(place)) == ["a.zip", "app", "out"]


async def test_an_archive_inside_of_what_it_archives_leaves_itself_out(client: Client, place: Path) -> None:
    top = tree(place)
    await run(client, archive.ARCHIVE, sources=[str(top)], destination=str(top / "self.tar"))
    with tarfile.open(top / "self.tar") as made:
        assert not [one for one in made.getnames() if "self" in one]


def tar_of(*members: tuple[str, bytes, str]) -> Callable[[Path], None]:
    """Make a tar of (name, type, link) members."""

    def make(path: Path) -> None:
        with tarfile.open(path, "w") as made:
            for name, kind, link in members:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, link
                data = b"data" if kind == tarfile.REGTYPE else b""
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))

    return make


def zip_of(*names: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as made:
            for name in names:
                info = zipfile.ZipInfo(name)
                if name.startswith("link"):
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                made.writestr(info, "../../outside")

    return make


REG, SYM, LNK, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
HOSTILE: dict[str, Callable[[Path], None]] = {
    "up": tar_of(("../evil", REG, "")),
    "up in the middle": tar_of(("a/../../evil", REG, "")),
    "absolute": tar_of(("/tmp/evil", REG, "")),
    "link out": tar_of(("l", SYM, "../outside")),
    "absolute link": tar_of(("l", SYM, "/etc/passwd")),
    "through a link": tar_of(("d", DIR, ""), ("l", SYM, "d"), ("l/evil", REG, "")),
    "link over link": tar_of(("a/b", DIR, ""), ("a/b/top", SYM, "../.."), ("m", SYM, "a/b/top/../outside")),
    "hard link out": tar_of(("h", LNK, "../outside")),
    "hard link absolute": tar_of(("h", LNK, "/etc/passwd")),
    "hard link to nothing": tar_of(("h", LNK, "none")),
    "hard link to a link": tar_of(("l", SYM, "x"), ("h", LNK, "l")),
    "twice": tar_of(("f", REG, ""), ("./f", REG, "")),
    "file as directory": tar_of(("f", REG, ""), ("f/g", REG, "")),
    "fifo": tar_of(("p", tarfile.FIFOTYPE, "")),
    "device": tar_of(("p", tarfile.CHRTYPE, "")),
    "zip up": zip_of("../evil"),
    "zip absolute": zip_of("/tmp/evil"),
    "zip link": zip_of("link"),
}


@pytest.mark.parametrize("what", sorted(HOSTILE))
async def test_s30_archives_that_lead_out_are_refused_whole(client: Client, place: Path, what: str) -> None:
    (place / "outside").write_text("untouched")
    HOSTILE[what](place / "a")
    with pytest.raises(UnsafeArchive):
        await run(client, archive.EXTRACT, source=str(place / "a"), destination=str(place / "out"))
    assert sorted(os.listdir(place)) == ["a", "outside"]
    assert (place / "outside").read_text() == "untouched"


async def test_hard_links_inside_stay_links_and_bits_of_others_are_not_taken(client: Client, place: Path) -> None:
    with tarfile.open(place / "a.tar", "w") as made:
        info = tarfile.TarInfo("d/f")
        info.size, info.mode = 4, 0o6755
        made.addfile(info, io.BytesIO(b"data"))
        link = tarfile.TarInfo("g")
        link.type, link.linkname = LNK, "d/f"
        made.addfile(link)
    await run(client, archive.EXTRACT, source=str(place / "a.tar"), destination=str(place / "out"))
    assert (place / "out/g").samefile(place / "out/d/f")
    assert stat.S_IMODE((place / "out/g").stat().st_mode) & 0o7000 == 0


async def test_s30_bombs_are_refused(client: Client, place: Path) -> None:
    with zipfile.ZipFile(place / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as made, made.open("zeros", "w") as into:
        for _ in range(80):
            into.write(bytes(1 << 20))
    here = {"source": str(place / "bomb.zip"), "destination": str(place / "out")}
    with pytest.raises(FileTooLarge, match="200 times"):
        await run(client, archive.EXTRACT, **here)
    with pytest.raises(FileTooLarge, match="more than 1000 bytes"):
        await run(client, archive.EXTRACT, **here, max_bytes=1000)
    assert os.listdir(place) == ["bomb.zip"]
    await run(client, archive.EXTRACT, **here, max_ratio=2000)
    assert (place / "out/zeros").stat().st_size == 80 << 20
    assert (place / "out/zeros").stat().st_blocks * 512 < 8 << 20
    zip_of("a", "b", "c")(place / "many.zip")
    with pytest.raises(FileTooLarge, match="2 members"):
        await run(client, archive.EXTRACT, source=str(place / "many.zip"), destination=str(place / "m"), max_entries=2)


@pytest.mark.parametrize("form", FORMATS)
async def test_what_is_cut_off_or_damaged_is_refused(client: Client, place: Path, form: str) -> None:
    (place / "f").write_bytes(os.urandom(300_000))
    await run(client, archive.ARCHIVE, sources=[str(place / "f")], destination=str(place / "a"), format=form)
    whole = (place / "a").read_bytes()
    for size in (0, 1, 100, 512, 1000, 200_000, len(whole) - 10_000 if form == "tar" else len(whole) - 1):
        (place / "cut").write_bytes(whole[:size])
        with pytest.raises(BadArchive):
            await run(client, archive.EXTRACT, source=str(place / "cut"), destination=str(place / "out"))
    if form != "tar":
        (place / "cut").write_bytes(whole[:150_000] + bytes([whole[150_000] ^ 1]) + whole[150_001:])
        with pytest.raises(BadArchive):
            await run(client, archive.EXTRACT, source=str(place / "cut"), destination=str(place / "out"))
    assert sorted(os.listdir(place)) == ["a", "cut", "f"]


async def test_a_cancelled_archive_leaves_nothing(client: Client, place: Path) -> None:
    (place / "large").touch()
    os.truncate(place / "large", 1 << 40)
    with trio.fail_after(PATIENCE_SECONDS):
        async with client.stream(archive.ARCHIVE, sources=["large"], destination="a.tar.gz", cwd=str(place)) as stream:
            # On a busy machine the first may be told before the thread has begun.
            while not (event := await stream.next()).done_bytes:
                pass
            assert event.name == "large"
        while True:
            if os.listdir(place) == ["large"]:
                return
            await trio.sleep(0.01)


async def test_failures_have_a_type(client: Client, place: Path) -> None:
    (place / "text").write_text("no archive")
    with pytest.raises(BadArchive) as failed:
        await run(client, archive.EXTRACT, source=str(place / "text"), destination=str(place / "out"))
    assert isinstance(failed.value, PtybridgeError)
    assert not failed.value.retryable
