"""The units under a real service manager of the test's own, shut in so that it can touch nothing else.

How it works: in mount and pid namespaces the whole file system is made read-only but for the test's directory, and the
manager finds no units but ours and a few targets. A manager that boots as usual starts what cleans /tmp, among others.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MANAGER = "/lib/systemd/systemd"
# A second cgroup tree in a mount namespace: the manager wants one of version 2, and to be told that systemd runs.
PREPARE = """
set -e
mount --make-rprivate /
mount --bind "$2" "$2"
mount -o remount,bind,ro /
mount -t proc proc /proc
mount -t tmpfs none /run
mount -t tmpfs none /sys/fs/cgroup && umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /var/lib/systemd
mkdir -p /run/systemd/system /run/lock /run/units "/var/lib/systemd/linger/$(id -un)"
mkdir -p "/sys/fs/cgroup/$1" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
for target in basic default exit paths shutdown sockets timers; do
    cp "/usr/lib/systemd/user/$target.target" /run/units
done
export SYSTEMD_UNIT_PATH="$XDG_CONFIG_HOME/systemd/user:/run/units"
cd "$2"
if touch /tmp/escaped 2>/dev/null; then rm /tmp/escaped; echo "not shut in" >&2; exit 1; fi
"""
# The processes go with their namespace, which takes a moment.
REMOVE = """
mount -t cgroup2 none /mnt
for try in $(seq 100); do
    find "/mnt/$1" -depth -type d -exec rmdir {} + && break
    sleep 0.1
done
"""
PROBE = PREPARE + "exec true"
SCENARIO = (
    PREPARE
    + """
"$3" --user --log-target=console --log-level=info &
until systemctl --user show-environment >/dev/null 2>&1; do sleep 0.1; done
"$4" -m tests.systemd.inside
"""
)


@pytest.fixture
def cgroup() -> Iterator[str]:
    """A name; what the manager made below it goes when the test ends."""
    name = f"ptybridge-test-{os.getpid()}"
    yield name
    subprocess.run(["unshare", "--mount", "bash", "-c", REMOVE, "bash", name], capture_output=True, timeout=60)


def in_namespaces(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script, "bash", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=110,
        cwd=ROOT,
        env={
            **os.environ,
            "XDG_RUNTIME_DIR": "/run/user/0",
            "PYTHONPATH": f"{ROOT}/src:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


def test_sessions_outlive_everything_but_a_stop(need_tool: Callable[[str], str], cgroup: str, tmp_path: Path) -> None:
    need_tool("systemctl")
    need_tool("unshare")
    if os.geteuid() != 0 or in_namespaces(PROBE, cgroup, str(tmp_path)).returncode:
        pytest.skip("needs root, and to be allowed namespaces and a cgroup tree of its own")
    result = in_namespaces(SCENARIO, cgroup, str(tmp_path), MANAGER, sys.executable)
    print(result.stdout[-20_000:])
    print(result.stderr[-20_000:])
    assert result.returncode == 0
