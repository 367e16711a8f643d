"""A real daemon, and MCP connections to it without the transport: what a client's tool calls become."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.conftest import confirm, daemon, files, rules, settings, socket_path
from tests.contract.endpoints import PATIENCE_SECONDS
from tests.contract.local_endpoint import LocalClient

from ptybridge.daemon import Daemon
from ptybridge.errors import PtybridgeError
from ptybridge.mcp.catalog import all_tools
from ptybridge.mcp.connection import Connection
from ptybridge.mcp.toolset import Answer, Context, Toolset
from ptybridge.model import Caller

__all__ = ["confirm", "daemon", "files", "rules", "settings", "socket_path"]
PATIENCE_MS = int(PATIENCE_SECONDS * 1000)


class Client:
    """One MCP client. Its environment has its settings."""

    def __init__(self, daemon: Daemon, cwd: Path, number: int, environ: dict[str, str]) -> None:
        self.connection = Connection.of_client(environ)
        own = self.connection.settings
        self.tools = Toolset(all_tools(), control=own.enable_control_tools, admin=own.enable_admin_tools)
        self.context = Context(
            endpoint=daemon.server.endpoint,
            caller=self.connection.agent(Caller(principal="uid:0", connection_id=f"mcp{number}")),
            settings=self.connection,
            environ={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd), **environ},
            cwd=str(cwd),
        )

    async def answer(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool."""
        with trio.fail_after(PATIENCE_SECONDS):
            return await self.tools.call(self.context, tool, arguments)

    async def text(self, tool: str, **arguments: Any) -> str:
        """Call a tool; return its text."""
        return (await self.answer(tool, **arguments)).text

    async def json(self, tool: str, **arguments: Any) -> Any:
        """Call a tool whose text is JSON; it must agree with the structured answer."""
        answer = await self.answer(tool, **arguments)
        value = json.loads(answer.text)
        assert answer.structured is not None
        assert value in (answer.structured, answer.structured.get("sessions"))
        return value

    async def refusal(self, tool: str, **arguments: Any) -> PtybridgeError:
        """Call a tool that must fail; return why."""
        with pytest.raises(PtybridgeError) as caught:
            await self.answer(tool, **arguments)
        return caught.value

    async def spawn(self, command: str, **arguments: Any) -> str:
        """Start a command with this test's usual owner; return the session's id."""
        return await self.text("pty_spawn", command=command, **{"owner": "me", **arguments})

    async def wait(self, session: str) -> dict[str, Any]:
        """Wait for the exit."""
        ended: dict[str, Any] = await self.json("pty_wait", session_id=session, owner="me", timeout_ms=PATIENCE_MS)
        assert not ended["running"]
        return ended

    async def read_all(self, session: str, tool: str = "pty_read", **arguments: Any) -> str:
        """Read page by page until the output has ended."""
        pages = []
        while True:
            answer = await self.answer(
                tool, **{"session_id": session, "owner": "me", "timeout_ms": PATIENCE_MS, **arguments}
            )
            assert answer.structured is not None
            pages.append(answer.structured["text"])
            if answer.structured["eof"]:
                return "".join(pages)

    async def until(self, session: str, pattern: str, **arguments: Any) -> dict[str, Any]:
        """Read until a pattern that must come."""
        found: dict[str, Any] = await self.json(
            "pty_read_until",
            **{"session_id": session, "owner": "me", "pattern": pattern, "timeout_ms": PATIENCE_MS, **arguments},
        )
        assert found["matched"], found
        return found

    async def status(self, session: str) -> dict[str, Any]:
        """Everything about a session."""
        status: dict[str, Any] = await self.json("pty_status", session_id=session, owner="me")
        return status


Connect = Callable[..., Client]


@pytest.fixture
def connect(daemon: Daemon, tmp_path: Path) -> Connect:
    """`connect(MAX_SESSIONS="2")` makes a client with these settings."""
    count = 0

    def make(**settings: str) -> Client:
        nonlocal count
        count += 1
        return Client(daemon, tmp_path, count, {f"PTY_MCP_{name}": value for name, value in settings.items()})

    return make


@pytest.fixture
def client(connect: Connect) -> Client:
    """A client that may use all tools."""
    return connect(ENABLE_CONTROL_TOOLS="1", ENABLE_ADMIN_TOOLS="true")


@pytest.fixture
def human(daemon: Daemon) -> LocalClient:
    """Somebody who is no agent."""
    return LocalClient(daemon)
