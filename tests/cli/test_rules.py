"""Rules that would never do anything are refused, with their line, before a daemon starts with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ptybridge.cli.rules import check_rules
from ptybridge.config import load
from ptybridge.errors import ConfigInvalid

# A socket's path must be short, which those of test directories need not be.
ENVIRONMENT = {"HOME": "/home/somebody", "XDG_RUNTIME_DIR": "/run/user/1000"}


def loaded(directory: Path, rule: str) -> Path:
    path = directory / "config.toml"
    path.write_text(f'[[policy.rule]]\nverdict = "allow"\n\n[[policy.rule]]\n{rule}\n')
    return path


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('verdict = "deny"\noperation = "file.reed"', r":6: .*there is no operation 'file.reed' \(did you mean"),
        ('operation = "nothing.*"\nverdict = "deny"', r":5: .*there is no operation 'nothing"),
        ('verdict = "ask"\noperation = "file.*"', r":6: .*nobody can be asked about"),
        ('verdict = "deny"\ncommand = "x"\noperation = "file.*"', r":7: .*has no command"),
    ],
)
def test_a_rule_about_nothing_is_refused_with_its_line(tmp_path: Path, rule: str, said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        check_rules(load(ENVIRONMENT, file=str(loaded(tmp_path, rule))))


@pytest.mark.parametrize(
    "rule", ['operation = "file.*"\nverdict = "deny"', 'operation = "session.*"\nverdict = "ask"', 'verdict = "deny"']
)
def test_others_pass(tmp_path: Path, rule: str) -> None:
    check_rules(load(ENVIRONMENT, file=str(loaded(tmp_path, rule))))


@pytest.mark.parametrize("command", ["serve", "config"])
def test_the_daemon_does_not_start_with_it(isolated_environment: None, tmp_path: Path, command: str) -> None:
    path = loaded(tmp_path, 'operation = "file.reed"\nverdict = "deny"')
    done = subprocess.run(
        [sys.executable, "-m", "ptybridge", command],
        env={**os.environ, "PTYBRIDGE_CONFIG": str(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode not in {0, -9}
    assert b"config.toml:5: policy.rule.operation: there is no operation" in done.stderr
