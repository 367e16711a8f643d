"""`file.*` over every endpoint: what is done is done whole, and every failure says why."""

import base64
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.endpoints import Client

from ptybridge.api import file
from ptybridge.errors import (
    DirectoryNotEmpty,
    EtagMismatch,
    FileExists,
    FileNotFound,
    InvalidParams,
    IsADirectory,
    NotADirectory,
    NotAFile,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


def left_over(place: Path) -> list[Path]:
    return [one for one in place.rglob("*") if ".ptybridge-" in one.name]


async def test_write_and_read_again(client: Client, place: Path) -> None:
    written = await client.call(file.WRITE, path=str(place / "a.txt"), data="Grüße\n")
    assert (written.path, written.size) == (str(place / "a.txt"), 8)
    got = await client.call(file.READ, path=str(place / "a.txt"))
    assert (got.data, got.lossy, got.offset, got.next_offset, got.size, got.eof) == ("Grüße\n", False, 0, 8, 8, True)
    assert got.etag == written.etag
    raw = bytes(range(256))
    await client.call(file.WRITE, path=str(place / "b"), data=base64.b64encode(raw).decode(), encoding="base64")
    assert (place / "b").read_bytes() == raw
    got = await client.call(file.READ, path=str(place / "b"), encoding="base64", offset=250, max_bytes=3)
    assert (base64.b64decode(got.data), got.next_offset, got.eof) == (raw[250:253], 253, False)
    assert (await client.call(file.READ, path=str(place / "b"))).lossy


async def test_ranges_of_text_never_split_a_character_and_always_end(client: Client, place: Path) -> None:
    text = "a€b𝄞ü" * 20
    (place / "t").write_text(text, encoding="utf-8")
    for size in (1, 3, 4, 5, 7, 1000):
        offset, pieces = 0, []
        while True:
            got = await client.call(file.READ, path=str(place / "t"), offset=offset, max_bytes=size)
            assert not got.lossy
            assert got.next_offset > offset or got.eof
            pieces.append(got.data)
            offset = got.next_offset
            if got.eof:
                break
        assert "".join(pieces) == text
    beyond = await client.call(file.READ, path=str(place / "t"), offset=10_000)
    assert (beyond.data, beyond.eof) == ("", True)


async def test_paths(client: Client, place: Path) -> None:
    home = Path(os.environ["HOME"])
    await client.call(file.WRITE, path="~/note", data="1")
    assert (home / "note").read_text() == "1"
    await client.call(file.WRITE, path="note", cwd=str(place), data="2")
    (place / "x").mkdir()
    assert (await client.call(file.READ, path=f"{place}/x/../note")).data == "2"
    with pytest.raises(InvalidParams, match="relative"):
        await client.call(file.READ, path="note")
    with pytest.raises(InvalidParams, match="NUL"):
        await client.call(file.READ, path="/a\0b")
    with pytest.raises(InvalidParams, match="no user"):
        await client.call(file.READ, path="~nobody-of-this-name/x")
    with pytest.raises(InvalidParams, match="too long"):
        await client.call(file.READ, path=f"{place}/{'n' * 300}")


async def test_failures_say_what_and_change_nothing(client: Client, place: Path) -> None:
    (place / "d").mkdir()
    (place / "f").write_text("old")
    os.mkfifo(place / "fifo")
    for path, kind in [("none", FileNotFound), ("f/x", NotADirectory), ("d", IsADirectory), ("fifo", NotAFile)]:
        with pytest.raises(kind, match=path.partition("/")[0]) as failed:
            await client.call(file.READ, path=str(place / path))
        assert failed.value.data["path"] == str(place / path)
    with pytest.raises(NotAFile):
        await client.call(file.READ, path="/dev/zero")
    with pytest.raises(FileNotFound):
        await client.call(file.WRITE, path=str(place / "no" / "f"), data="x")
    with pytest.raises(FileExists):
        await client.call(file.WRITE, path=str(place / "f"), data="x", overwrite=False)
    with pytest.raises(IsADirectory):
        await client.call(file.WRITE, path=str(place / "d"), data="x")
    with pytest.raises(NotAFile):
        await client.call(file.WRITE, path=str(place / "fifo"), data="x")
    with pytest.raises(InvalidParams):
        await client.call(file.WRITE, path=str(place / "f"), data="?", encoding="base64")
    with pytest.raises(InvalidParams):
        await client.call(file.WRITE, path=str(place / "f"), data="x", mode="999")
    with pytest.raises(FileExists):
        await client.call(file.MKDIR, path=str(place / "d"))
    assert (place / "f").read_text() == "old"
    assert sorted(os.listdir(place)) == ["d", "f", "fifo"]


async def test_a_replaced_file_keeps_its_mode_and_links_lead_on(client: Client, place: Path) -> None:
    (place / "script").write_text("old")
    (place / "script").chmod(0o751)
    (place / "link").symlink_to("script")
    await client.call(file.WRITE, path=str(place / "link"), data="new")
    assert (place / "link").is_symlink()
    assert (place / "script").read_text() == "new"
    assert stat.S_IMODE((place / "script").stat().st_mode) == 0o751
    await client.call(file.WRITE, path=str(place / "script"), data="new", mode="0600")
    assert stat.S_IMODE((place / "script").stat().st_mode) == 0o600
    await client.call(file.WRITE, path=str(place / "x" / "y" / "z"), data="deep", create_parents=True)
    assert (place / "x/y/z").read_text() == "deep"
    assert left_over(place) == []


async def test_append_and_if_match(client: Client, place: Path) -> None:
    path = str(place / "log")
    first = await client.call(file.WRITE, path=path, data="one\n", append=True)
    second = await client.call(file.WRITE, path=path, data="two\n", append=True, if_match=first.etag)
    assert (place / "log").read_text() == "one\ntwo\n"
    for append in (True, False):
        with pytest.raises(EtagMismatch) as failed:
            await client.call(file.WRITE, path=path, data="three\n", append=append, if_match=first.etag)
        assert failed.value.data["etag"] == second.etag
    assert (place / "log").read_text() == "one\ntwo\n"
    await client.call(file.WRITE, path=path, data="3", if_match=second.etag)
    with pytest.raises(EtagMismatch, match="gone"):
        await client.call(file.WRITE, path=str(place / "none"), data="x", if_match=first.etag)
    assert not (place / "none").exists()


async def test_list_in_pages_sorted_and_hidden(client: Client, place: Path) -> None:
    for number in range(25):
        (place / f"f{number:02}").write_bytes(b"x" * (25 - number))
        os.utime(place / f"f{number:02}", ns=(0, (number % 5) * 10**9))
    (place / ".hidden").touch()
    for sort in ("name", "size", "modified"):
        for descending in (False, True):
            names, cursor = [], None
            while True:
                page = await client.call(
                    file.LIST, path=str(place), sort=sort, descending=descending, limit=7, cursor=cursor
                )
                assert page.total == 25
                names += [one.name for one in page.entries]
                cursor = page.next_cursor
                if cursor is None:
                    break
            key = {
                "name": lambda n: n,
                "size": lambda n: ((place / n).stat().st_size, n),
                "modified": lambda n: ((place / n).stat().st_mtime, n),
            }[sort]
            assert names == sorted([f"f{n:02}" for n in range(25)], key=key, reverse=descending)
    shown = await client.call(file.LIST, path=str(place), hidden=True)
    assert shown.entries[0].name == ".hidden"
    assert shown.entries[0].hidden
    page = await client.call(file.LIST, path=str(place), limit=5)
    for name in ("f00", "f04", "f05"):
        (place / name).unlink()
    page = await client.call(file.LIST, path=str(place), limit=2, cursor=page.next_cursor)
    assert [one.name for one in page.entries] == ["f06", "f07"]
    for bad in ("?", "AAAA"):
        with pytest.raises(InvalidParams, match="cursor"):
            await client.call(file.LIST, path=str(place), cursor=bad)
    with pytest.raises(InvalidParams, match="another order"):
        await client.call(file.LIST, path=str(place), cursor=page.next_cursor, descending=True)
    with pytest.raises(NotADirectory):
        await client.call(file.LIST, path=str(place / "f01"))


async def test_names_that_are_no_text_are_shown(client: Client, place: Path) -> None:
    os.mkdir(os.fsencode(place) + b"/b\xe4d")
    [entry] = (await client.call(file.LIST, path=str(place))).entries
    assert (entry.name, base64.b64decode(entry.name_base64 or "")) == ("b\\xe4d", b"b\xe4d")
    assert (await client.call(file.DELETE, path=str(place), recursive=True)).deleted == 2


async def test_info(client: Client, place: Path) -> None:
    (place / "a.html").write_text("<p>")
    (place / "a.html").chmod(0o640)
    (place / "link").symlink_to("a.html")
    got = await client.call(file.INFO, path=str(place / "a.html"), checksum="sha256")
    real = (place / "a.html").stat()
    assert (got.name, got.type, got.size, got.mode, got.permissions) == ("a.html", "file", 3, "0640", "rw-r-----")
    assert (got.uid, got.links, got.mime_type, got.hidden) == (real.st_uid, 1, "text/html", False)
    assert got.modified_ms == real.st_mtime_ns // 10**6
    assert got.created_ms is None or got.created_ms <= got.changed_ms
    assert (got.readable, got.writable, got.sha256) == (True, True, hashlib.sha256(b"<p>").hexdigest())
    link = await client.call(file.INFO, path=str(place / "link"))
    assert (link.type, link.target, link.sha256) == ("symlink", "a.html", None)
    assert (await client.call(file.INFO, path=str(place / "link"), follow=True)).name == "a.html"
    assert (await client.call(file.INFO, path="/")).type == "directory"
    assert (await client.call(file.INFO, path="/dev/null")).type == "device"
    with pytest.raises(FileNotFound):
        await client.call(file.INFO, path=str(place / "none"))


async def test_delete_never_follows(client: Client, place: Path) -> None:
    (place / "keep").mkdir()
    (place / "keep" / "f").touch()
    (place / "tree" / "sub").mkdir(parents=True)
    (place / "tree" / "sub" / "f").touch()
    (place / "tree" / "link").symlink_to(place / "keep")
    (place / "to-keep").symlink_to("keep")
    with pytest.raises(IsADirectory, match="not empty"):
        await client.call(file.DELETE, path=str(place / "tree"))
    assert (await client.call(file.DELETE, path=str(place / "tree"), recursive=True)).deleted == 4
    assert (await client.call(file.DELETE, path=str(place / "to-keep"), recursive=True)).deleted == 1
    assert (place / "keep" / "f").exists()
    with pytest.raises(FileNotFound):
        await client.call(file.DELETE, path=str(place / "tree"))
    assert (await client.call(file.DELETE, path=str(place / "tree"), missing_ok=True)).deleted == 0
    with pytest.raises(InvalidParams, match="root"):
        await client.call(file.DELETE, path="/", recursive=True)
    with pytest.raises(InvalidParams, match="root"):
        await client.call(file.DELETE, path="/tmp/../..", recursive=True)
    (place / "empty").mkdir()
    assert (await client.call(file.DELETE, path=str(place / "empty"))).deleted == 1


async def test_copy(client: Client, place: Path) -> None:
    (place / "a").write_text("content")
    (place / "a").chmod(0o755)
    await client.call(file.COPY, source=str(place / "a"), destination=str(place / "b"))
    assert ((place / "b").read_text(), stat.S_IMODE((place / "b").stat().st_mode)) == ("content", 0o755)
    (place / "c").write_text("other")
    with pytest.raises(FileExists):
        await client.call(file.COPY, source=str(place / "a"), destination=str(place / "c"))
    await client.call(file.COPY, source=str(place / "a"), destination=str(place / "c"), overwrite=True)
    assert (place / "c").read_text() == "content"
    with pytest.raises(InvalidParams, match="same file"):
        await client.call(file.COPY, source=str(place / "a"), destination=str(place / "a"), overwrite=True)
    with pytest.raises(FileNotFound):
        await client.call(file.COPY, source=str(place / "none"), destination=str(place / "d"))
    (place / "tree" / "sub").mkdir(parents=True)
    (place / "tree" / "sub" / "f").write_text("f")
    (place / "tree" / "link").symlink_to("sub/f")
    with pytest.raises(IsADirectory):
        await client.call(file.COPY, source=str(place / "tree"), destination=str(place / "t2"))
    with pytest.raises(InvalidParams, match="inside"):
        await client.call(file.COPY, source=str(place / "tree"), destination=f"{place}/tree/sub/x", recursive=True)
    params = {"source": str(place / "tree"), "recursive": True}
    assert (await client.call(file.COPY, **params, destination=str(place / "t2"))).copied == 4
    assert (place / "t2" / "sub" / "f").read_text() == "f"
    assert os.readlink(place / "t2" / "link") == "sub/f"
    with pytest.raises(DirectoryNotEmpty):
        await client.call(file.COPY, **params, destination=str(place / "t2"), overwrite=True)
    os.mkfifo(place / "tree" / "fifo")
    with pytest.raises(NotAFile, match="fifo"):
        await client.call(file.COPY, **params, destination=str(place / "t3"))
    assert not (place / "t3").exists()
    assert left_over(place) == []


async def test_holes_stay_holes(client: Client, place: Path) -> None:
    with (place / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 32)
        sparse.seek(1 << 31)
        sparse.write(b"middle")
    await client.call(file.COPY, source=str(place / "sparse"), destination=str(place / "copy"))
    copied = (place / "copy").stat()
    assert copied.st_size == 1 << 32
    assert copied.st_blocks * 512 < 1 << 24
    got = await client.call(file.READ, path=str(place / "copy"), offset=1 << 31, max_bytes=6)
    assert got.data == "middle"


async def test_move(client: Client, place: Path) -> None:
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    with pytest.raises(FileExists):
        await client.call(file.MOVE, source=str(place / "a"), destination=str(place / "b"))
    assert ((place / "a").read_text(), (place / "b").read_text()) == ("a", "b")
    await client.call(file.MOVE, source=str(place / "a"), destination=str(place / "b"), overwrite=True)
    assert (place / "b").read_text() == "a"
    assert not (place / "a").exists()
    (place / "d").mkdir()
    (place / "d" / "f").write_text("f")
    with pytest.raises(InvalidParams, match="inside"):
        await client.call(file.MOVE, source=str(place / "d"), destination=str(place / "d" / "e"))
    await client.call(file.MOVE, source=str(place / "d"), destination=f"{place}/x/y", create_parents=True)
    assert (place / "x/y/f").read_text() == "f"
    (place / "link").symlink_to("b")
    await client.call(file.MOVE, source=str(place / "link"), destination=str(place / "link2"))
    assert (place / "link2").is_symlink()
    with pytest.raises(IsADirectory):
        await client.call(file.MOVE, source=str(place / "b"), destination=str(place / "x"), overwrite=True)
    with pytest.raises(FileNotFound):
        await client.call(file.MOVE, source=str(place / "none"), destination=str(place / "z"))


@pytest.fixture
def elsewhere(runtime_dir: Path, place: Path) -> Iterator[Path]:
    """A directory on another file system."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == place.stat().st_dev:
        pytest.skip("needs a second file system")
    path = shared / runtime_dir.name
    path.mkdir()
    yield path
    shutil.rmtree(path)


async def test_move_to_another_file_system(client: Client, place: Path, elsewhere: Path) -> None:
    (place / "d").mkdir()
    (place / "d" / "f").write_text("f")
    await client.call(file.MOVE, source=str(place / "d"), destination=str(elsewhere / "d"))
    assert (elsewhere / "d" / "f").read_text() == "f"
    assert not (place / "d").exists()
    await client.call(file.MOVE, source=str(elsewhere / "d" / "f"), destination=str(place / "f"))
    assert (place / "f").read_text() == "f"


async def test_mkdir(client: Client, place: Path) -> None:
    made = await client.call(file.MKDIR, path=str(place / "a"), mode="0700")
    assert (made.created, stat.S_IMODE((place / "a").stat().st_mode)) == (True, 0o700)
    with pytest.raises(FileNotFound):
        await client.call(file.MKDIR, path=str(place / "b" / "c"))
    assert (await client.call(file.MKDIR, path=str(place / "b" / "c"), parents=True)).created
    assert not (await client.call(file.MKDIR, path=str(place / "b" / "c"), parents=True)).created
    (place / "f").touch()
    with pytest.raises(FileExists):
        await client.call(file.MKDIR, path=str(place / "f"), parents=True)
