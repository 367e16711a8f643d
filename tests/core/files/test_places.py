"""Where callers may go: the user everywhere, everybody else below the roots, never through a link, never to keys."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptybridge.core.files import copying, openat, reading, trees, writing
from ptybridge.core.files.places import Places, Rules
from ptybridge.core.files.search import Search, Wanted
from ptybridge.core.matching import finder
from ptybridge.errors import FileNotFound, InvalidParams, NotADirectory, NotAFile, OutsideRoots, PtybridgeError
from ptybridge.model import Caller

USER = Caller(principal="uid:1", connection_id="c1")
AGENT = Caller(principal="uid:1", connection_id="c2", profile="mcp")
KEY = Caller(principal="key:1", connection_id="c3", scopes=frozenset({"file:read"}))
RACE_SECONDS = 3.0
AT_FDCWD = -100


def go_on() -> None:
    """Nobody cancels here."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "f").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return path


@pytest.fixture
def places(root: Path) -> Places:
    return Places(Rules([str(root)]))


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of opening a directory below a root."""
    if request.param == "walk":
        monkeypatch.setattr("ptybridge.core.files.places.open_beneath", openat._walk)
    return str(request.param)


def read(places: Places, caller: Caller, path: object, cwd: str | None = None) -> str:
    with places.at(caller, str(path), cwd) as place:
        return reading.read(place, 0, 1000, go_on).data.decode()


def write(places: Places, caller: Caller, path: object, text: str = "x", make_parents: bool = False) -> None:
    with places.at(caller, str(path), make_parents=make_parents) as place:
        writing.write(place, text.encode(), overwrite=True, mode=None, if_match=None, check=go_on)


def test_s30_confined_callers_stay_below_their_roots(places: Places, root: Path, way: str) -> None:
    assert read(places, AGENT, root / "sub" / "f") == "inside"
    assert read(places, AGENT, "sub/f", str(root)) == "inside"
    assert read(places, USER, root.parent / "secret") == "outside"
    for path in (root.parent / "secret", "/etc/passwd", f"{root}/../secret", f"{root}/sub/../../secret", f"{root}x"):
        for caller in (AGENT, KEY):
            with pytest.raises(OutsideRoots):
                read(places, caller, path)
    with pytest.raises(OutsideRoots):
        read(places, AGENT, "../secret", str(root))
    with pytest.raises(InvalidParams, match="NUL"):
        read(places, AGENT, f"{root}/sub/f\0")
    with pytest.raises(FileNotFound):
        read(places, AGENT, f"{root}/..%2fsecret")
    write(places, AGENT, root / "new" / "deep" / "f", make_parents=True)
    assert (root / "new/deep/f").read_text() == "x"


def test_s30_links_are_not_followed_wherever_they_stand(places: Places, root: Path, way: str) -> None:
    (root / "out").symlink_to(root.parent)
    (root / "file").symlink_to(root.parent / "secret")
    (root / "in").symlink_to("sub")
    (root / "proc").symlink_to("/proc/self/root")
    for path in ("out/secret", "file", "in/f", "proc/etc/passwd"):
        assert read(places, USER, root / path)
        with pytest.raises((OutsideRoots, NotADirectory)):
            read(places, AGENT, root / path)
        with pytest.raises((OutsideRoots, NotADirectory)):
            write(places, AGENT, root / path / "below", make_parents=True)
    write(places, AGENT, root / "file", "replaced")
    assert (root.parent / "secret").read_text() == "outside"
    assert not (root / "file").is_symlink()
    with places.at(AGENT, str(root / "out"), follow=False) as place:
        assert trees.delete(place, recursive=True, missing_ok=False, check=go_on) == 1
    assert (root.parent / "secret").exists()


def test_s30_a_root_that_is_reached_by_a_link_works(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    places = Places(Rules([str(root.parent / "alias")]))
    assert read(places, AGENT, root.parent / "alias" / "sub" / "f") == "inside"
    assert read(places, AGENT, root / "sub" / "f") == "inside"


@pytest.mark.parametrize(
    "path",
    [".ssh/id_ed25519", "x/.SSH/config", ".netrc", ".git-credentials", ".env", "app/.env.production",
     ".aws/credentials", ".docker/config.json", ".config/gcloud/x", ".mozilla/firefox/p/logins.json",
     "mine/key", "state/keeper.log"],
)  # fmt: skip
def test_s30_credentials_are_kept_from_confined_callers(root: Path, path: str) -> None:
    places = Places(Rules([str(root)], deny=["mine/key"], own=[str(root / "state")]))
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("key")
    assert read(places, USER, root / path) == "key"
    with pytest.raises(OutsideRoots, match="credentials"):
        read(places, AGENT, root / path)
    with pytest.raises(OutsideRoots, match="credentials"):
        write(places, AGENT, root / path)
    top = path.partition("/")[0]
    with places.at(AGENT, str(root)) as place:
        page = reading.list_directory(
            place, hidden=True, sort="name", descending=False, limit=100, cursor=None, check=go_on
        )
        assert top in [one.name for one in page.entries]
    # Neither by taking the whole tree away, nor by copying or deleting it.
    holder = root / "holder"
    holder.mkdir()
    (root / top).rename(holder / top)
    if path.startswith("state"):
        return
    with places.at(AGENT, str(holder), follow=False) as source, places.at(AGENT, str(root / "t"), follow=False) as to:
        with pytest.raises(OutsideRoots):
            copying.move(source, to, overwrite=False, check=go_on)
        with pytest.raises(OutsideRoots):
            copying.copy(source, to, overwrite=False, recursive=True, check=go_on)
        with pytest.raises(OutsideRoots):
            trees.delete(source, recursive=True, missing_ok=False, check=go_on)
    assert (holder / path).read_text() == "key"
    assert not (root / "t").exists()


def test_s30_templates_of_environments_are_no_credentials(places: Places, root: Path) -> None:
    write(places, AGENT, root / ".env.example")
    assert read(places, AGENT, root / ".env.example") == "x"


def test_s30_what_is_no_file_is_refused_without_waiting(places: Places, root: Path) -> None:
    os.mkfifo(root / "fifo")
    for caller in (USER, AGENT):
        with pytest.raises(NotAFile):
            read(places, caller, root / "fifo")
        with pytest.raises(NotAFile):
            write(places, caller, root / "fifo")


def test_s30_files_of_several_names_are_refused_where_asked(root: Path) -> None:
    os.link(root.parent / "secret", root / "hard")
    assert read(Places(Rules([str(root)])), AGENT, root / "hard") == "outside"
    strict = Places(Rules([str(root)], hard_links=False))
    assert read(strict, USER, root / "hard") == "outside"
    with pytest.raises(OutsideRoots, match="hard links"):
        read(strict, AGENT, root / "hard")


def test_s30_a_search_passes_over_what_is_kept_from_the_caller(places: Places, root: Path) -> None:
    (root / ".env").write_text("inside")
    (root / "out").symlink_to(root.parent)
    line = finder("inside|outside", regex=True, ignore_case=False)
    wanted = Wanted(name=None, line=line, context=0, limit=100, depth=None, hidden=True, ignore=False)
    for caller, names, skipped in [(USER, [".env", "f"], 0), (AGENT, ["f"], 1)]:
        search = Search(wanted, go_on)
        with places.at(caller, str(root)) as place:
            found = [one for one in search.run(place) if one is not None]
        assert ([one.entry.name for one in found], search.skipped) == (names, skipped)


# -- races ---------------------------------------------------------------------------------------------------


def swap(path: Path, outside: Path, stop: threading.Event) -> None:
    """Exchange a directory for a link, and back, as fast as it goes."""
    link = path.with_name("link")
    link.symlink_to(outside)
    here, there = os.fsencode(path), os.fsencode(link)
    # renameat2(2) with RENAME_EXCHANGE: at no moment is there nothing.
    number = openat._SYS_RENAMEAT2[os.uname().machine]
    while not stop.is_set():
        assert openat._libc.syscall(number, AT_FDCWD, here, AT_FDCWD, there, 2) == 0
    if path.is_symlink():
        openat._libc.syscall(number, AT_FDCWD, here, AT_FDCWD, there, 2)


@pytest.fixture
def racing(root: Path) -> Iterator[Path]:
    """A directory of which nobody knows at any moment whether it is a link to somewhere outside."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text("outside")
    (outside / "precious").write_text("outside")
    stop = threading.Event()
    thread = threading.Thread(target=swap, args=(root / "sub", outside, stop))
    thread.start()
    yield root / "sub"
    stop.set()
    thread.join()
    assert sorted(one.name for one in outside.iterdir()) == ["f", "precious"]
    assert (outside / "f").read_text() == "outside"


