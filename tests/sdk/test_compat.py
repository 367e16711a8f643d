"""What was written for cmdop's first generation runs with only the import changed, in both clients."""

import inspect
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.conftest import Node, Run

import ptybridge
from ptybridge.errors import Denied, InvalidParams, NotFound, NotInstalled, PtybridgeError, SessionNotFound
from ptybridge.sdk.aio.compat import AsyncTerminalService
from ptybridge.sdk.sync.compat import TerminalService

GUIDE = Path(__file__).parents[2] / "docs" / "sdk.md"


def test_the_guides_programs_run_as_they_stand(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PTYBRIDGE_SOCKET", node.socket)
    programs = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) >= 3
    for program in programs:
        exec(compile(program, str(GUIDE), "exec"), {})
    printed = capsys.readouterr().out
    assert "42\n0\n" in printed
    assert "1\r\n2\r\n3\r\n" in printed
    assert "b'debug = false\\n' directory" in printed


# Prints on its second stream when the first one's pipe has been emptied: else either may be read first.
OUT_THEN_ERR = """
import fcntl, os, struct, termios
os.write(1, b"out")
while struct.unpack("i", fcntl.ioctl(1, termios.FIONREAD, bytes(4)))[0]:
    pass
os.write(2, b"err")
os._exit(3)
"""


def test_execute_is_a_child_of_its_own(run: Run) -> None:
    async def body(client: Any) -> None:
        result = await client.terminal.execute(shlex.join([sys.executable, "-c", OUT_THEN_ERR]))
        output, code = result
        assert (output, code, result.output, result.exit_code) == (b"outerr", 3, b"outerr", 3)
        assert result.text == "outerr"
        assert await client.terminal.execute("kill -9 $$") == (b"", 137)
        output, code = await client.terminal.execute("printf part; sleep 1000", timeout=0.5)
        assert code == -1
        assert output in (b"part", b"")
        assert (await client.terminal.execute('pwd; echo "$A"', cwd="/", env={"A": "b"})).text == "/\nb\n"

    run(body)


def test_a_terminal_by_its_id(run: Run, tmp_path: Path) -> None:
    async def body(client: Any) -> None:
        terminal = client.terminal
        session = await terminal.create(shell="/bin/bash", cols=100, rows=20, env={"A": "b"}, working_dir=tmp_path)
        assert (session.cols, session.rows, session.working_dir, session.shell) == (100, 20, str(tmp_path), "/bin/bash")
        assert session.created_at.year > 2000
        assert session.connected_clients == 0
        output, code = await terminal.execute("echo $A; false", session_id=session.session_id)
        assert (output.strip(), code) == (b"b", 1)
        terminal.set_session_id(session.session_id)
        assert (await terminal.execute("cd /; pwd")).text.strip() == "/"
        terminal.clear_session()
        await terminal.send_input(session.session_id, "echo ma''de\n")
        await client.session(session.session_id).expect(re.compile(r"made\r?\n"))
        history = await terminal.get_history(session.session_id, lines=50)
        assert b"made\n" in history.data
        assert history.total_lines >= 3
        assert not history.has_more
        newest = await terminal.get_history(session.session_id, lines=1)
        assert newest.has_more
        assert newest.data.count(b"\n") == 1
        assert b"made" in await terminal.get_output(session.session_id)
        await terminal.resize(session.session_id, 90, 30)
        await terminal.send_signal(session.session_id, ptybridge.SignalType.SIGINT)
        with pytest.raises(InvalidParams):
            await terminal.send_signal(session.session_id, "SIGNOTHING")
        assert session.session_id in [one.session_id for one in (await terminal.list_sessions(limit=1000)).sessions]
        assert await terminal.get_active_session() is not None
        await terminal.close(session.session_id, force=True)
        with pytest.raises(SessionNotFound):
            await terminal.get_history(session.session_id)

    run(body)


def test_the_modes_are_kept(run: Run) -> None:
    async def body(client: Any) -> None:
        session = await client.terminal.create(mode="exclusive")
        assert (await client.leases.get(session.session_id)).client_id == client.client_id
        await client.terminal.close(session.session_id)
        session = await client.terminal.create(mode="readonly")
        with pytest.raises(Denied):
            await client.terminal.send_input(session.session_id, "x")
        await client.terminal.close(session.session_id)

    run(body)


def test_only_this_machine_can_be_chosen(run: Run) -> None:
    async def body(client: Any) -> None:
        name = os.uname().nodename
        await client.terminal.set_machine(name[:2])
        assert client.terminal.current_hostname == name
        with pytest.raises(NotFound):
            await client.terminal.set_machine("elsewhere.example")
        assert (client.is_connected, client.mode) == (True, "local")

    run(body)


def test_the_relay_is_said_to_come_later() -> None:
    for kind in (ptybridge.Client, ptybridge.AsyncClient):
        with pytest.raises(NotInstalled, match="relay"):
            kind.remote("cmdop_live_x", agent_id="a")
    with pytest.raises(NotInstalled):
        ptybridge.Client.list_agents("cmdop_live_x")
    assert ptybridge.CMDOPClient is ptybridge.Client
    assert ptybridge.AsyncCMDOPClient is ptybridge.AsyncClient
    assert issubclass(NotInstalled, PtybridgeError)
    with pytest.raises(AttributeError):
        _ = ptybridge.Nothing
    assert "Client" in dir(ptybridge)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("create", ["shell", "cols", "rows", "env", "working_dir", "mode"]),
        ("send_input", ["session_id", "data"]),
        ("resize", ["session_id", "cols", "rows"]),
        ("send_signal", ["session_id", "signal"]),
        ("close", ["session_id", "force"]),
        ("get_history", ["session_id", "lines", "offset"]),
        ("get_output", ["session_id", "limit", "offset"]),
        ("execute", ["command", "timeout", "session_id"]),
        ("list_sessions", ["hostname", "status", "limit"]),
        ("list_active_sessions", ["hostname", "limit"]),
        ("get_active_session", ["hostname"]),
        ("set_machine", ["hostname", "partial_match"]),
    ],
)
def test_one_order_of_parameters_in_both(name: str, parameters: list[str]) -> None:
    for kind in (TerminalService, AsyncTerminalService):
        found = [one for one in inspect.signature(getattr(kind, name)).parameters if one != "self"]
        assert found[: len(parameters)] == parameters
