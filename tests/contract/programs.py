"""Programs the contract's tests run, and what they do with them again and again."""

import shlex
from typing import Any

import trio
from tests.contract.endpoints import Client

from ptybridge.api import session, terminal
from ptybridge.daemon import Daemon

PATIENCE_MS = 60_000
# A shell nobody has configured, with a prompt that is easy to wait for.
BASH = ["bash", "--norc", "--noprofile", "-i"]
BASH_ENV = {"PS1": "ready> ", "HISTFILE": "/dev/null"}
# Prints what it reads, byte by byte and without the terminal's help: raw mode, no echo.
RAW_CAT = ["sh", "-c", "stty raw -echo; echo up; exec cat"]


async def start(client: Client, *command: str, **params: Any) -> str:
    """Create a session of an argument list; return its id."""
    info = await client.call(session.CREATE, command=list(command), **params)
    return info.session_id


async def script(client: Client, text: str, **params: Any) -> str:
    """Create a session of a shell script; return its id."""
    return await start(client, "sh", "-c", text, **params)


async def shell(client: Client, **params: Any) -> str:
    """Create a session of an interactive bash that shows its prompt; return its id."""
    session_id = await start(client, *BASH, env=BASH_ENV | params.pop("env", {}), **params)
    await until(client, session_id, "ready> ")
    return session_id


async def raw_cat(client: Client, **params: Any) -> str:
    """Create a session that gives back its input untouched, and read the "up" it begins with."""
    session_id = await start(client, *RAW_CAT, **params)
    await until(client, session_id, "up\n")
    return session_id


async def until(client: Client, session_id: str, text: str, **params: Any) -> terminal.ReadUntilResult:
    """Read up to a text that has to come."""
    found = await client.call(
        terminal.READ_UNTIL, session_id=session_id, pattern=text, **{"timeout_ms": PATIENCE_MS} | params
    )
    assert found.reason == "matched", (found.reason, found.data[-2000:])
    return found


async def exited(client: Client, session_id: str) -> session.SessionInfo:
    """Wait for the exit; return what is known then."""
    waited = await client.call(terminal.WAIT, session_id=session_id, until=[{"exit": True}], timeout_ms=PATIENCE_MS)
    assert waited.reason == "exited"
    return await client.call(session.GET, session_id=session_id)


async def is_waited_on(daemon: Daemon, session_id: str) -> None:
    """Wait until a request waits for a session's output: which of two requests is taken first is open otherwise."""
    log = daemon.sessions.get(session_id).log
    with trio.fail_after(PATIENCE_MS / 1000):
        while len(log._waiting) < 2:  # noqa: ASYNC110 - one is the session's own
            await trio.sleep(0.002)


async def output(client: Client, session_id: str) -> str:
    """Wait for the exit; return everything printed that is still kept."""
    await exited(client, session_id)
    read = await client.call(terminal.READ, session_id=session_id, offset=0, max_bytes=16 << 20, timeout_ms=PATIENCE_MS)
    return read.data


async def outcome(client: Client, text: str, **params: Any) -> str:
    """Run a script to its end; return what it printed."""
    return await output(client, await script(client, text, **params))


def quoted(*words: str) -> str:
    return shlex.join(words)
