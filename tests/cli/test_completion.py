"""What a shell is offered when somebody presses Tab."""

import os
import subprocess
import sys

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon, session

from ptybridge.cli.program import run

__all__ = ["daemon"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_PTYBRIDGE_COMPLETE" in capsys.readouterr().out


def test_completion_offers_names_of_sessions(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session(), session(session_id="s2", name=None)]})
    env = {"_PTYBRIDGE_COMPLETE": "bash_complete", "COMP_WORDS": "ptybridge info ", "COMP_CWORD": "2"}
    assert _complete(env) == ["plain,build", "plain,s2"]
    assert _complete(env | {"COMP_WORDS": "ptybridge info b"}) == ["plain,build"]
    assert "plain,rename" in _complete(env | {"COMP_WORDS": "ptybridge re", "COMP_CWORD": "1"})


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("run --in b", ["plain,build"]),
        ("open b", ["plain,build"]),
        ("expect --in b", ["plain,build"]),
        ("events --session b", ["plain,build"]),
        ("events --type ex", ["plain,exited"]),
        ("key new x --session b", ["plain,build"]),
        ("lease status b", ["plain,build"]),
        ("signal build TER", ["plain,TERM"]),
        ("keys build pageu", ["plain,pageup"]),
        ("config get attach.pre", ["plain,attach.prefix"]),
        ("file ls /et", ["file,/et"]),
        ("new --cwd /et", ["dir,/et"]),
        ("new -- vi", ["file,vi"]),
        ("cp READ", ["file,READ"]),
        ("help at", ["plain,attach"]),
        ("hlep at", ["plain,attach"]),
        ("file nosuch x", []),
    ],
)
def test_completion_knows_what_fits(daemon: FakeDaemon, line: str, offered: list[str]) -> None:
    daemon.result("session.list", {"sessions": [session()]})
    words = f"ptybridge {line}"
    env = {"_PTYBRIDGE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert _complete(env) == offered


def test_completion_says_in_a_whole_sentence_what_a_command_does() -> None:
    env = {"_PTYBRIDGE_COMPLETE": "zsh_complete", "COMP_WORDS": "ptybridge lea", "COMP_CWORD": "1"}
    assert " ".join(_complete(env)) == "plain lease Show, take or give back the right to write to a session."
    found = " ".join(_complete(env | {"COMP_WORDS": "ptybridge file ext", "COMP_CWORD": "2"}))
    assert found.startswith("plain extract Extract to exactly DST")
    assert not found.endswith("...")


def test_completion_without_a_daemon_offers_nothing_and_starts_none() -> None:
    env = {"_PTYBRIDGE_COMPLETE": "bash_complete", "COMP_WORDS": "ptybridge info ", "COMP_CWORD": "2"}
    assert _complete(env) == []
    assert run(["status"]) == 4


def _complete(env: dict[str, str]) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "ptybridge"], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
    return ran.stdout.split()