def hammer(places: Places, racing: Path, root: Path, seconds: float) -> int:
    """Do everything there is through the racing directory; return how often reading succeeded."""
    succeeded = 0
    deadline = time.monotonic() + seconds

    def read_it() -> None:
        nonlocal succeeded
        assert read(places, AGENT, racing / "f") == "inside"
        succeeded += 1

    def delete_it() -> None:
        with places.at(AGENT, str(racing / "made"), follow=False) as place:
            trees.delete(place, recursive=True, missing_ok=True, check=go_on)

    def copy_it() -> None:
        with places.at(AGENT, str(racing), follow=False) as source, places.at(AGENT, f"{root}/copy") as to:
            copying.copy(source, to, overwrite=False, recursive=True, check=go_on)
        if (root / "copy").is_symlink():
            (root / "copy").unlink()  # a link is copied as a link, and leads nobody anywhere
            return
        assert (root / "copy" / "f").read_text() == "inside"
        with places.at(USER, f"{root}/copy", follow=False) as place:
            trees.delete(place, recursive=True, missing_ok=False, check=go_on)

    doings: list[Callable[[], None]] = [
        read_it,
        lambda: write(places, AGENT, racing / "f", "inside"),
        lambda: write(places, AGENT, racing / "made" / "x", make_parents=True),
        delete_it,
        copy_it,
    ]
    while True:
        for doing in doings:
            try:
                doing()
            except PtybridgeError:
                continue  # refused, or not there at that moment
        if time.monotonic() > deadline and succeeded:
            return succeeded


