"""Programs that behave badly: output made to break a terminal, terminals closed and opened again, modes of devices."""

import os
import stat

import pytest
from tests.contract.endpoints import Client
from tests.contract.local_endpoint import LocalClient
from tests.contract.programs import PATIENCE_MS, exited, output, raw_cat, script, start, until

from ptybridge.api import session, terminal
from ptybridge.daemon import Daemon
from ptybridge.errors import SessionExited

HOSTILE = {
    "repeat a character 10^9 times": "out(b'x\\033[999999999b')",
    "an OSC that never ends": "out(b'\\033]0;' + b'A' * (8 << 20))",
    "a DCS that never ends": "out(b'\\033P' + b'q' * (8 << 20))",
    "an APC that never ends": "out(b'\\033_G' + b'a' * (8 << 20))",
    "a pile of combining characters": "out(('e' + '\\u0301' * 300_000).encode())",
    "wide characters at the edge": "out(('\\033[1;120H' + '你' * 50_000).encode())",
    "an enormous image": "out(b'\\033Pq\"1;1;100000;100000#0;2;0;0;0!99999999~\\033\\\\')",
    "tab stops everywhere": "out(b''.join(b'\\033[%dG\\033H' % n for n in range(1, 3000)) * 20 + b'\\t' * 100_000)",
    "huge parameters": "out(b'\\033[' + b'9' * 100_000 + b';' * 100_000 + b'm\\033[99999999999999999999;1H')",
    "scrolling regions and inserted lines": "out(b'\\033[2;3r\\033[99999L\\033[99999M\\033[99999@\\033[99999P' * 3000)",
    "saving and switching screens": "out(b'\\0337\\033[?1049h\\033[?1049l\\0338' * 50_000)",
    "every byte there is": "out(bytes(range(256)) * 2000)",
}


@pytest.fixture
def client(daemon: Daemon) -> Client:
    """The way to the daemon makes no difference here."""
    return LocalClient(daemon)


@pytest.mark.parametrize("what", HOSTILE)
async def test_s27_hostile_output_neither_breaks_nor_starves_anybody(client: Client, what: str) -> None:
    program = (
        "import os\n"
        "def out(data):\n"
        "    while data: data = data[os.write(1, data):]\n"
        f"{HOSTILE[what]}\n"
        "out(b'\\033\\\\\\030\\033c\\033[2J\\033[HDONE')\n"
        "os.read(0, 1)\n"
    )
    other = await raw_cat(client)
    session_id = await start(client, "python3", "-c", program, echo=False)
    await client.call(terminal.WRITE, session_id=other, data="lively")
    await until(client, other, "lively")
    waited = await client.call(
        terminal.WAIT, session_id=session_id, until=[{"screen": "DONE"}], timeout_ms=2 * PATIENCE_MS
    )
    assert waited.reason == "screen"
    for rows, cols in [(1, 1), (10_000, 1), (1, 10_000), (30, 120)]:
        await client.call(session.RESIZE, session_id=session_id, rows=rows, cols=cols)
        screen = await client.call(terminal.SCREEN, session_id=session_id)
        assert (screen.rows, screen.cols) == (rows, cols)
    await client.call(terminal.WRITE, session_id=session_id, data="x\n")
    await exited(client, session_id)


async def test_s19_the_terminals_mode_is_never_changed(client: Client) -> None:
    """Neither by starting nor by several clients being attached: nobody else may ever open it."""
    session_id = await script(client, "tty; exec sleep 1000")
    path = (await until(client, session_id, "\n")).data.strip()
    assert path.startswith("/dev/pts/")

    def mode() -> tuple[int, int]:
        found = os.stat(path)
        return stat.S_IMODE(found.st_mode), found.st_uid

    before = mode()
    assert before[0] in {0o600, 0o620}
    assert before[1] == os.geteuid()
    async with (
        client.attach(session_id=session_id, rows=30, cols=120) as one,
        client.attach(session_id=session_id, rows=24, cols=80) as two,
    ):
        await one.in_step()
        await two.in_step()
        assert mode() == before
    assert mode() == before


@pytest.mark.parametrize("rest", ["; exec sleep 0.1", ""])
async def test_r03_output_of_a_terminal_that_was_closed_in_between_is_not_lost(client: Client, rest: str) -> None:
    """While nobody has the terminal open, reading it is an error that must not be taken for the end.

    Nor may the end of the program, whose last words came after that error.
    """
    text = f"exec </dev/null >/dev/null 2>&1; sleep 0.2; echo back >/dev/tty{rest}"
    session_id = await script(client, text)
    assert await output(client, session_id) == "back\r\n"


async def test_r03_programs_that_end_at_once_are_read_to_the_end(client: Client) -> None:
    for turn in range(30):
        session_id = await start(client, "printf", "%s", f"turn {turn}")
        assert await output(client, session_id) == f"turn {turn}"


async def test_s20_a_signal_never_goes_to_a_stranger(client: Client) -> None:
    """Once its program has been reaped a session signals nobody, though its process number may be somebody's."""
    session_id = await script(client, "exit 0")
    done = await exited(client, session_id)
    with pytest.raises(SessionExited):
        await client.call(session.SIGNAL, session_id=session_id, signal="KILL")
    with pytest.raises(SessionExited):
        await client.call(session.SIGNAL, session_id=session_id, signal="KILL", target="session")
    closed = await client.call(session.CLOSE, session_id=session_id)
    assert (closed.signals, closed.survivors) == ([], [])
    assert done.pid > 0
