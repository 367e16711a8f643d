"""`session.write`, `send_keys` and `paste`: all or nothing, in order, and never silently cut."""

import base64

import pytest
import trio
from tests.contract.endpoints import PATIENCE_SECONDS, Client
from tests.contract.programs import PATIENCE_MS, exited, output, raw_cat, script, shell, start, until

from ptybridge import config
from ptybridge.api import session, terminal
from ptybridge.errors import InputClosed, InputFull, InvalidParams, LineTooLong, RateLimited, SessionExited

# A program that never reads, in raw mode, so that no line is too long for it.
DEAF = "stty raw -echo; echo deaf; exec sleep 1000"


@pytest.fixture
def settings() -> config.Daemon:
    return config.Daemon(stop_timeout_ms=2000, max_input_bytes=1 << 20)


async def test_text_and_bytes_arrive_as_they_are(client: Client) -> None:
    session_id = await raw_cat(client)
    written = await client.call(terminal.WRITE, session_id=session_id, data="grüß\tgott")
    assert written.accepted_bytes == len("grüß\tgott".encode())
    raw = bytes(range(256))
    data = base64.b64encode(raw).decode()
    await client.call(terminal.WRITE, session_id=session_id, data=data, encoding="base64")
    expected = b"up\n" + "grüß\tgott".encode() + raw
    seen = b""
    with trio.fail_after(PATIENCE_SECONDS):
        while len(seen) < len(expected):
            read = await client.call(
                terminal.READ, session_id=session_id, encoding="base64", offset=len(seen), timeout_ms=PATIENCE_MS
            )
            seen += base64.b64decode(read.data)
    assert seen == expected


@pytest.mark.parametrize("data", ["not base64!", "YQ=", "YQ==\n "])
async def test_what_is_not_base64_is_refused(client: Client, data: str) -> None:
    session_id = await raw_cat(client)
    with pytest.raises(InvalidParams, match="base64"):
        await client.call(terminal.WRITE, session_id=session_id, data=data, encoding="base64")


async def test_writes_keep_their_order(client: Client) -> None:
    session_id = await raw_cat(client)
    text = "".join(f"{n:04}." for n in range(300))
    for at in range(0, len(text), 7):
        await client.call(terminal.WRITE, session_id=session_id, data=text[at : at + 7])
    found = await until(client, session_id, "0299.")
    assert found.data == text


async def test_r05_input_is_taken_whole_or_not_at_all(client: Client) -> None:
    """A program that does not read fills its own queue: the rest is refused, and others are not held up."""
    session_id = await script(client, DEAF)
    await until(client, session_id, "deaf")
    other = await raw_cat(client)
    chunk = "x" * 300_000
    accepted = 0

    async def fill(chunk: str) -> None:
        nonlocal accepted
        while accepted < 1 << 24:
            accepted += (await client.call(terminal.WRITE, session_id=session_id, data=chunk)).accepted_bytes

    with pytest.raises(InputFull) as caught:
        await fill(chunk)
    assert accepted % len(chunk) == 0
    assert caught.value.retryable
    assert caught.value.data["retry_after_ms"]
    assert (await client.call(session.GET, session_id=session_id)).bytes_written == accepted
    # A little still fits; nothing of the refused write went in.
    room = (1 << 20) - int(str(caught.value.data["queued_bytes"]))
    await client.call(terminal.WRITE, session_id=session_id, data="y" * room)
    # The kernel may have taken a part of what was queued meanwhile, when its own thread comes late.
    with pytest.raises(InputFull):
        await fill("y")
    await client.call(terminal.WRITE, session_id=other, data="lively")
    await until(client, other, "lively")


async def test_r05_a_signal_passes_queued_input(client: Client) -> None:
    session_id = await script(client, "trap 'echo caught; exit 3' INT; " + DEAF.replace("exec ", "") + " & wait")
    await until(client, session_id, "deaf")
    await client.call(terminal.WRITE, session_id=session_id, data="x" * 500_000)
    await client.call(session.SIGNAL, session_id=session_id, signal="INT", target="session")
    assert (await exited(client, session_id)).exit_code == 3


async def test_r04_a_line_the_terminal_would_cut_is_refused(client: Client) -> None:
    session_id = await start(client, "cat")
    await client.call(terminal.WRITE, session_id=session_id, data="x" * 4095 + "\n")
    await until(client, session_id, "x\r\n")
    with pytest.raises(LineTooLong) as caught:
        await client.call(terminal.WRITE, session_id=session_id, data="y" * 4096 + "\n")
    assert "line mode" in caught.value.message
    # In two pieces it is the same line.
    await client.call(terminal.WRITE, session_id=session_id, data="z" * 4000)
    with pytest.raises(LineTooLong):
        await client.call(terminal.WRITE, session_id=session_id, data="z" * 96)
    await client.call(terminal.WRITE, session_id=session_id, data="z" * 95 + "\n")
    await client.call(terminal.WRITE, session_id=session_id, data=("w" * 4000 + "\n") * 3, eof=True)
    text = await output(client, session_id)
    assert "y" not in text
    assert text.count("z") == 2 * 4095  # echoed, and printed by cat


async def test_r04_a_long_line_waits_for_raw_mode(client: Client) -> None:
    """A shell that is just starting shows its prompt before it sets raw mode."""
    session_id = await start(client, "sh", "-c", "read x; stty raw -echo; echo up; exec cat", echo=False)
    line = "x" * 20_000
    await client.call(terminal.WRITE, session_id=session_id, data="go\n")
    # Accepted if raw mode comes within 250 ms, which a busy machine may miss; then it was refused as a whole.
    try:
        await client.call(terminal.WRITE, session_id=session_id, data=line + ".")
    except LineTooLong:
        await until(client, session_id, "up")
        await client.call(terminal.WRITE, session_id=session_id, data=line + ".")
    found = await until(client, session_id, ".")
    assert found.data.count("x") == 20_000


