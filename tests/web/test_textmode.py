"""`?mode=text`: JSON in, JSON out, for clients that know nothing of terminals."""

from collections.abc import AsyncIterator

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import raw_cat, script, start, until
from tests.web.http import PATIENCE_SECONDS
from tests.web.terminals import Front, ended
from tests.web.test_terminal import web_settings

from ptybridge.api import session, terminal
from ptybridge.daemon import Daemon
from ptybridge.model import Caller

__all__ = ["web_settings"]


@pytest.fixture
async def front(daemon: Daemon, nursery: trio.Nursery) -> AsyncIterator[Front]:
    front = Front(daemon.web.web)
    await nursery.start(front.serve)
    yield front
    front.stopping.set()
    with trio.fail_after(PATIENCE_SECONDS, shield=True):
        await front.stopped.wait()


@pytest.fixture
def client(daemon: Daemon) -> LocalClient:
    return LocalClient(daemon)


async def test_a_line_goes_in_and_its_answer_and_the_exit_come_out(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "printf 'name? '; read name; echo hello $name; exit 7", echo=False)
    async with front.text(session_id) as text:
        assert (await text.next())["attached"]["offset"] == 0
        await text.until("name? ")
        await text.say(stdin="Jo", newline=True)
        await text.until("hello Jo\r\n")
        exited = await text.next_with("exit_code")
        assert (exited["exit_code"], exited["exit_reason"]) == (7, "exited")
        assert await ended(text.connection) == (1000, "exited")


async def test_even_a_program_that_ends_at_once_is_read_to_the_end(front: Front, client: LocalClient) -> None:
    session_id = await start(client, "seq", "1", "100000")
    async with front.text(session_id) as text:
        seen = await text.until("\n100000\r\n")
        assert seen == "".join(f"{n}\r\n" for n in range(1, 100_001))
        assert (await text.next_with("exit_code"))["exit_code"] == 0


async def test_the_streams_of_a_pipes_session_are_told_apart(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "echo out; read x; echo err >&2; read x", backend="pipes")
    async with front.text(session_id) as text:
        await text.until("out\n")
        await text.say(stdin="", newline=True)
        await text.until("err\n", "stderr")


async def test_colours_stay_and_the_rest_goes(front: Front, client: LocalClient) -> None:
    session_id = await script(client, r"printf '\033]0;title\007\033[31mred\033[0m\033[?25l\033(B.'; read x")
    for ansi, wanted in (("colour", "\x1b[31mred\x1b[0m."), ("none", "red.")):
        async with front.text(session_id, ansi=ansi) as text:
            assert await text.until(".") == wanted
    async with front.text(session_id, ansi="raw") as text:
        assert "\x1b]0;title\x07" in await text.until(".")


async def test_sizes_and_signals(front: Front, client: LocalClient) -> None:
    session_id = await script(
        client, "trap 'stty size; exit 3' INT; while :; do sh -c 'echo up; exec sleep 1000'; done"
    )
    async with front.text(session_id) as text:
        await text.until("up\r\n")
        await text.say(resize={"cols": 101, "rows": 33})
        assert (await text.next_with("resized"))["resized"] == {"cols": 101, "rows": 33}
        await text.say(signal="INT")
        await text.until("33 101")
        assert (await text.next_with("exit_code"))["exit_code"] == 3


async def test_it_goes_on_where_it_was(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    async with front.text(session_id) as text:
        await text.until("up\n")
        await text.say(stdin="one")
        while "one" not in (message := await text.next()).get("stdout", ""):
            pass
        at = message["next_offset"]
    await client.call(terminal.WRITE, session_id=session_id, data="two")
    async with front.text(session_id, offset=at) as text:
        assert await text.until("two") == "two"


async def test_what_is_gone_is_told(front: Front, client: LocalClient) -> None:
    session_id = await script(client, "seq 1 100000; echo 'the end'; read x", max_output_bytes=65536)
    await until(client, session_id, "the end")
    async with front.text(session_id, offset=0) as text:
        gap = (await text.next_with("gap"))["gap"]
        assert gap["from_offset"] == 0 < gap["to_offset"]
        await text.until("the end")


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ("no json", "invalid_request", "not understood: "),
        ("[]", "invalid_request", "not understood: it must be an object, not a list"),
        ('{"stdni": "x"}', "invalid_request", "not understood: there is no member 'stdni'"),
        ("{}", "invalid_request", "there is nothing in it"),
        ('{"stdin": 5}', "invalid_request", "not understood: stdin must be text or null, not a whole number"),
        ('{"resize": {"cols": 0, "rows": 5}}', "invalid_params", ""),
        ('{"signal": "NONSENSE"}', "invalid_params", ""),
    ],
)
async def test_errors_are_messages_and_the_connection_lives(
    front: Front, client: LocalClient, message: str, code: str, words: str
) -> None:
    async with front.text(await raw_cat(client)) as text:
        await text.until("up\n")
        await text.connection.send_message(message)
        error = (await text.next_with("error"))["error"]
        assert error["code"] == code
        assert error["message"].startswith(words)
        await text.say(stdin="alive")
        await text.until("alive")


async def test_s21_who_may_only_read_changes_nothing(front: Front, client: LocalClient) -> None:
    session_id = await raw_cat(client)
    size = (await client.call(session.GET, session_id=session_id)).rows
    reader = Caller(principal="key:r", connection_id="w2", scopes=frozenset({"session:read"}))
    for caller, query in ((reader, {}), (front.caller, {"read_only": True})):
        front.caller = caller
        async with front.text(session_id, **query) as text:
            await text.until("up\n")
            for said in ({"stdin": "no"}, {"resize": {"cols": 50, "rows": 10}}, {"signal": "KILL"}):
                await text.say(**said)
                assert (await text.next_with("error"))["error"]["code"] == "denied"
    info = await client.call(session.GET, session_id=session_id)
    assert (info.state, info.rows) == ("running", size)


async def test_characters_are_never_cut(front: Front, client: LocalClient) -> None:
    session_id = await start(client, "python3", "-c", "import sys; sys.stdout.write('€' * 20000 + '.'); input()")
    async with front.text(session_id) as text:
        assert await text.until(".") == "€" * 20000 + "."
