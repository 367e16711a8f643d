"""`command.run`: exactly the output and exit code of the command, in every shell, and an honest reason for its end."""

from pathlib import Path

import pytest
import trio
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, script, until
from tests.contract.shells import at_prompt, awaits_keys, home_of, open_shell, run, runs

from ptybridge.api import command, session, terminal
from ptybridge.errors import Busy, Conflict, InvalidParams, SessionExited
from ptybridge.service.runner import Reason, Runner


async def test_the_output_and_the_exit_code_of_the_command_alone(client: Client, tmp_path: Path, shell: str) -> None:
    session_id = await open_shell(client, home_of(tmp_path), shell)
    done = await run(client, session_id, "echo one; echo two")
    assert (done.reason, done.exit_code, done.output, done.via) == ("completed", 0, "one\ntwo\n", "marks")
    assert (done.truncated, done.started, done.alternate_screen) == (None, True, False)
    done = await run(client, session_id, "false")
    assert (done.exit_code, done.output) == (1, "")
    done = await run(client, session_id, "sh -c 'exit 42'")
    assert done.exit_code == 42
    done = await run(client, session_id, "printf 'no end'")
    assert (done.exit_code, done.output) == (0, "no end")


async def test_the_directory_and_the_history_are_the_shells(client: Client, tmp_path: Path, shell: str) -> None:
    home = home_of(tmp_path)
    session_id = await open_shell(client, home, shell)
    (home / "a;b \\ c").mkdir()
    done = await run(client, session_id, "cd 'a;b \\ c'" if shell != "fish" else "cd 'a;b \\\\ c'")
    assert done.cwd == str(home / "a;b \\ c")
    await run(client, session_id, "echo 'semi;colon' \"back\\\\slash\"")
    listed = await client.call(command.LIST, session_id=session_id)
    newest = listed.commands[0]
    assert newest.command == "echo 'semi;colon' \"back\\\\slash\""
    assert (newest.cwd, newest.exit_code, newest.trusted) == (done.cwd, 0, True)
    info = await client.call(session.GET, session_id=session_id)
    assert (info.shell_integration, info.current_cwd, info.running_command) == ("prompt", done.cwd, None)
    got = await client.call(command.GET, session_id=session_id, number=newest.number)
    assert (got.output, got.command, got.missed_bytes) == ("semi;colon back\\slash\n", newest, 0)


async def test_several_lines_are_one_command(client: Client, tmp_path: Path, shell: str) -> None:
    session_id = await open_shell(client, home_of(tmp_path), shell)
    done = await run(client, session_id, "echo one\necho two\n\tsh -c 'exit 3'")
    assert (done.reason, done.exit_code, done.output) == ("completed", 3, "one\ntwo\n")
    if shell != "fish":
        done = await run(client, session_id, "for i in 1 2; do\n  echo $i\ndone; cat <<'X'\nhere\nX\n")
        assert (done.exit_code, done.output) == (0, "1\n2\nhere\n")


async def test_two_hundred_commands_in_a_row_are_exact(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    for number in range(200):
        done = await run(client, session_id, f"echo {number}; (exit {number % 100})")
        assert (done.reason, done.output, done.exit_code) == ("completed", f"{number}\n", number % 100)
    listed = await client.call(command.LIST, session_id=session_id, limit=1000)
    assert [one.exit_code for one in reversed(listed.commands)] == [number % 100 for number in range(200)]


async def test_concurrent_runs_queue_in_order(connect: Connect, tmp_path: Path) -> None:
    client = await connect()
    session_id = await open_shell(client, home_of(tmp_path))
    results: dict[int, command.Ran] = {}
    others = [await connect() for _ in range(4)]

    async def one(number: int, through: Client) -> None:
        results[number] = await run(through, session_id, f"echo number {number}")

    async with trio.open_nursery() as nursery:
        for number, other in enumerate(others):
            nursery.start_soon(one, number, other)
    assert {number: done.output for number, done in results.items()} == {n: f"number {n}\n" for n in range(4)}


async def test_a_flood_keeps_its_head_and_tail_and_counts_the_rest(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path), max_output_bytes=65536)
    done = await run(client, session_id, "seq 1 100000", max_output_bytes=1000)
    assert (done.reason, done.exit_code) == ("completed", 0)
    whole = "".join(f"{number}\n" for number in range(1, 100_001))
    assert done.truncated is not None
    assert done.output.startswith(whole[: done.truncated.head_bytes])
    assert done.output.endswith(whole[-done.truncated.tail_bytes :])
    assert done.truncated.head_bytes + done.truncated.tail_bytes + done.truncated.omitted_bytes == len(whole)


