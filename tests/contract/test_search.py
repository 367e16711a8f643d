"""`session.search`: clean lines with their numbers and offsets, forwards and backwards."""

import pytest
from tests.contract.endpoints import Client
from tests.contract.programs import exited, script

from ptybridge.api import command, terminal
from ptybridge.errors import InvalidParams


async def test_lines_are_found_as_they_read(client: Client) -> None:
    session_id = await script(client, r"printf 'one\n\033[31mEr\033[0mror 12\n50%%\r100%%\nerror 7\nlast\n'")
    await exited(client, session_id)
    found = await client.call(command.SEARCH, session_id=session_id, pattern="error", ignore_case=True, context_lines=1)
    assert [(one.line, one.text, one.before, one.after) for one in found.matches] == [
        (2, "Error 12", ["one"], ["100%"]),
        (4, "error 7", ["100%"], ["last"]),
    ]
    read = await client.call(terminal.READ, session_id=session_id, offset=found.matches[1].offset)
    assert read.data.startswith("error 7")
    back = await client.call(command.SEARCH, session_id=session_id, pattern=r"\d+$", regex=True, direction="backward")
    assert [one.line for one in back.matches] == [4, 2]
    with pytest.raises(InvalidParams):
        await client.call(command.SEARCH, session_id=session_id, pattern="(", regex=True)


async def test_a_search_is_gone_on_with(client: Client) -> None:
    session_id = await script(client, "seq 1 30000")
    await exited(client, session_id)
    for direction in ("forward", "backward"):
        lines: list[int] = []
        begin = None
        while True:
            found = await client.call(
                command.SEARCH,
                session_id=session_id,
                pattern="77",
                max_matches=100,
                direction=direction,
                from_offset=begin,
            )
            lines += [int(one.text) for one in found.matches]
            if not found.more:
                break
            begin = found.next_offset
        expected = [number for number in range(1, 30001) if "77" in str(number)]
        assert lines == (expected if direction == "forward" else expected[::-1])
