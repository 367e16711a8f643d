"""Shells with integration, for the tests of commands: of a user who has configured nothing, or what a test says."""

from pathlib import Path
from typing import Any

from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS

from ptybridge.api import command, session, terminal


def home_of(tmp_path: Path, **files: str) -> Path:
    """Make a home directory; `bashrc="…"` becomes its ~/.bashrc. zsh does not ask how it shall be set up."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / ".zshrc").touch()
    for name, text in files.items():
        (home / f".{name}").write_text(text, encoding="utf-8")
    return home


async def open_shell(client: Client, home: Path, shell: str = "bash", *flags: str, **params: Any) -> str:
    """Create a session of a shell with integration and wait for its prompt; return its id."""
    env = {"HOME": str(home), "HISTFILE": None, "ZDOTDIR": None, "BASH_ENV": None, "ENV": None, "PS1": None}
    env |= {"XDG_CONFIG_HOME": None, "XDG_DATA_HOME": None, "PROMPT_COMMAND": None} | params.pop("env", {})
    info = await client.call(session.CREATE, command=[shell, *flags], env=env, cwd=str(home), **params)
    await at_prompt(client, info.session_id)
    return info.session_id


async def at_prompt(client: Client, session_id: str) -> None:
    """Wait until nothing runs."""
    until = [{"command_done": True}]
    waited = await client.call(terminal.WAIT, session_id=session_id, until=until, timeout_ms=PATIENCE_MS)
    assert waited.reason == "command_done", waited


async def run(client: Client, session_id: str, text: str, **params: Any) -> command.Ran:
    """Run a command."""
    return await client.call(
        command.RUN, session_id=session_id, command=text, **{"timeout_ms": PATIENCE_MS, "wait": True} | params
    )