async def test_at_the_time_out_it_runs_on(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Runner._ended

    def not_before_it_has_begun(runner: Runner) -> Reason | None:
        reason = ended(runner)
        begun = b"begun\r\n" in runner.session.log.read(0, runner.position)[1]
        return reason if begun or reason != "timeout" else None

    monkeypatch.setattr(Runner, "_ended", not_before_it_has_begun)
    session_id = await open_shell(client, home_of(tmp_path))
    gate = tmp_path / "gate"
    waiting = f"echo begun; until [ -e {gate} ]; do sleep 0.05; done; echo over; exec 2>&1; (exit 7)"
    done = await run(client, session_id, waiting, timeout_ms=1000)
    assert (done.reason, done.exit_code, done.started) == ("timeout", None, True)
    assert done.number is not None
    with pytest.raises(Busy, match="echo begun"):
        await client.call(command.RUN, session_id=session_id, command="echo x")
    gate.touch()
    await at_prompt(client, session_id)
    got = await client.call(command.GET, session_id=session_id, number=done.number)
    assert (got.command.exit_code, got.output) == (7, "begun\nover\n")
    rest = await client.call(terminal.READ, session_id=session_id, offset=done.next_offset)
    assert "over" in rest.data
    assert "begun" not in rest.data


async def test_a_program_that_wants_input_ends_the_wait(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    done = await run(client, session_id, "read -p 'Name? ' name; echo Hello $name")
    assert (done.reason, done.output) == ("needs_input", "Name?")
    answered = await client.call(
        terminal.PROMPT, session_id=session_id, data="Ann", until=[{"command_done": True}], timeout_ms=PATIENCE_MS
    )
    assert answered.reason == "command_done"
    assert "Hello Ann" in answered.data


async def test_a_full_screen_program_is_said_to_be_one(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    done = await run(client, session_id, "seq 1 1000 | less")
    assert (done.reason, done.alternate_screen) == ("needs_input", True)
    await client.call(terminal.WRITE, session_id=session_id, data="q")
    await at_prompt(client, session_id)
    assert (await run(client, session_id, "echo back")).output == "back\n"


async def test_the_exit_of_the_shell_ends_the_wait(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    done = await run(client, session_id, "echo bye; exit 3")
    assert done.reason == "exited"
    assert "bye" in done.output
    with pytest.raises(SessionExited):
        await run(client, session_id, "echo x")


async def test_what_the_shell_refuses_is_told(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    done = await run(client, session_id, "echo )")
    assert (done.reason, done.started) == ("completed", False)
    assert done.exit_code not in {None, 0}
    assert "syntax error" in done.output


async def test_what_somebody_has_typed_is_left_alone(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    await client.call(terminal.WRITE, session_id=session_id, data="rm -r")
    await until(client, session_id, "rm -r")
    with pytest.raises(Busy, match="typed"):
        await client.call(command.RUN, session_id=session_id, command="echo x")
    # While bash deals with a key, an interrupt may take only a part of what was typed.
    await awaits_keys(client, session_id)
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["ctrl-c"])
    assert (await run(client, session_id, "echo x")).output == "x\n"


async def test_a_cancelled_run_leaves_the_session_usable(client: Client, tmp_path: Path) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    done = await run(client, session_id, "sleep 1000", timeout_ms=100)
    assert done.reason == "timeout"
    await runs(client, session_id, "sleep")
    await client.call(terminal.SEND_KEYS, session_id=session_id, keys=["ctrl-c"])
    done = await run(client, session_id, "echo fine")
    assert done.output == "fine\n"
    listed = await client.call(command.LIST, session_id=session_id, failed=True)
    assert [(one.command, one.exit_code) for one in listed.commands] == [("sleep 1000", 130)]


@pytest.mark.parametrize("inner", ["dash", "env -i bash --norc --noprofile", "bash", "zsh -f", "fish --no-config"])
async def test_inside_another_shell_markers_do(client: Client, tmp_path: Path, inner: str) -> None:
    session_id = await open_shell(client, home_of(tmp_path))
    opened = await run(client, session_id, inner)
    assert opened.reason == "needs_input"
    done = await run(client, session_id, "echo 'it''s'; sh -c 'exit 5'")
    assert (done.reason, done.via, done.exit_code, done.output) == ("completed", "markers", 5, "its\n")
    done = await run(client, session_id, "printf 'no end'")
    assert (done.exit_code, done.output) == (0, "no end")
    await client.call(terminal.WRITE, session_id=session_id, data="exit\n")
    await at_prompt(client, session_id)
    assert (await run(client, session_id, "echo out")).via == "marks"


async def test_without_integration_markers_do(client: Client, tmp_path: Path) -> None:
    session_id = await script(client, "exec dash")
    done = await run(client, session_id, "echo one; false")
    assert (done.reason, done.via, done.exit_code, done.output) == ("completed", "markers", 1, "one\n")
    with pytest.raises(Conflict):
        await run(client, session_id, "echo one", via="marks")
    with pytest.raises(Conflict):
        await client.call(terminal.WAIT, session_id=session_id, until=[{"command_done": True}])


async def test_a_program_that_is_no_shell_is_busy(client: Client, tmp_path: Path) -> None:
    session_id = await script(client, "exec cat")
    with pytest.raises(Busy, match="cat"):
        await client.call(command.RUN, session_id=session_id, command="echo x")
    with pytest.raises(InvalidParams):
        await client.call(command.RUN, session_id=session_id, command="")
