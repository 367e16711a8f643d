"""The units under a real service manager: its own, in namespaces of its own, so that nothing else is touched."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MANAGER = "/lib/systemd/systemd"
# A second cgroup tree in a mount namespace; the manager wants one of version 2, and to be told that systemd runs.
PREPARE = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs none /run
mount -t tmpfs none /sys/fs/cgroup && umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /var/lib/systemd
mkdir -p /run/systemd/system /run/lock "/var/lib/systemd/linger/$(id -un)" "/sys/fs/cgroup/$1" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
"""
PROBE = PREPARE + "exec true"
SCENARIO = (
    PREPARE
    + """
"$2" --user --log-target=console --log-level=info &
until systemctl --user show-environment >/dev/null 2>&1; do sleep 0.1; done
"$3" -m tests.systemd.inside
"""
)


@pytest.fixture
def cgroup() -> str:
    """A name; what the manager made below it goes when the test ends."""
    return f"ptybridge-test-{os.getpid()}"


def in_namespaces(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script, "bash", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=110,
        cwd=ROOT,
        env={**os.environ, "XDG_RUNTIME_DIR": "/run/user/0", "PYTHONPATH": f"{ROOT}/src:{ROOT}"},
    )


def test_sessions_outlive_everything_but_a_stop(need_tool: Callable[[str], str], cgroup: str) -> None:
    need_tool("systemctl")
    need_tool("unshare")
    if os.geteuid() != 0 or in_namespaces(PROBE, cgroup).returncode:
        pytest.skip("needs root, and to be allowed namespaces and a cgroup tree of its own")
    result = in_namespaces(SCENARIO, cgroup, MANAGER, sys.executable)
    print(result.stdout[-20_000:])
    print(result.stderr[-20_000:])
    assert result.returncode == 0
