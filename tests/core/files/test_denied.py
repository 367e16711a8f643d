"""What the system denies is told by its name. Root may everything, so as root these tests become somebody else."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ptybridge.backends.spawn import quiet_fork
from ptybridge.core.files import reading, writing
from ptybridge.core.files.places import Places
from ptybridge.errors import PermissionDenied, PtybridgeError
from ptybridge.model import Caller

USER = Caller(principal="uid:1", connection_id="c1")
NOBODY = 65534
PR_SET_DUMPABLE = 4


def go_on() -> None:
    """Nobody cancels here."""


def failure(work: Callable[[], object]) -> str:
    """Do it as one whom the system denies things; return the failure as "code: message", "" when it went well."""
    reader, writer = os.pipe()
    with quiet_fork():
        pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                # Or /proc/self would stay root's: PR_SET_DUMPABLE(2const).
                ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            work()
        except PtybridgeError as exc:
            os.write(writer, f"{exc.code}: {exc}".encode())
        except BaseException as exc:  # noqa: ASYNC103 - it is the other process that goes on
            os.write(writer, repr(exc).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as said:
        text = said.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def mine(runtime_dir: Path) -> Path:
    """A file that is theirs, in a directory that is theirs."""
    path = runtime_dir / "f"
    path.write_text("old")
    if os.geteuid() == 0:
        os.chown(runtime_dir, NOBODY, NOBODY)
        os.chown(path, NOBODY, NOBODY)
    return path


def read(path: Path) -> None:
    with Places().at(USER, str(path)) as place:
        reading.read(place, 0, 1000, go_on)


def write(path: Path) -> None:
    with Places().at(USER, str(path)) as place:
        writing.write(place, b"new", overwrite=True, mode=None, if_match=None, check=go_on)


def test_a_file_one_may_not_write_is_not_replaced(mine: Path) -> None:
    mine.chmod(0o400)
    assert failure(lambda: read(mine)) == ""
    assert failure(lambda: write(mine)) == f"{PermissionDenied.code}: {mine} may not be written"
    assert mine.read_text() == "old"
    mine.chmod(0o600)
    assert failure(lambda: write(mine)) == ""
    assert mine.read_text() == "new"


def test_what_one_may_not_read_or_enter_is_told(mine: Path) -> None:
    mine.chmod(0)
    assert failure(lambda: read(mine)) == f"{PermissionDenied.code}: the system denies access to {mine}"
    mine.chmod(0o600)
    mine.parent.chmod(0)
    assert failure(lambda: read(mine)).startswith(f"{PermissionDenied.code}: the system denies access to ")
    mine.parent.chmod(0o500)
    other = mine.parent / "new"
    assert failure(lambda: write(other)).startswith(f"{PermissionDenied.code}: the system denies access to ")
    mine.parent.chmod(0o700)
