"""Fixtures every test shares: an environment of its own, a short directory for sockets, outside tools by name."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine may stand still for seconds in the middle of anything, and a fixture that is shared by the examples of
# one test is meant so. What is not said here is as elsewhere: where CI is set, the examples are always the same.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("tests")

# A run in the background of a script, or under nohup, begins with signals ignored, and every program would inherit it.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)

NeedTool = Callable[[str], str]

# What a user's shell, terminal, editor or desktop puts into the environment and tests must not depend on.
_LEAKY = frozenset(
    "BASH_ENV COLORTERM COLUMNS DBUS_SESSION_BUS_ADDRESS EDITOR ENV LESS LINES LISTEN_FDNAMES LISTEN_FDS LISTEN_PID "
    "LS_COLORS NOTIFY_SOCKET NO_COLOR PAGER PROMPT_COMMAND PS1 TMUX TMUX_PANE VISUAL ZDOTDIR".split()
)
_LEAKY_PREFIXES = ("LC_", "PTYBRIDGE_", "PTY_MCP_", "XDG_")


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """A private directory whose path is short: a Unix socket's must fit in 107 bytes, which `tmp_path` may not."""
    path = Path(tempfile.mkdtemp(prefix="ptyb-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime_dir: Path) -> None:
    """Nothing of the user's is read or written: home, XDG directories, sockets, settings and locale are the test's."""
    for name in list(os.environ):
        # PTYBRIDGE_CI is about the test run, not about the program.
        if (name in _LEAKY or name.startswith(_LEAKY_PREFIXES)) and name != "PTYBRIDGE_CI":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_dir))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LANG", "C.UTF-8")


@pytest.fixture(scope="session")
def need_tool() -> NeedTool:
    """`need_tool("tmux")` returns its path; without it the test is skipped, or fails where CI promised the tool."""

    def need(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        if os.environ.get("PTYBRIDGE_CI"):
            pytest.fail(f"{name} is not installed, and .ci/run should have done so", pytrace=False)
        pytest.skip(f"needs {name}")

    return need
