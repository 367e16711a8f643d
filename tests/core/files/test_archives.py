"""Archives of confined callers, and archives that nobody has made on purpose: whatever comes, nothing leads out."""

import errno
import io
import os
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core.files import packing, unpacking
from ptybridge.core.files.places import Places, Rules
from ptybridge.errors import OutsideRoots, PtybridgeError
from ptybridge.model import Caller

USER = Caller(principal="uid:1", connection_id="c1")
AGENT = Caller(principal="uid:1", connection_id="c2", profile="mcp")
LIMITS = unpacking.Limits(1 << 30, 10_000, 200)
PARTS = ["..", ".", "", "a", "b", "l", "\0", "ü", "\\", "a" * 300, ".ssh", "/"]


def go_on() -> None:
    """Nobody cancels here."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "place" / "root"
    path.mkdir(parents=True)
    (path.parent / "outside").write_text("untouched")
    return path


@pytest.fixture
def places(root: Path) -> Places:
    return Places(Rules([str(root)]))


def extract(places: Places, caller: Caller, source: Path, target: Path) -> unpacking.Work:
    with places.at(caller, str(source)) as here, places.at(caller, str(target), follow=False) as there:
        return unpacking.extract(here, there, overwrite=False, limits=LIMITS, work=unpacking.Work(), check=go_on)


def pack(places: Places, caller: Caller, source: Path, target: Path) -> packing.Packed:
    work = packing.Packed()
    with places.at(caller, str(source), follow=False) as here, places.at(caller, str(target), follow=False) as there:
        packing.archive([here], there, "tar.gz", overwrite=False, work=work, check=go_on)
    return work


def test_s30_confined_callers_neither_archive_nor_extract_what_is_kept_from_them(places: Places, root: Path) -> None:
    (root / "app" / ".ssh").mkdir(parents=True)
    (root / "app" / ".ssh" / "id").write_text("key")
    with pytest.raises(OutsideRoots):
        pack(places, AGENT, root / "app", root / "a.tar.gz")
    with pytest.raises(OutsideRoots):
        pack(places, AGENT, root.parent / "outside", root / "a.tar.gz")
    with pytest.raises(OutsideRoots):
        pack(places, AGENT, root / "app", root.parent / "a.tar.gz")
    pack(places, USER, root / "app", root / "a.tar.gz")
    with pytest.raises(OutsideRoots):
        extract(places, AGENT, root / "a.tar.gz", root / "out")
    with pytest.raises(OutsideRoots):
        extract(places, AGENT, root / "a.tar.gz", root.parent / "out")
    (root / "link").symlink_to("a.tar.gz")
    with pytest.raises(OutsideRoots):
        extract(places, AGENT, root / "link", root / "out")
    assert sorted(os.listdir(root)) == ["a.tar.gz", "app", "link"]
    extract(places, USER, root / "a.tar.gz", root / "out")
    assert (root / "out/app/.ssh/id").read_text() == "key"


names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("/".join)
members = st.lists(st.tuples(names, st.sampled_from(["file", "dir", "sym", "link"]), names), max_size=6)


@settings(max_examples=150)
@given(members=members)
def test_s30_whatever_names_and_links_an_archive_has_nothing_leads_out(
    places: Places, root: Path, members: list[tuple[str, str, str]]
) -> None:
    kinds = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "sym": tarfile.SYMTYPE, "link": tarfile.LNKTYPE}
    with tarfile.open(root / "a.tar", "w") as made:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kinds[kind], target
            info.size = 4 if kind == "file" else 0
            made.addfile(info, io.BytesIO(b"data"))
    try:
        extract(places, USER, root / "a.tar", root / "out")
    except PtybridgeError:
        assert os.listdir(root) == ["a.tar"]
    else:
        inside = os.path.realpath(root / "out")
        for one in (root / "out").rglob("*"):
            assert _circles(one) or os.path.realpath(one).startswith(inside), one
        _remove(root / "out")
    assert sorted(os.listdir(root.parent)) == ["outside", "root"]
    assert (root.parent / "outside").read_text() == "untouched"


@settings(max_examples=150)
@given(kind=st.sampled_from(["zip", "tar", "tar.gz"]), at=st.floats(0, 1), change=st.binary(min_size=1, max_size=40))
def test_s30_damaged_archives_fail_with_a_type_and_leave_nothing(
    places: Places, root: Path, kind: str, at: float, change: bytes
) -> None:
    path = root / "a"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("d/f", b"text " * 50)
            zipped.writestr("g", b"more")
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as made:
            for name in ("d/f", "g" * 150, "ü" * 60):
                info = tarfile.TarInfo(name)
                info.size = 250
                made.addfile(info, io.BytesIO(b"text " * 50))
    data = bytearray(path.read_bytes())
    begin = int(at * len(data))
    data[begin : begin + len(change)] = change
    path.write_bytes(data)
    try:
        extract(places, USER, path, root / "out")
    except PtybridgeError:
        assert os.listdir(root) == ["a"]
    else:
        _remove(root / "out")
    assert sorted(os.listdir(root.parent)) == ["outside", "root"]


def _circles(path: Path) -> bool:
    """Tell whether a link leads back to itself, thus nowhere; of "x//" for "x" `realpath` says that it leads to "/"."""
    try:
        os.stat(path)
    except OSError as exc:
        return exc.errno == errno.ELOOP
    return False


def _remove(path: Path) -> None:
    for one in sorted(path.rglob("*"), reverse=True):
        # A link first: what it leads to may be too long a name even to look at.
        if one.is_symlink() or not one.is_dir():
            one.unlink()
        else:
            one.rmdir()
    path.rmdir()


def test_memory_stays_flat_however_many_members_there_are(places: Places, root: Path) -> None:
    with tarfile.open(root / "a.tar", "w") as made:
        for number in range(6000):
            info = tarfile.TarInfo(f"f{number}")
            info.size = 1
            made.addfile(info, io.BytesIO(b"x"))
            made.members.clear()  # type: ignore[attr-defined]
    tracemalloc.start()
    try:
        extract(places, USER, root / "a.tar", root / "out")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 << 20, most


def test_headers_that_would_fill_memory_are_refused(places: Places, root: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    with open(root / "a.tar", "wb") as made:
        made.write(info.tobuf(tarfile.GNU_FORMAT))
        made.truncate(1 << 34)
    with pytest.raises(PtybridgeError, match="a header of"):
        extract(places, USER, root / "a.tar", root / "out")
    assert os.listdir(root) == ["a.tar"]
