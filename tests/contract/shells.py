"""Shells with integration, for the tests of commands: of a user who has configured nothing, or what a test says."""

from pathlib import Path
from typing import Any

import trio
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS

from ptybridge.api import command, session, terminal
from ptybridge.core.procinfo import is_blocked_reading_terminal


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


async def awaits_keys(client: Client, session_id: str) -> None:
    """Wait until the shell has dealt with every key and has shown it. Silence alone may be that of a busy machine."""
    pid = (await client.call(session.GET, session_id=session_id)).pid
    silence = [{"idle_ms": 300}]
    await client.call(terminal.WAIT, session_id=session_id, until=silence, timeout_ms=PATIENCE_MS)
    with trio.fail_after(PATIENCE_MS / 1000):
        while not is_blocked_reading_terminal(pid, pid):  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)
    await client.call(terminal.WAIT, session_id=session_id, until=silence, timeout_ms=PATIENCE_MS)


async def runs(client: Client, session_id: str, program: str) -> None:
    """Wait until a program has the terminal: when a shell has started a command, that is still a moment away."""
    with trio.fail_after(PATIENCE_MS / 1000):
        while True:
            found = (await client.call(session.GET, session_id=session_id)).foreground
            if found is not None and found.name == program:
                return
            await trio.sleep(0.01)


async def run(client: Client, session_id: str, text: str, **params: Any) -> command.Ran:
    """Run a command."""
    return await client.call(
        command.RUN, session_id=session_id, command=text, **{"timeout_ms": PATIENCE_MS, "wait": True} | params
    )
