"""`marks` of `session.attach`: where the commands stand in the picture that somebody gets who comes later."""

from pathlib import Path

from tests.contract.endpoints import Client
from tests.contract.shells import awaits_keys, home_of, open_shell, run

from ptybridge.core.screen import Screen
from ptybridge.model import WindowSize
from ptybridge.wire import attach as frames


async def test_commands_in_the_scrollback_are_marked_with_their_ends(
    client: Client, tmp_path: Path, shell: str
) -> None:
    session_id = await open_shell(client, home_of(tmp_path), shell, rows=10, cols=80)
    await run(client, session_id, "seq 5")
    await run(client, session_id, "sh -c 'exit 3'")
    await run(client, session_id, "seq 200 300")
    await awaits_keys(client, session_id)
    async with client.attach(session_id=session_id, rows=10, cols=80, marks=True) as link:
        snapshot = await link.next_of(frames.Snapshot)
        marks = (await link.next_of(frames.Marks)).marks
    copy = Screen.restore(snapshot.data, 0, WindowSize(10, 80), scrollback_lines=5000)
    lines = [*copy.scrollback(), *copy.lines()]
    done = [one for one in marks if one.state == "done"]
    assert [one.exit_code for one in done] == [0, 3, 0]
    for one, command in zip(done, ("seq 5", "exit 3", "seq 200 300"), strict=True):
        assert command in lines[one.line]
    # The prompt that waits is there, too, so that what is run from it is marked.
    assert (marks[-1].state, marks[-1].line > done[-1].line) == ("prompt", True)


async def test_who_does_not_ask_gets_none(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path), rows=10, cols=80)
    async with client.attach(session_id=session_id, rows=10, cols=80) as link:
        await link.next_of(frames.Snapshot)
        await link.send(frames.Ping(b"12345678"))
        while not isinstance(frame := await link.next(), frames.Pong):
            assert not isinstance(frame, frames.Marks)
