"""Tools as values: schemas, strict arguments, gates and lists."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from ptybridge.errors import Denied, InvalidParams, NotFound
from ptybridge.mcp.toolset import Answer, Context, Gate, Hints, Tool, Toolset
from ptybridge.model import Caller


class Spawn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    command: Annotated[str, msgspec.Meta(min_length=1, description="what to run")]
    cols: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 120
    timeout_ms: int | None = None
    ratio: float = 1.0
    separate_streams: bool = False
    patterns: list[str] = []
    code: str | int = ""
    scope: Literal["read-only", "read-write"] = "read-write"


class Spawned(msgspec.Struct, kw_only=True):
    session_id: str


async def spawn(context: Context, params: Spawn) -> Answer:
    await context.progress(1)
    return Answer(params.command, {"session_id": params.command})


def tool(name: str = "pty_spawn", gate: Gate = "core", **more: Any) -> Tool:
    return Tool(name, "Start.", Spawn, Spawned, Hints("Start"), gate, spawn, **more)


def context() -> Context:
    endpoint: Any = None
    return Context(endpoint, Caller(principal="uid:0", connection_id="c"), None, {}, "/")


def test_schemas_have_the_object_at_the_top() -> None:
    schema = tool().input_schema()
    assert schema["type"] == "object"
    assert schema["required"] == ["command"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["command"]["description"] == "what to run"
    assert tool().output_schema() == {
        "type": "object",
        "properties": {"session_id": {"type": "string"}},
        "required": ["session_id"],
    }


def test_numbers_may_be_strings_where_a_number_is_declared() -> None:
    read: Any = tool().read({"command": "7", "cols": "80", "timeout_ms": " 5 ", "ratio": "0.5", "code": "5"})
    assert (read.command, read.cols, read.timeout_ms, read.ratio, read.code) == ("7", 80, 5, 0.5, "5")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "command"),
        ({"command": 5}, "command"),
        ({"command": "x", "cols": "wide"}, "cols"),
        ({"command": "x", "cols": 0}, "cols"),
        ({"command": "x", "cols": "0"}, "cols"),
        ({"command": "x", "cols": "9" * 400}, "cols"),
        ({"command": "x", "timeout_ms": "null"}, "timeout_ms"),
        ({"command": "x", "separate_streams": "false"}, "separate_streams"),
        ({"command": "x", "patterns": "OK"}, "patterns"),
        ({"command": "x", "scope": "root"}, "scope"),
        ({"command": "x", "colour": 1}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParams, match=named) as caught:
        tool().read(arguments)
    assert caught.value.message.startswith("pty_spawn: ")
    assert caught.value.hint is not None
    assert "needs command" in caught.value.hint


def names(**options: Any) -> set[str]:
    tools = [tool("a"), tool("b", for_agents=True), tool("c", "control"), tool("d", "admin"), tool("e", "agent")]
    return {one.name for one in Toolset(tools, **options)}


def test_gates_and_lists() -> None:
    assert names() == {"a", "b", "e"}
    assert names(control=True, admin=True) == {"a", "b", "c", "d", "e"}
    assert names(which="core", control=True) == {"a", "b", "c"}
    assert names(which="agent", control=True) == {"b", "e"}


async def test_a_call_checks_the_name_the_gate_and_the_arguments() -> None:
    tools = Toolset([tool("a"), tool("c", "control"), tool("e", "agent")], "core")
    assert (await tools.call(context(), "a", {"command": "ls"})).structured == {"session_id": "ls"}
    with pytest.raises(NotFound, match="no tool 'zz'"):
        await tools.call(context(), "zz", {})
    with pytest.raises(Denied) as caught:
        await tools.call(context(), "c", {})
    assert "PTY_MCP_ENABLE_CONTROL_TOOLS=1" in str(caught.value.hint)
    with pytest.raises(Denied):
        await tools.call(context(), "e", {})
    with pytest.raises(InvalidParams):
        await tools.call(context(), "a", None)


def test_two_tools_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two tools"):
        Toolset([tool("a"), tool("a")])
