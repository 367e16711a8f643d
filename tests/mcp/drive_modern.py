"""Run by the newest official client's interpreter: protocol 2026-07-28, which has no handshake, over stdio.

Takes the server's command line; prints what it saw as JSON. The session that is there is told to print by `send`.
"""

import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters


async def drive(command: list[str]) -> dict[str, Any]:
    parameters = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with Client(parameters) as client:
        seen: dict[str, Any] = {"version": client.protocol_version, "instructions": client.instructions}
        seen["tools"] = [one.name for one in (await client.list_tools()).tools]
        result = await client.call_tool("no_such_tool", {})
        seen["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        uri = next(one.uri for one in (await client.list_resources()).resources if one.uri.endswith("/transcript"))
        async with client.listen(resource_subscriptions=[uri], resources_list_changed=True) as subscription:
            await (await asyncio.create_subprocess_exec(*command[:-1], "send", uri.split("/")[3], "hello\n")).wait()
            async for event in subscription:
                seen["event"] = type(event).__name__
                text = (await client.read_resource(uri)).contents[0]
                if "hello" in getattr(text, "text", ""):
                    break
    return seen


print(json.dumps(asyncio.run(drive(sys.argv[1:]))))