async def test_input_over_its_rate_is_refused_whole(client: Client) -> None:
    session_id = await raw_cat(client, input_bytes_per_second=1000)
    await client.call(terminal.WRITE, session_id=session_id, data="a" * 4000)
    # A busy machine may take some of these four seconds until it asks again.
    with pytest.raises(RateLimited) as caught:
        await client.call(terminal.WRITE, session_id=session_id, data="b" * 900)
    assert caught.value.retryable
    retry_after_ms = caught.value.data["retry_after_ms"]
    assert isinstance(retry_after_ms, int)
    assert 0 < retry_after_ms <= 3901
    await trio.sleep(retry_after_ms / 1000)  # what the answer asks for
    await client.call(terminal.WRITE, session_id=session_id, data="c" * 900)
    found = await until(client, session_id, "c" * 900)
    assert "b" not in found.data


async def test_nothing_is_lost_of_output_over_its_rate(client: Client) -> None:
    session_id = await script(client, "seq 1 2000", output_bytes_per_second=40_000)
    text = await output(client, session_id)
    assert text.split() == [str(n) for n in range(1, 2001)]


async def test_end_of_input_over_pipes(client: Client) -> None:
    session_id = await start(client, "cat", backend="pipes")
    await client.call(terminal.WRITE, session_id=session_id, data="hello\n", eof=True)
    assert await output(client, session_id) == "hello\n"


async def test_end_of_input_on_a_terminal(client: Client) -> None:
    session_id = await start(client, "cat")
    await client.call(terminal.WRITE, session_id=session_id, data="hello\n", eof=True)
    assert await output(client, session_id) == "hello\r\nhello\r\n"


async def test_input_a_running_program_has_closed_is_told_so(client: Client) -> None:
    session_id = await start(client, "sh", "-c", "exec 0<&-; echo closed; exec sleep 1000", backend="pipes")
    await until(client, session_id, "closed")
    for _ in range(2):
        with pytest.raises(InputClosed):
            await client.call(terminal.WRITE, session_id=session_id, data="x")
    assert (await client.call(session.GET, session_id=session_id)).state == "running"


async def test_input_to_what_has_exited_is_refused(client: Client) -> None:
    session_id = await script(client, "exit 0")
    await exited(client, session_id)
    refused: list[tuple[str, dict[str, object]]] = [
        ("session.write", {"data": "x"}),
        ("session.send_keys", {"keys": ["enter"]}),
        ("session.paste", {"text": "x"}),
        ("session.prompt", {"data": "x"}),
        ("session.signal", {"signal": "INT"}),
    ]
    for method, more in refused:
        with pytest.raises(SessionExited):
            await client.call_raw(method, {"session_id": session_id} | more)


# -- keys and paste ------------------------------------------------------------------------------------------


async def test_keys_are_pressed_in_order(client: Client) -> None:
    session_id = await shell(client)
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=[*"echo abX", "backspace", *"c", "enter"])
    await until(client, session_id, "abc\r\n")
    await until(client, session_id, "ready> ")
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["up", "enter"])
    await until(client, session_id, "echo abc")
    await until(client, session_id, "abc\r\n")
    await until(client, session_id, "ready> ")
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["ctrl-d"])
    await exited(client, session_id)


async def test_keys_follow_the_terminals_modes(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["up", "enter", "alt-x", "f5"])
    assert await _typed(client, session_id, b"\x1b[A\r\x1bx\x1b[15~") == b"\x1b[A\r\x1bx\x1b[15~"
    other = await start(client, "sh", "-c", r"stty raw -echo; printf '\033[?1hup\n'; exec cat")
    found = await until(client, other, "up\n")
    await client.call(terminal.SEND_KEYS, session_id=other, keys=["up"])
    assert await _typed(client, other, b"\x1bOA", found.next_offset) == b"\x1bOA"


async def test_an_unknown_key_is_refused_and_nothing_pressed(client: Client) -> None:
    session_id = await raw_cat(client)
    with pytest.raises(InvalidParams, match="no-such-key"):
        await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["a", "no-such-key"])
    assert (await client.call(session.GET, session_id=session_id)).bytes_written == 0


async def test_s28_a_paste_cannot_end_its_own_bracket(client: Client) -> None:
    session_id = await start(client, "sh", "-c", r"stty raw -echo; printf '\033[?2004hup\n'; exec cat")
    found = await until(client, session_id, "up\n")
    await client.call(terminal.PASTE, session_id=session_id, text="one\x1b[201~rm -rf\n")
    end = b"\x1b[201~"
    typed = await _typed(client, session_id, end, found.next_offset)
    assert typed.startswith(b"\x1b[200~one")
    assert typed.endswith(end)
    assert typed.count(end) == 1
    assert b"rm -rf" in typed


async def test_a_paste_without_brackets_is_typed(client: Client) -> None:
    session_id = await raw_cat(client)
    await client.call(terminal.PASTE, session_id=session_id, text="plain.")
    assert await _typed(client, session_id, b".") == b"plain."


async def _typed(client: Client, session_id: str, last: bytes, offset: int = 3) -> bytes:
    """Return what the raw program got, up to `last`."""
    seen = b""
    with trio.fail_after(PATIENCE_SECONDS):
        while last not in seen:
            read = await client.call(
                terminal.READ,
                session_id=session_id,
                offset=offset + len(seen),
                encoding="base64",
                timeout_ms=PATIENCE_MS,
            )
            seen += base64.b64decode(read.data)
    return seen
