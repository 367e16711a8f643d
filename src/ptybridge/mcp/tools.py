"""The tools made for agents: few calls, each with an answer that says how to go on. Thin over native operations."""

from typing import Final

from ptybridge.mcp import tools_exec, tools_files, tools_history, tools_lines, tools_run, tools_screen, tools_wait
from ptybridge.mcp.toolset import Tool

TOOLS: Final[tuple[Tool, ...]] = (
    *tools_run.TOOLS,
    *tools_exec.TOOLS,
    *tools_wait.TOOLS,
    *tools_screen.TOOLS,
    *tools_lines.TOOLS,
    *tools_history.TOOLS,
    *tools_files.TOOLS,
)
