"""Secrets over every endpoint: who may give them, when they are typed, and who gets to see them afterwards."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.endpoints import PATIENCE_SECONDS, Client
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import BASH, BASH_ENV, PATIENCE_MS, exited, output, script, start, until

from ptybridge.api import attach, command, secret, session, terminal
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied, EchoOn, SecretNotFound, SessionExited
from ptybridge.model import Caller

VALUE = "correct-Horse42"
# As sudo -S asks: no echo while it reads, and a program that is careless with what it has read.
ASKS = (
    'stty -echo; printf "Password: "; read p; stty echo; echo; echo "got $p"; printf "%s" "${p%%42}"; read rest; echo'
)


@asynccontextmanager
async def asking(client: Client, session_id: str, **params: Any) -> AsyncIterator[list[secret.SecretResult]]:
    """Ask for a secret; inside it is asked for, afterwards the answer is in the list."""
    answers: list[secret.SecretResult] = []

    async def ask() -> None:
        answers.append(
            await client.call(
                secret.REQUEST,
                **{"session_id": session_id, "prompt": "Password for x", "timeout_ms": PATIENCE_MS} | params,
            )
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        yield answers


async def pending(client: Client) -> secret.PendingSecret:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            found = (await client.call(secret.LIST)).requests
            if found:
                return found[0]
            await trio.sleep(0.01)


def agent(daemon: Daemon) -> LocalClient:
    client = LocalClient(daemon)
    client.caller = Caller(principal=client.caller.principal, connection_id="agent", profile="mcp")
    return client


async def test_a_human_types_it(connect: Connect) -> None:
    asker, human = await connect(), await connect()
    session_id = await script(asker, 'stty -echo; printf "Password: "; read p; stty echo; echo "${#p} characters"')
    await until(asker, session_id, "Password: ")
    async with asking(asker, session_id) as answers:
        request = await pending(human)
        assert (request.session_id, request.prompt, request.echo) == (session_id, "Password for x", False)
        given = await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)
        assert given.accepted_bytes == len(VALUE) + 1
    assert answers == [given]
    assert (given.reason, given.redacted) == ("provided", True)
    assert f"{len(VALUE)} characters" in await output(asker, session_id)
    assert (await human.call(secret.LIST)).requests == []
    with pytest.raises(SecretNotFound):
        await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)


async def test_it_is_not_typed_where_it_would_show(connect: Connect) -> None:
    asker, human = await connect(), await connect()
    session_id = await start(asker, "cat")
    async with asking(asker, session_id) as answers:
        request = await pending(human)
        assert request.echo
        with pytest.raises(EchoOn):
            await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)
        assert await pending(human) == request  # it still waits
        await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE, allow_echo=True)
    assert answers[0].reason == "provided"


async def test_it_is_not_typed_at_a_shells_prompt(connect: Connect) -> None:
    asker, human = await connect(), await connect()
    session_id = await start(asker, *BASH, env=BASH_ENV)
    await until(asker, session_id, "ready> ")
    async with asking(asker, session_id) as answers:
        request = await pending(human)
        with pytest.raises(EchoOn, match="prompt"):
            await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)
        await human.call(secret.DENY, request_id=request.request_id)
    assert answers[0] == secret.SecretResult(reason="denied")


async def test_a_request_ends_with_its_time_and_with_its_session(connect: Connect) -> None:
    client = await connect()
    session_id = await start(client, "cat")
    late = await client.call(secret.REQUEST, session_id=session_id, prompt="x", timeout_ms=0)
    assert late == secret.SecretResult(reason="timeout")
    async with asking(client, session_id) as answers:
        other = await connect()
        await pending(other)
        await other.call(session.SIGNAL, session_id=session_id, signal="KILL")
    assert answers[0].reason == "exited"
    await exited(client, session_id)
    with pytest.raises(SessionExited):
        await client.call(secret.REQUEST, session_id=session_id, prompt="x")


async def test_agents_may_not_answer(daemon: Daemon) -> None:
    client = agent(daemon)
    with pytest.raises(Denied):
        await client.call(secret.PROVIDE, request_id="x", value=VALUE)
    with pytest.raises(Denied):
        await client.call(secret.DENY, request_id="x")


async def test_s29_agents_see_nothing_of_it_in_any_answer(daemon: Daemon, tmp_path: Path) -> None:
    client, human = agent(daemon), LocalClient(daemon)
    session_id = await start(client, "sh", "-c", ASKS, log_dir=str(tmp_path))
    await until(client, session_id, "Password: ")
    async with asking(client, session_id):
        request = await pending(human)
        await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)
    # The program printed it whole, and then all but the end of it.
    found = await client.call(terminal.READ_UNTIL, session_id=session_id, pattern="got ", timeout_ms=PATIENCE_MS)
    assert found.reason == "matched"
    await until(human, session_id, f"{VALUE}\r\ncorrect-Horse", client_id="human")
    seen = ""
    for _ in range(3):
        seen += (await client.call(terminal.READ, session_id=session_id, max_bytes=9)).data
    rest = await client.call(terminal.READ, session_id=session_id)
    seen += rest.data
    assert seen.replace("[redacted]", "").strip() == ""
    assert "correct" not in seen
    picture = await client.call(terminal.SCREEN, session_id=session_id)
    assert "got [redacted]" in "\n".join(picture.lines)
    matches = await client.call(command.SEARCH, session_id=session_id, pattern="got")
    assert matches.matches[0].text == "got [redacted]"
    await client.call(terminal.WRITE, session_id=session_id, data="\n")
    await exited(client, session_id)
    whole = await client.call(terminal.READ, session_id=session_id, offset=0, encoding="base64")
    assert VALUE not in base64.b64decode(whole.data).decode()
    assert VALUE in (await human.call(terminal.READ, session_id=session_id, offset=0)).data
    await human.call(session.CLOSE, session_id=session_id)
    for path in (tmp_path / session_id).iterdir():
        assert VALUE not in path.read_text()
    assert daemon.sessions.secrets.values == ()


async def test_s29_streams_to_agents_are_redacted(daemon: Daemon, nursery: trio.Nursery) -> None:
    client, human = agent(daemon), LocalClient(daemon)
    session_id = await start(human, "sh", "-c", ASKS)
    await until(human, session_id, "Password: ")
    async with asking(client, session_id):
        request = await pending(human)
        await human.call(secret.PROVIDE, request_id=request.request_id, value=VALUE)
    await until(human, session_id, f"got {VALUE}")
    seen = []

    class Sink:
        async def opened(self, answer: object) -> None:
            await trio.lowlevel.checkpoint()

        async def send(self, event: object) -> None:
            await trio.lowlevel.checkpoint()
            if isinstance(event, attach.OutputEvent):
                seen.append(event.data)

    raw = msgspec.Raw(msgspec.json.encode({"session_id": session_id}))
    nursery.start_soon(daemon.server.endpoint.stream, client.caller, attach.FOLLOW.name, raw, Sink())
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if "got [redacted]" in "".join(seen):
                break
            await trio.sleep(0.01)
    assert VALUE not in "".join(seen)
