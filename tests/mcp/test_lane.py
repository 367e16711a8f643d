"""The fast lane answers exactly as the SDK does, for every version, and leaves to it whatever is unusual."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
import pytest
import trio

from ptybridge.api import mcp as api
from ptybridge.errors import InputFull, NotFound
from ptybridge.mcp import server
from ptybridge.mcp.lane import Lane
from ptybridge.mcp.toolset import Answer, Context, Hints, Tool
from ptybridge.model import Caller

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
PATIENCE_SECONDS = 60
CALLER = Caller(principal="uid:0", connection_id="c1", pid=1)


class Say(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    what: str = "text"
    count: Annotated[int, msgspec.Meta(ge=0)] = 0


VALUES: dict[str, Any] = {
    "nothing": None,
    "list": [1, 2.5, 1e22, -0.0, True, None, {"deep": [None]}],
    "text": 'ünïcödé \U0001f600 \u202e " \\ \x00 \x7f\n',
    "big": 2**53 + 1,
    "empty": {},
}


async def say(ctx: Context, params: Say) -> Answer:
    await trio.lowlevel.checkpoint()
    match params.what:
        case "values":
            return Answer(json.dumps(VALUES), VALUES)
        case "refused":
            raise NotFound("there is none", hint="look for it")
        case "busy":
            raise InputFull("full", queued_bytes=5, retry_after_ms=100)
        case "defect":
            raise ZeroDivisionError("secret")
        case "progress":
            await ctx.progress(1, 3, "one")
            await ctx.progress(2.5)
    return Answer(params.what * params.count, {})


async def wait_forever(ctx: Context, params: Say) -> Answer:
    await trio.Event().wait()
    return Answer("", {})


HINTS = Hints("Say")
TOOLS = [
    Tool("say", "says", Say, {"type": "object"}, HINTS, "core", say),
    Tool("text", "says", Say, None, HINTS, "core", say),
    Tool("wait", "waits", Say, None, HINTS, "core", wait_forever),
    Tool("switched", "off", Say, None, HINTS, "control", say),
]


class Quiet:
    """An endpoint where nothing happens; the tools here call no operations."""

    async def stream(self, *anything: object) -> str:
        await trio.Event().wait()
        return ""


class Wire:
    """A channel in memory, and the client at its other end."""

    def __init__(self) -> None:
        self._in, self._from_client = trio.open_memory_channel[bytes](100)
        self._to_client, self._out = trio.open_memory_channel[bytes](100)

    async def opened(self, answer: msgspec.Struct) -> None:
        await trio.lowlevel.checkpoint()

    async def send(self, head: bytes, payload: bytes = b"") -> None:
        await self._to_client.send(head + payload)

    async def receive(self) -> bytes:
        return await anext(self._from_client, b"")

    async def say(self, method: str, request_id: object = None, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        await self.say_raw(message if request_id is None else message | {"id": request_id})

    async def say_raw(self, *messages: object) -> None:
        await self._in.send(b"".join(json.dumps(one).encode() + b"\n" for one in messages))

    async def hear(self) -> Any:
        return json.loads(await self._out.receive())

    def hang_up(self) -> None:
        self._in.close()


def begin(nursery: trio.Nursery, wire: Any) -> None:
    """Begin to serve; what is said waits in the wire until somebody listens."""
    endpoint: Any = Quiet()
    nursery.start_soon(server.serve, endpoint, CALLER, api.Open(cwd="/"), wire)


@asynccontextmanager
async def connected(monkeypatch: pytest.MonkeyPatch, version: str, *, lane: bool = True) -> AsyncIterator[Wire]:
    """A client that has shaken hands, with the fast lane or without."""
    wire = Wire()
    taken: list[bytes] = []

    class Watched(Lane):
        def take(self, line: bytes) -> bool:
            found = lane and super().take(line)
            taken.extend([line] * found)
            return found

    monkeypatch.setattr(server, "Lane", Watched)
    monkeypatch.setattr(server, "all_tools", lambda: TOOLS)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            begin(nursery, wire)
            hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            await wire.say("initialize", "hello", **hello)
            assert (await wire.hear())["result"]["protocolVersion"] == version
            await wire.say("notifications/initialized")
            await wire.say("tools/list", "list")  # answered by a task that begins after the notification's
            await wire.hear()
            try:
                yield wire
            finally:
                wire.hang_up()
    assert bool(taken) == lane


def calls() -> list[dict[str, Any]]:
    """What is said in both ways."""
    whats = ["text", "values", "refused", "busy", "defect", "progress"]
    plain = [{"name": tool, "arguments": {"what": what, "count": 3}} for tool in ("say", "text") for what in whats]
    return [
        *plain,
        *(one | {"_meta": {"progressToken": token, "client/x": 1}} for one in plain for token in (7, "seven")),
        {"name": "say"},
        {"name": "say", "arguments": {"count": "2"}},
        {"name": "say", "arguments": {"count": -1}},
        {"name": "say", "arguments": {"count": "many", "colour": 1}},
        {"name": "nosuch", "arguments": {}},
        {"name": "switched", "arguments": {}},
        # These are for the SDK in both.
        {"name": "say", "arguments": None},
        {"name": "say", "arguments": []},
        {"name": 1, "arguments": {}},
        {"arguments": {}},
        {"name": "say", "arguments": {}, "unknown": 1},
        {"name": "say", "arguments": {}, "_meta": None},
        {"name": "say", "arguments": {}, "_meta": {"progressToken": True}},
        {"name": "say", "arguments": {}, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
    ]


IDS = [1, "1", "x", -5, 0, 2**40, 'q"\\']


async def heard(wire: Wire) -> list[Any]:
    """Say everything, one after the other; return all that was answered."""
    found = []
    for number, params in enumerate(calls()):
        await wire.say("tools/call", request_id := IDS[number % len(IDS)], **params)
        found += await up_to(wire, request_id)
    for request_id in IDS:
        await wire.say("ping", request_id)
        found += await up_to(wire, request_id)
    # An id that is none makes it a notification, which nobody answers.
    unusual = ({"id": 1.5}, {"id": True}, {"id": None}, {"id": 8, "extra": 2}, {"id": 9, "params": {"_meta": {"a": 1}}})
    for odd in unusual:
        await wire.say_raw({"jsonrpc": "2.0", "method": "ping"} | odd)
        await wire.say("tools/list", "after")
        found += await up_to(wire, "after")
    return found


async def up_to(wire: Wire, request_id: object) -> list[Any]:
    """Return all messages up to an answer."""
    found = [await wire.hear()]
    while found[-1].get("id") != request_id:
        found.append(await wire.hear())
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_it_answers_as_the_sdk_does(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    async with connected(monkeypatch, version, lane=False) as wire:
        by_sdk = await heard(wire)
    async with connected(monkeypatch, version) as wire:
        assert await heard(wire) == by_sdk


@pytest.mark.parametrize("lane", [False, True])
async def test_a_cancelled_call_is_never_answered_and_others_are(monkeypatch: pytest.MonkeyPatch, lane: bool) -> None:
    async with connected(monkeypatch, VERSIONS[-1], lane=lane) as wire:
        await wire.say("tools/call", 5, name="wait", arguments={})
        await wire.say("tools/call", 6, name="wait", arguments={})
        # Some clients write the id as a string.
        await wire.say("notifications/cancelled", requestId="5", reason="enough")
        await wire.say("notifications/cancelled", requestId=99)
        await wire.say("ping", 7)
        assert (await wire.hear())["id"] == 7
        wire.hang_up()
        # The end of the connection is told to who still waits.
        last = await wire.hear()
        assert (last["id"], last["error"]["code"]) == (6, -32000)


@pytest.mark.parametrize("lane", [False, True])
async def test_calls_in_one_chunk_begin_in_their_order(monkeypatch: pytest.MonkeyPatch, lane: bool) -> None:
    async with connected(monkeypatch, VERSIONS[-1], lane=lane) as wire:
        said = [
            {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "say", "arguments": {}}}
            for number in range(50)
        ]
        await wire.say_raw(*said)
        assert sorted([(await wire.hear())["id"] for _ in said]) == list(range(50))


async def test_nothing_is_taken_before_the_handshake() -> None:
    wire: Any = Wire()

    async def call(name: str, arguments: object, report: object) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(name)

    async with trio.open_nursery() as nursery:
        lane = Lane(nursery, wire, call)
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "say"}}).encode()
        assert not lane.take(line)
        lane.opened = True
        assert lane.take(line)
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await wire.hear())["result"]["content"][0]["text"] == "say"
