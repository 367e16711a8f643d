"""The units as they are packaged and as they are installed, before systemd's own checker."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptybridge.cli.service_units import Target, escaped, files, quoted, target
from ptybridge.config import load

ROOT = Path(__file__).parents[2] / "contrib/systemd"
NeedTool = Callable[[str], str]


def verify(need_tool: NeedTool, *arguments: str) -> None:
    need_tool("systemd-analyze")
    result = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    # Whatever it has to say about our units is one too many; about others' we do not care.
    assert [line for line in result.stderr.splitlines() if "ptybridge" in line] == []
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "name", ["ptybridge.socket", "ptybridge-web.socket", "ptybridge.service", "ptybridge-keeper.service"]
)
def test_packaged_user_units_are_valid(need_tool: NeedTool, name: str) -> None:
    verify(need_tool, "--user", "verify", str(ROOT / "user" / name))


@pytest.mark.parametrize("name", ["ptybridge@.socket", "ptybridge@.service", "ptybridge-keeper@.service"])
def test_packaged_system_units_are_valid(need_tool: NeedTool, name: str) -> None:
    verify(need_tool, "verify", str(ROOT / "system" / name))


def test_installed_units_are_valid_and_name_this_interpreter(
    need_tool: NeedTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "100% odd"
    directory.mkdir()
    python = directory / "python3"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PTYBRIDGE_SOCKET", str(tmp_path / "run/d.sock"))
    monkeypatch.setenv("PTYBRIDGE_STATE_DIR", str(tmp_path / "state 1"))
    made = files(target(system=False), load(os.environ))
    for path, text in made.items():
        (directory / path.name).write_text(text)
        if path.suffix == ".service":
            assert f'="{str(python).replace("%", "%%")}" -P -m ptybridge' in text
            assert f'Environment="PTYBRIDGE_STATE_DIR={tmp_path}/state 1"\n' in text
        if path.name != "ptybridge-web.socket":
            assert f"{tmp_path}/run/d.sock" in text
        assert "/usr/bin/python3" not in text
    verify(need_tool, "--user", "verify", *(str(directory / path.name) for path in made))


def test_words_are_quoted_as_unit_files_want() -> None:
    assert quoted("/usr/bin/python3") == "/usr/bin/python3"
    assert quoted('/a b/"c"$d%') == '"/a b/\\"c\\"$$d%%"'
    assert escaped("50%") == "50%%"


def test_the_names_of_an_instance() -> None:
    assert Target(True, "ann").units == (
        "ptybridge@ann.socket",
        "ptybridge-keeper@ann.service",
        "ptybridge@ann.service",
    )


@pytest.mark.parametrize("kind", ["user", "system"])
def test_nothing_ties_the_keeper_to_the_daemon(kind: str) -> None:
    for path in (ROOT / kind).iterdir():
        settings = [line.partition("=")[0] for line in path.read_text().splitlines()]
        assert not {"Requires", "BindsTo", "PartOf", "Requisite", "Conflicts"} & set(settings), path.name
        if "keeper" in path.name:
            text = path.read_text()
            assert "KillMode=process\n" in text
            assert "OOMPolicy=continue\n" in text
            # A shell may need what a sandbox takes away.
            assert not {"NoNewPrivileges", "PrivateTmp", "ProtectSystem", "SystemCallFilter"} & set(settings)
