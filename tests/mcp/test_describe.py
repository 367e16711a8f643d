"""The reference of the MCP tools is made from the tools, and is the one checked in."""

from pathlib import Path

from ptybridge.mcp import describe
from ptybridge.mcp.catalog import all_tools

KEPT = Path(__file__).parent.parent.parent / "docs" / "reference" / describe.FILE


def test_the_reference_is_that_of_the_tools(tmp_path: Path) -> None:
    describe.main(str(tmp_path))
    assert (tmp_path / describe.FILE).read_text(encoding="utf-8") == KEPT.read_text(encoding="utf-8"), "run `make docs`"


def test_every_tool_says_what_it_does_and_what_may_be_assumed_of_it() -> None:
    for tool in all_tools():
        assert len(tool.description) > 20, tool.name
        assert tool.hints.title
        assert not (tool.hints.read_only and tool.hints.destructive), tool.name
        assert tool.input_schema()["additionalProperties"] is False
