"""The README is true: its script runs as it stands there, and prints what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent.parent / "README.md").read_text()


@pytest.fixture
def path_with_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `ptybridge` on the PATH, whether it is installed or not."""
    program = tmp_path / "bin/ptybridge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ptybridge "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("path_with_us")
def test_the_script_for_socat_and_jq_runs_as_it_stands(need_tool: Callable[[str], str]) -> None:
    need_tool("socat")
    need_tool("jq")
    found = re.search(r"```bash\n(#!.*?)```\n\nIt prints:\n\n```\n(.*?)```", README, re.DOTALL)
    assert found is not None
    script, expected = found.groups()
    try:
        ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    finally:
        subprocess.run(["ptybridge", "stop"], timeout=60, check=True, stdout=subprocess.DEVNULL)
    assert ran.stderr.startswith("ptybridge: started the daemon (pid ")
    assert (ran.returncode, ran.stdout) == (0, expected)


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md", "docs/configuration.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = Path(__file__).parent.parent.parent / page
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{page}: {target}"
