"""Tools as values: what a model sees of one, how its arguments are checked, and which of them a connection offers.

A tool is written by hand over operations, because what suits a model (few calls, text first) is not what suits a
program. Nothing here knows the SDK that carries the tools. Arguments are refused, never repaired: an unknown name, a
wrong type or a number out of range is an `InvalidParams` that says what would be right. The one leniency is that
models like to write numbers as strings, so those are taken wherever a number is declared.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import msgspec

from ptybridge.api.endpoint import Endpoint
from ptybridge.api.operation import Operation, Params
from ptybridge.errors import Denied, InvalidParams, NotFound
from ptybridge.mistakes import told
from ptybridge.model import Caller

Gate = Literal["core", "control", "admin", "agent"]
ToolList = Literal["core", "agent", "all"]
Report = Callable[[float, float | None, str | None], Awaitable[None]]

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=msgspec.Struct)

_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})\s*")
# What a tool needs that is not offered without being asked for, and the setting that asks.
SWITCHES: Final[dict[Gate, str]] = {"control": "PTY_MCP_ENABLE_CONTROL_TOOLS", "admin": "PTY_MCP_ENABLE_ADMIN_TOOLS"}


@dataclass(frozen=True)
class Hints:
    """What a client may assume of a tool before it asks its user (the `annotations` of MCP)."""

    title: str
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


@dataclass(frozen=True)
class Answer:
    """What a tool gives back: text for the model and, when the tool has an output schema, the same as values."""

    text: str
    structured: dict[str, Any] | None = None


async def _nobody_listens(done: float, total: float | None, message: str | None) -> None:
    """Stand in for a client that asked for no progress."""


@dataclass
class Context:
    """What a tool's handler works with: one call of one connection.

    `settings` are the connection's, as the front end has read them; `environ` and `cwd` are the client's own.
    """

    endpoint: Endpoint
    caller: Caller
    settings: Any
    environ: dict[str, str]
    cwd: str
    report: Report = field(default=_nobody_listens)

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the client how far a long call is, if it asked to be told; `done` must grow from call to call."""
        await self.report(done, total, message)

    async def call(self, operation: Operation[P, R], **params: object) -> R:
        """Call an operation. Raises `PtybridgeError`."""
        encoded = msgspec.Raw(msgspec.json.encode(params))
        answer = await self.endpoint.call(self.caller, operation.name, encoded)
        assert isinstance(answer, operation.result)
        return answer


@dataclass(frozen=True)
class Tool:
    """One tool.

    `params` is a `msgspec.Struct` that forbids unknown fields; its fields' `Meta(description=…)` is what the model
    reads. `output`: a struct, a JSON schema of an object, or None for text alone. A handler raises `PtybridgeError`
    for a failure. `for_agents` puts a tool of another gate on the list "agent" as well.
    """

    name: str
    description: str
    params: type[msgspec.Struct]
    output: type[msgspec.Struct] | dict[str, Any] | None
    hints: Hints
    gate: Gate
    handler: Callable[[Context, Any], Awaitable[Answer]]
    for_agents: bool = False

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the arguments."""
        return object_schema(self.params)

    def output_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the structured answer, None when there is only text."""
        if self.output is None or isinstance(self.output, dict):
            return self.output
        return object_schema(self.output)

    def read(self, arguments: Mapping[str, Any] | None) -> msgspec.Struct:
        """Make the parameters of a call's arguments. Raises `InvalidParams` saying what is wrong with which one."""
        try:
            return msgspec.convert(arguments or {}, self.params)
        except msgspec.ValidationError:
            pass  # it may be numbers that were written as strings; looking for them costs more than all the rest
        given = dict(arguments or {})
        known = {one.encode_name: one for one in msgspec.structs.fields(self.params)}
        for name in given.keys() & known.keys():
            given[name] = _number_of(given[name], known[name].type)
        try:
            return msgspec.convert(given, self.params)
        except msgspec.ValidationError as exc:
            raise InvalidParams(f"{self.name}: {told(exc, known, 'argument')}", hint=self._usage(known)) from exc

    def _usage(self, known: Mapping[str, msgspec.structs.FieldInfo]) -> str:
        if not known:
            return f"{self.name} takes no arguments"
        required = [name for name, one in known.items() if one.required]
        optional = [name for name, one in known.items() if not one.required]
        needs = f"needs {', '.join(required)}" if required else "needs nothing"
        return f"{self.name} {needs}" + (f"; it also takes {', '.join(optional)}" if optional else "")


class Toolset:
    """The tools one connection offers. `control` and `admin` open those gates."""

    def __init__(
        self, tools: Iterable[Tool], which: ToolList = "all", *, control: bool = False, admin: bool = False
    ) -> None:
        closed = {gate for gate, is_open in (("control", control), ("admin", admin)) if not is_open}
        self._offered: dict[str, Tool] = {}
        self._withheld: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._offered or tool.name in self._withheld:
                raise ValueError(f"two tools are called {tool.name}")
            offered = tool.gate not in closed and _is_on(tool, which)
            (self._offered if offered else self._withheld)[tool.name] = tool

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._offered.values())

    def __contains__(self, name: str) -> bool:
        return name in self._offered

    def __getitem__(self, name: str) -> Tool:
        tool = self._offered.get(name)
        if tool is not None:
            return tool
        withheld = self._withheld.get(name)
        if withheld is None:
            raise NotFound(f"there is no tool {name[:80]!r}", hint=f"there are {', '.join(sorted(self._offered))}")
        switch = SWITCHES.get(withheld.gate)
        raise Denied(
            f"{name} is switched off in this configuration",
            hint=f"whoever configures this server can set {switch}=1" if switch else "it is not on the list of --tools",
        )

    async def call(self, context: Context, name: str, arguments: Mapping[str, Any] | None) -> Answer:
        """Call a tool. Raises `PtybridgeError`, also for an unknown tool and for arguments that do not fit."""
        tool = self[name]
        answer = await tool.handler(context, tool.read(arguments))
        if tool.output is not None and answer.structured is None:
            raise TypeError(f"{name} has an output schema and gave no structured answer")
        return answer


def _is_on(tool: Tool, which: ToolList) -> bool:
    if which == "all":
        return True
    return (tool.gate == "agent" or tool.for_agents) if which == "agent" else tool.gate != "agent"


def object_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a struct's JSON schema with the object itself at the top, as MCP wants it."""
    schema = msgspec.json.schema(kind)
    others: dict[str, Any] = schema["$defs"]
    top: dict[str, Any] = others.pop(kind.__name__)
    for noise in ("title", "description"):
        top.pop(noise, None)
    return top | {"$defs": others} if others else top


def _number_of(value: object, declared: Any) -> object:
    """Read a number that was written as a string, if one is declared; everything else stays as it is."""
    if not isinstance(value, str):
        return value
    kinds = _kinds(msgspec.inspect.type_info(declared))
    if msgspec.inspect.StrType in kinds:
        return value
    if msgspec.inspect.IntType in kinds and _INTEGER.fullmatch(value):
        return int(value)
    if msgspec.inspect.FloatType in kinds and _NUMBER.fullmatch(value):
        return float(value)
    return value


def _kinds(info: msgspec.inspect.Type) -> set[type]:
    match info:
        case msgspec.inspect.Metadata():
            return _kinds(info.type)
        case msgspec.inspect.UnionType():
            return {kind for one in info.types for kind in _kinds(one)}
    return {type(info)}