def test_s30_a_race_of_links_never_leads_out(places: Places, racing: Path, root: Path, way: str) -> None:
    assert hammer(places, racing, root, RACE_SECONDS) > 0


@pytest.mark.soak
def test_s30_soak_a_race_of_links_for_a_minute(places: Places, racing: Path, root: Path, way: str) -> None:
    assert hammer(places, racing, root, 60) > 0


# -- properties ----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "sub", "f", "..", ".", "", "link", ".ssh", "ä", "x" * 300])


@given(st.lists(NAMES, max_size=6), st.booleans())
def test_s30_any_path_stays_inside_or_is_refused(root: Path, places: Places, names: list[str], relative: bool) -> None:
    if not (root / "link").is_symlink():
        (root / "link").symlink_to("/")
    path = "/".join(names) or "."
    try:
        with places.at(AGENT, path if relative else f"{root}/{path}", str(root)) as place:
            assert PurePosixPath(place.path).is_relative_to(root)
            held = os.readlink(f"/proc/self/fd/{place.dir_fd}")
            assert PurePosixPath(held).is_relative_to(root)
            assert "/" not in place.name
            assert place.name != ".."
    except PtybridgeError:
        event = {"..", "link", ".ssh", "x" * 300, "a", "b", "f", "ä", "sub", ""}
        assert event.intersection(names) or path.startswith("/")


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(1, 300))
def test_a_range_is_that_of_the_bytes(root: Path, places: Places, data: bytes, offset: int, size: int) -> None:
    (root / "r").write_bytes(data)
    with places.at(USER, str(root / "r")) as place:
        got = reading.read(place, offset, size, go_on)
    assert (got.data, got.at_end) == (data[offset : offset + size], offset + size >= len(data))
