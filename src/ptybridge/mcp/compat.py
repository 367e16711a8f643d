"""The tools of pty-mcp: same names, parameters and results, so that its users can switch by changing one command."""

from typing import Final

from ptybridge.mcp import (
    compat_admin,
    compat_confirm,
    compat_lease,
    compat_read,
    compat_recover,
    compat_spawn,
    compat_status,
    compat_until,
    compat_write,
)
from ptybridge.mcp.toolset import Tool

TOOLS: Final[tuple[Tool, ...]] = (
    *compat_spawn.TOOLS,
    *compat_recover.TOOLS,
    *compat_confirm.TOOLS,
    *compat_lease.TOOLS,
    *compat_read.TOOLS,
    *compat_until.TOOLS,
    *compat_write.TOOLS,
    *compat_status.TOOLS,
    *compat_admin.TOOLS,
)
