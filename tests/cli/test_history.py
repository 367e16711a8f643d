"""`run --in`, `history`, `search` and `wait --done` against a real daemon and a real shell."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(runtime_dir: Path, tmp_path: Path) -> Iterator[Cli]:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "XDG_RUNTIME_DIR": str(runtime_dir)}
    env |= {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "ptybridge", *words]
        return subprocess.run(
            command, env=env, cwd=home, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL
        )

    yield run
    run("stop")


def test_commands_of_a_session_at_the_shell(cli: Cli) -> None:
    assert cli("new", "-d", "--name", "work", "bash").returncode == 0
    assert cli("wait", "work", "--done", "--timeout", "60").returncode == 0
    done = cli("run", "--in", "work", "--", "echo", "two words")
    assert (done.returncode, done.stdout) == (0, "two words\n")
    assert cli("run", "--in", "work", "-c", "(exit 7)").returncode == 7
    listed = cli("history", "work")
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [["1", "0"], ["2", "7"]]
    failed = json.loads(cli("history", "work", "--failed", "--json").stdout)
    assert [one["command"] for one in failed["commands"]] == ["(exit 7)"]
    found = cli("search", "work", "--regex", "^two")
    assert (found.returncode, found.stdout.partition(":")[2]) == (0, "two words\n")
    assert cli("search", "work", "no such text").returncode == 1
    assert cli("restart").returncode == 0
    assert cli("run", "--in", "work", "-c", "echo $((6 * 7))").stdout == "42\n"
    assert len(cli("history", "work").stdout.splitlines()) == 4
    wants = cli("run", "--in", "work", "-c", "read x")
    assert wants.returncode == 124
    assert "it waits for input: see `ptybridge attach work`" in wants.stderr
    busy = cli("run", "--in", "work", "--", "true")
    assert busy.returncode == 5
    assert "`ptybridge wait work --done` waits for its prompt" in busy.stderr
    assert cli("run", "--in", "work", "--keep", "--", "true").returncode == 2
