import resource
import subprocess
from pathlib import Path

import pytest

from ptybridge.backends import nofile
from ptybridge.backends.tmux_link import check_version, limited
from ptybridge.errors import Unavailable


def fake_tmux(directory: Path, says: str) -> str:
    path = directory / "tmux"
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("says", ["echo tmux 2.9", "echo tmux 3.1c", "exit 1"])
async def test_a_tmux_that_is_too_old_or_broken_is_refused_with_what_to_do(tmp_path: Path, says: str) -> None:
    with pytest.raises(Unavailable) as refused:
        await check_version(fake_tmux(tmp_path, says))
    assert "3.2" in str(refused.value.hint)


@pytest.mark.parametrize("version", ["3.2", "3.3a", "next-3.5", "master", "10.0"])
async def test_newer_ones_are_taken(tmp_path: Path, version: str) -> None:
    await check_version(fake_tmux(tmp_path, f"echo tmux {version}"))


def test_tmux_gets_the_limit_of_descriptors_that_we_were_started_with() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        done = subprocess.run(limited(["sh", "-c", "ulimit -Sn"]), capture_output=True, text=True, check=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    expected = nofile.inherited()[0]
    assert done.stdout.strip() == ("unlimited" if expected == resource.RLIM_INFINITY else str(expected))
