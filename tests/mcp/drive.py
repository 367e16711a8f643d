"""Run by an official Python client's own interpreter: drives `ptybridge mcp`, or a URL, and prints what it saw.

Both generations of the client are driven by this one file; where their interfaces differ it looks at which it has.
Takes the server's command line as arguments, or the URL of one (with the key in MCP_KEY and the file of the authority
to trust in MCP_CA), and a list of tool calls as JSON on standard input. A call's result can be
kept `as` a name, which `$name` stands for in the arguments of later ones.
Of a call with `progress` it is noted what the client is told.
"""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


def plain(value: Any) -> Any:
    """What a client's object says on the wire."""
    return value.model_dump(by_alias=True, mode="json", exclude_none=True)


def filled(value: Any, kept: dict[str, str]) -> Any:
    """Put results of earlier calls in their places."""
    if isinstance(value, dict):
        return {name: filled(one, kept) for name, one in value.items()}
    return kept[value[1:]] if isinstance(value, str) and value[:1] == "$" else value


@asynccontextmanager
async def connected(command: list[str]) -> AsyncIterator[tuple[Any, Any]]:
    """Connect to the server that the arguments name."""
    if not command[0].startswith("https:"):
        parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
        async with stdio_client(parameters) as (read, write):
            yield read, write
        return
    # The generations have their HTTP clients from different packages, with the same interface.
    library = import_module("httpx" if version("mcp").startswith("1.") else "httpx2")
    trusted = ssl.create_default_context(cafile=os.environ["MCP_CA"])
    headers = {"Authorization": f"Bearer {os.environ['MCP_KEY']}"}
    async with library.AsyncClient(headers=headers, verify=trusted, timeout=60, trust_env=False) as http:
        async with streamable_http_client(command[0], http_client=http) as streams:
            yield streams[0], streams[1]


async def drive(command: list[str], calls: list[dict[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {"client": version("mcp"), "notifications": [], "progress": []}

    async def on_message(message: Any) -> None:
        await asyncio.sleep(0)
        root = getattr(message, "root", message)
        if hasattr(root, "method"):
            seen["notifications"].append(root.method)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        await asyncio.sleep(0)
        seen["progress"].append([progress, total, message])

    async with connected(command) as (read, write):
        async with ClientSession(read, write, message_handler=on_message) as session:
            seen["initialize"] = plain(await session.initialize())
            seen["tools"] = [plain(one) for one in (await session.list_tools()).tools]
            seen["results"] = []
            kept: dict[str, str] = {}
            for call in calls:
                more: dict[str, Any] = {"progress_callback": on_progress} if call.get("progress") else {}
                result = plain(await session.call_tool(call["name"], filled(call["arguments"], kept), **more))
                seen["results"].append(result)
                if "as" in call:
                    kept[call["as"]] = result["content"][0]["text"]
            resources = (await session.list_resources()).resources
            seen["resources"] = [plain(one) for one in resources]
            if resources:
                uri = resources[0].uri
                seen["read"] = plain(await session.read_resource(uri))
                await session.subscribe_resource(uri)
                await session.unsubscribe_resource(uri)
            await session.send_ping()
    return seen


print(json.dumps(asyncio.run(drive(sys.argv[1:], json.load(sys.stdin)))))
