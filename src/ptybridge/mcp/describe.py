"""Makes the reference of the MCP tools from the tools: `python -m ptybridge.mcp.describe DIRECTORY`."""

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from ptybridge.mcp.catalog import all_tools
from ptybridge.mcp.settings import Settings
from ptybridge.mcp.toolset import SWITCHES, Tool

FILE: Final = "mcp-tools.md"
_HEAD: Final = """# MCP tools

Made from the tools themselves by `make docs`; do not edit.
What differs from pty-mcp, and why, is in [a page of its own](../decisions/0010-mcp-tools.md).
Failures are tool results with `isError` and a text that says what to do.
Numbers may be written as strings; other arguments that do not fit are refused, and so are unknown ones.

"""
_SETTINGS: Final = """## Settings

Read from the environment of the MCP client, as `PTY_MCP_…` or `PTYBRIDGE_MCP_…` (which wins), for that connection only.
What cannot be right ends the connection with a message that names it.
`1`, `true` and `yes` switch on, `0`, `false`, `no` and nothing off, in any case; a limit of 0 is none.

| Setting | Default |
|---|---|
"""


def reference() -> str:
    """Return the page."""
    tools = all_tools()
    overview = "\n".join(f"- [`{one.name}`](#{one.name}): {one.hints.title.lower()}" for one in tools)
    return _HEAD + overview + "\n\n" + _settings() + "\n".join(_tool(one) for one in tools)


def _settings() -> str:
    rows = [
        f"| `{one.name.upper()}` | {'' if one.default is None else f'`{msgspec.json.encode(one.default).decode()}`'} |"
        for one in msgspec.structs.fields(Settings)
    ]
    return _SETTINGS + "\n".join(rows) + "\n\n"


def _tool(tool: Tool) -> str:
    hints = tool.hints
    traits = [
        word
        for word, holds in (
            ("read-only", hints.read_only),
            ("destructive", hints.destructive),
            ("idempotent", hints.idempotent),
            ("open world", hints.open_world),
        )
        if holds
    ]
    switch = SWITCHES.get(tool.gate)
    notes = [*traits, *([f"only with `{switch}=1`"] if switch else [])]
    parts = [f"## {tool.name}\n\n{tool.description}\n"]
    if notes:
        parts.append(f"*{', '.join(notes)}*\n")
    arguments = _fields(tool.input_schema())
    if arguments:
        parts.append("| Argument | Type | Default | |\n|---|---|---|---|\n" + arguments)
    schema = tool.output_schema()
    if schema is not None:
        names = ", ".join(f"`{name}`" for name in schema.get("properties", {}))
        parts.append(f"Answers {names}.\n")
    return "\n".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for name, one in schema.get("properties", {}).items():
        default = "required" if name in required else f"`{msgspec.json.encode(one.get('default')).decode()}`"
        rows.append(f"| `{name}` | {_type(one)} | {default} | {one.get('description', '')} |\n")
    return "".join(rows)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"] if one is not None)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    kind = schema.get("type", "object")
    return f"list of {_type(schema['items'])}" if kind == "array" and "items" in schema else str(kind)


def main(directory: str) -> None:
    """Write the page into `directory`."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    (target / FILE).write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
