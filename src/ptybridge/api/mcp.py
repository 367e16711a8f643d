"""Speaking MCP (modelcontextprotocol.io) with the daemon: the channel behind `ptybridge mcp`."""

from typing import Annotated, Final, Literal

import msgspec

from ptybridge.api.operation import ClientId, Params, Result, declare_channel
from ptybridge.errors import ConfigInvalid, NotInstalled


class Open(Params):
    """Speak MCP: answers once, then the connection carries MCP's messages, one JSON object a line, both ways.

    `environ` and `cwd` are the MCP client's; sessions it creates get them. `settings` holds its `PTY_MCP_*` and
    `PTYBRIDGE_MCP_*` variables, which count for this channel only. `tools` chooses which tools are offered.
    `default_owner` is the owner of what is started without one; who comes back with the same one finds it again.
    """

    environ: dict[str, str] = {}
    cwd: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    settings: Annotated[dict[str, str], msgspec.Meta(max_length=256)] = {}
    tools: Literal["core", "agent", "all"] = "all"
    client_id: ClientId | None = None
    default_owner: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class Opened(Result):
    """The channel is open. `repeatable` names the tools that only look: they may be called again when it is lost."""

    version: str
    repeatable: list[str]


OPEN: Final = declare_channel(
    "mcp.open", Open, Opened, scope="mcp:write", since="0.1", errors=(NotInstalled, ConfigInvalid)
)
