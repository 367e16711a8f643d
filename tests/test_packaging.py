"""What people get: metadata, pins and make targets that say the same thing everywhere."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ptybridge

NeedTool = Callable[[str], str]
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert isinstance(project, dict)
    return project


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.partition("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in pairs}


def requirements(project: dict[str, object]) -> list[Requirement]:
    dependencies, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    return [Requirement(text) for text in [*dependencies, *chain.from_iterable(extras.values())]]


def test_installed_version_is_the_packages_own() -> None:
    assert metadata.version("ptybridge") == ptybridge.__version__


def test_every_requirement_is_pinned_within_its_range(project: dict[str, object], pins: dict[str, str]) -> None:
    for requirement in requirements(project):
        name = canonicalize_name(requirement.name)
        if name != "ptybridge":
            assert pins.get(name) is not None, f"{name} is not in constraints.txt"
            assert requirement.specifier.contains(pins[name]), f"{requirement} is pinned to {pins[name]}"


def test_constraints_are_exact_versions_and_name_no_place() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line), line


def test_trio_typing_is_never_installed(pins: dict[str, str]) -> None:
    # Its stubs shadow trio's own types, and mypy then checks against a trio of years ago.
    assert "trio-typing" not in pins
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("trio-typing")


def test_package_ships_its_types() -> None:
    assert (ROOT / "src/ptybridge/py.typed").is_file()


def make(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run make as a user would. MAKEFLAGS of an outer make (we may run under `make test`) must not leak in."""
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env={**clean, **env},
        capture_output=True,
        text=True,
        # Making an environment takes seconds, and on a busy machine many.
        timeout=240,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def bare_tree(tmp_path: Path, need_tool: NeedTool) -> Path:
    """A source tree of which only what make reads is there, without an environment."""
    need_tool("make")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tree / name).write_text((ROOT / name).read_text())
    return tree


def test_make_help_names_every_target(bare_tree: Path) -> None:
    listed = set(re.findall(r"^  make ([a-z-]+) ", make(cwd=bare_tree).stdout, re.MULTILINE))
    assert {"run", "test", "test-all", "lint", "bench", "soak", "docs", "clean"} <= listed


def test_make_without_a_usable_python_says_what_to_do(bare_tree: Path) -> None:
    result = make("run", f"PYTHON={bare_tree}/no-such-python", cwd=bare_tree)
    assert result.returncode != 0
    assert "no-such-python is no Python 3.11 or newer" in result.stderr
    assert "apt install python3 python3-venv" in result.stderr
    assert "Traceback" not in result.stderr


def test_make_with_a_python_that_lacks_ensurepip_says_what_to_do(bare_tree: Path) -> None:
    # Debian's python3 without python3-venv: it runs, but cannot make environments.
    crippled = bare_tree / "python3"
    crippled.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.modules[\'ensurepip\'] = None; exec(sys.argv[2])" "$@"\n'
    )
    crippled.chmod(0o755)
    result = make("run", f"PYTHON={crippled}", cwd=bare_tree)
    assert result.returncode != 0
    assert "python3-venv" in result.stderr
    assert "Traceback" not in result.stderr


def test_make_without_network_says_what_to_do(bare_tree: Path) -> None:
    result = make(
        "run",
        f"PYTHON={sys.executable}",
        cwd=bare_tree,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE="/dev/null",
    )
    assert result.returncode != 0
    assert "pip could not install" in result.stderr
    assert "Without network" in result.stderr
    assert "Traceback" not in result.stderr
    # The half-made environment must not look ready to the next call.
    assert not list((bare_tree / ".venv").glob(".ptybridge-*"))


def test_second_make_starts_at_once(bare_tree: Path) -> None:
    # With the stamps newer than their sources, nothing of setting up is left to do.
    binaries = bare_tree / ".venv/bin"
    binaries.mkdir(parents=True)
    (binaries / "python").touch()
    (bare_tree / ".venv/.ptybridge-run").touch()
    plan = make("--dry-run", "run", cwd=bare_tree).stdout
    assert "pip install" not in plan
    assert "serve --with-shell" in plan


def test_make_is_not_in_the_environment_of_what_it_runs(bare_tree: Path) -> None:
    binaries = bare_tree / ".venv/bin"
    binaries.mkdir(parents=True)
    (binaries / "python").touch()
    (binaries / "ptybridge").write_text("#!/bin/sh\nenv")
    (binaries / "ptybridge").chmod(0o755)
    (bare_tree / ".venv/.ptybridge-run").touch()
    shown = make("run", cwd=bare_tree).stdout.splitlines()
    assert any(line.startswith("PATH=") for line in shown)
    assert [line for line in shown if line.startswith(("MAKE", "MFLAGS"))] == []
