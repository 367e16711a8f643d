"""All tools there are, from the modules that define them."""

from ptybridge.mcp import compat, tools, tools_secret
from ptybridge.mcp.toolset import Tool


def all_tools() -> list[Tool]:
    """Return every tool, whichever connection may be offered it."""
    return [*compat.TOOLS, *tools.TOOLS, *tools_secret.TOOLS]
