"""pty-mcp's rules of attachment: who may read while somebody is attached."""

from ptybridge.api import session as api
from ptybridge.mcp.compat_common import AsClient, session_of
from ptybridge.mcp.toolset import Context


async def reading_session(ctx: Context, params: AsClient) -> api.SessionInfo:
    """Return the session for a tool that moves a position."""
    return await session_of(ctx, params)
