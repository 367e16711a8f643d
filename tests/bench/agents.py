"""P11: what an MCP client waits for: the first tool result, and an echo by two calls. Beside pty-mcp.

Both are spoken to by the same few lines over pipes, and once more by the MCP SDK's own client, which is what agents
use: it costs more than either server.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import anyio
from tests.bench.lab import BenchError, Lab
from tests.bench.results import OURS, Row, Target, compare

PEER = "pty-mcp"
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}


class Server:
    """One MCP server on pipes, its handshake done. A context manager."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._count = 0
        self.ask("initialize", **HELLO)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        """Make a request and wait for its answer."""
        self._count += 1
        self._send({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        assert self._process.stdout is not None
        while True:
            found = json.loads(self._process.stdout.readline())
            if found.get("id") == self._count:
                return found["result"]

    def call(self, tool: str, **arguments: Any) -> str:
        """Call a tool; return its text."""
        result = self.ask("tools/call", name=tool, arguments={"owner": "bench"} | arguments)
        if result.get("isError"):
            raise subprocess.SubprocessError(f"{tool}: {result['content'][0]['text']}")
        return str(result["content"][0]["text"])


def echo_by_sdk(command: list[str], env: dict[str, str], count: int) -> float:
    """Type lines and wait for each by the SDK's client; return the median of the milliseconds."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    times: list[float] = []

    async def run() -> None:
        server = StdioServerParameters(command=command[0], args=command[1:], env=env)
        async with stdio_client(server, errlog=nowhere) as (read, write), ClientSession(read, write) as session:
            await session.initialize()

            async def call(tool: str, **arguments: Any) -> str:
                result = await session.call_tool(tool, {"owner": "bench"} | arguments)
                text = getattr(result.content[0], "text", "")
                if result.is_error:
                    raise BenchError(f"{tool}: {text}")
                return str(text)

            session_id = await call("pty_spawn", command="cat")
            for number in range(count):
                begin = time.perf_counter()
                await call("pty_write", session_id=session_id, data=f"line {number}.\n")
                found = await call("pty_read_until", session_id=session_id, pattern=f"line {number}.")
                times.append((time.perf_counter() - begin) * 1000)
                if not json.loads(found)["matched"]:
                    raise BenchError(f"{command[0]} did not find the line it was given")
            await call("pty_close", session_id=session_id)

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        anyio.run(run)
    return statistics.median(times)


def agents_calls(lab: Lab) -> list[Row]:
    """P11: from the start to the first tool result, and a line written and waited for."""
    program = str(Path(sys.executable).with_name("ptybridge"))
    peer = lab.peer_program("pty-mcp", "pty-mcp==0.2.0")
    echoes = lab.size(200, 5)

    def first_result(command: list[str], env: dict[str, str]) -> Callable[[], float]:
        def run() -> float:
            begin = time.perf_counter()
            with Server(command, env) as server:
                server.call("pty_list")
                return (time.perf_counter() - begin) * 1000

        return run

    def sdk_echo(command: list[str], env: dict[str, str]) -> Callable[[], float]:
        return lambda: echo_by_sdk(command, env, echoes)

    def echo(command: list[str], env: dict[str, str]) -> Callable[[], float]:
        def run() -> float:
            times = []
            with Server(command, env) as server:
                session_id = server.call("pty_spawn", command="cat")
                for number in range(echoes):
                    begin = time.perf_counter()
                    server.call("pty_write", session_id=session_id, data=f"line {number}.\n")
                    found = server.call("pty_read_until", session_id=session_id, pattern=f"line {number}.")
                    times.append((time.perf_counter() - begin) * 1000)
                    if not json.loads(found)["matched"]:
                        raise BenchError(f"{command[0]} did not find the line it was given")
                server.call("pty_close", session_id=session_id)
            return statistics.median(times)

        return run

    with lab.daemon() as daemon:
        contenders = {OURS: [program, "mcp"], PEER: [peer] if peer else None}
        rows = []
        for what, measure, factor in (
            ("MCP start to first tool result", first_result, 1.5),
            ("MCP write + read_until p50", echo, 1.0),
            ("the same by the SDK's client", sdk_echo, 1.0),
        ):
            rows += compare(
                "P11",
                what,
                "ms",
                {name: measure(command, daemon.env) if command else None for name, command in contenders.items()},
                [Target(PEER, factor, "at most")],
                lab.rounds,
            )
        return rows
