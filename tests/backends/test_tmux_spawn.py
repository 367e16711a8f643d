import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ptybridge.backends.tmux_spawn import MAX_DIRECTORY_BYTES, TmuxServer, group_name, prepare_directory
from ptybridge.core.child import ChildSpec
from ptybridge.errors import UnsafePath
from ptybridge.testing.running import ENV, SIZE


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="td.", dir="/tmp") as path:
        yield Path(path)


@pytest.mark.parametrize("path", [Path(), Path("t"), Path("/tmp") / ("x" * MAX_DIRECTORY_BYTES)])
async def test_a_directory_that_cannot_have_sockets_is_refused_and_not_made(path: Path) -> None:
    spec = ChildSpec(argv=["true"], cwd="/", env=ENV, size=SIZE)
    with pytest.raises(UnsafePath) as refused:
        await TmuxServer(path / "s.tmux").spawn(spec)
    assert refused.value.hint is not None
    assert "PTYBRIDGE_TMUX_DIR" in refused.value.hint
    assert not path.joinpath("s.tmux").exists()
    await trio.lowlevel.checkpoint()


def test_the_longest_directory_has_room_for_every_socket(short: Path) -> None:
    path = short / ("x" * (MAX_DIRECTORY_BYTES - len(os.fsencode(short)) - 1))
    assert prepare_directory(path).stat().st_mode & 0o777 == 0o700
    with pytest.raises(UnsafePath):
        prepare_directory(path.with_name(path.name + "x"))


def test_what_is_no_directory_of_ours_is_refused(short: Path) -> None:
    (short / "file").touch()
    (short / "link").symlink_to(short)
    for name in ("file", "link", "file/below"):
        with pytest.raises(UnsafePath):
            prepare_directory(short / name)


def test_groups_are_apart_by_owner_and_never_hold_what_tmux_reads_otherwise() -> None:
    assert group_name("a:b.c", "me").startswith("a-b-c-")
    assert group_name("w", "me") != group_name("w", "you") != group_name("w", None)
