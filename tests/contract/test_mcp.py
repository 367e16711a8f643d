"""`mcp.open`: MCP's messages over a channel, whatever carries it."""

import importlib.util
from typing import Any

import msgspec
import pytest
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client, Link
from tests.contract.programs import start

from ptybridge import __version__
from ptybridge.api import mcp
from ptybridge.errors import InvalidParams, NotInstalled

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class Messages:
    """One JSON object a line, over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._unread = b""

    async def send(self, *lines: object) -> None:
        texts = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
        await self._link.send_bytes(b"".join(text + b"\n" for text in texts))

    async def next(self) -> Any:
        with trio.fail_after(PATIENCE_SECONDS):
            while b"\n" not in self._unread:
                data = await self._link.receive_bytes()
                assert data, "the channel has ended"
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return msgspec.json.decode(line)

    async def answer(self, message_id: object) -> Any:
        """Return the answer to a request; other messages are passed over."""
        while True:
            message = await self.next()
            if message.get("id") == message_id and "method" not in message:
                return message

    async def ask(self, message_id: object, method: str, **params: Any) -> Any:
        await self.send({"jsonrpc": "2.0", "id": message_id, "method": method, "params": params})
        return await self.answer(message_id)

    async def initialize(self) -> Any:
        found = await self.ask("hello", "initialize", **HELLO)
        await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return found["result"]


async def test_a_client_finds_tools_and_sessions(client: Client) -> None:
    session_id = await start(client, "cat", name="here")
    async with client.channel(mcp.OPEN, environ={"A": "b"}, cwd="/") as link:
        assert link.opened.version == __version__
        messages = Messages(link)
        found = await messages.initialize()
        assert found["protocolVersion"] == "2025-06-18"
        assert found["serverInfo"] == {"name": "ptybridge", "title": "ptybridge", "version": __version__}
        assert "tools" in (await messages.ask(1, "tools/list"))["result"]
        listed = (await messages.ask(2, "resources/list"))["result"]["resources"]
        assert f"ptybridge://session/{session_id}/screen" in [one["uri"] for one in listed]


async def test_what_is_no_message_gets_one_error_and_the_channel_lives(client: Client) -> None:
    async with client.channel(mcp.OPEN) as link:
        messages = Messages(link)
        await messages.initialize()
        junk = {b"[]": -32600, b"1": -32600, b'"x"': -32600, b"{nonsense": -32700, b"\xff": -32700}
        for line, code in junk.items():
            await messages.send(line)
            found = await messages.next()
            assert (found["id"], found["error"]["code"]) == (None, code)
        await messages.send({"id": 7, "method": "ping"})
        assert (await messages.next())["id"] == 7
        assert (await messages.ask(8, "ping"))["result"] == {}


async def test_a_tool_that_is_not_there_is_a_result_that_says_so(client: Client) -> None:
    async with client.channel(mcp.OPEN) as link:
        messages = Messages(link)
        await messages.initialize()
        result = (await messages.ask(1, "tools/call", name="no_such_tool", arguments={}))["result"]
        assert result["isError"] is True
        assert "no_such_tool" in result["content"][0]["text"]
        assert result["_meta"]["ptybridge/error"]["code"] == "not_found"


@pytest.mark.parametrize("wrong", [{"tools": "some"}, {"environ": {"A": 1}}, {"colour": "red"}])
async def test_wrong_parameters_open_nothing(client: Client, kind: str, wrong: dict[str, Any]) -> None:
    if kind == "blocking" and "colour" in wrong:
        pytest.skip("the blocking client has no such parameter")
    with pytest.raises(InvalidParams):
        async with client.channel(mcp.OPEN, **wrong):
            pass


async def test_without_the_sdk_it_says_how_to_get_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "mcp" else find(name, *rest))
    with pytest.raises(NotInstalled) as caught:
        async with client.channel(mcp.OPEN):
            pass
    assert "ptybridge[mcp]" in str(caught.value.hint)
