"""pty_run and pty_exec: one call, one command, and the whole truth about it."""

from pathlib import Path
from typing import Any

import pytest
import trio
from tests.conftest import NeedTool
from tests.contract.endpoints import PATIENCE_SECONDS
from tests.contract.local_endpoint import LocalClient
from tests.contract.shells import runs
from tests.mcp.compat.conftest import PATIENCE_MS, Client, Connect

from ptybridge.api import lease
from ptybridge.errors import Busy, Denied, InvalidParams, LeaseHeld, LimitReached
from ptybridge.mcp.toolset import Answer

# Within this a shell has begun with a command, on a busy machine, too.
BEGUN_MS = 3000


async def run(client: Client, command: str, **arguments: Any) -> tuple[Answer, dict[str, Any]]:
    answer = await client.answer("pty_run", command=command, **{"timeout_ms": PATIENCE_MS, **arguments})
    assert answer.structured is not None
    return answer, answer.structured


async def test_wish01_command_finished_exit_code_and_only_its_output(client: Client) -> None:
    answer, ran = await run(client, "echo one; echo two >&2; (exit 7)")
    assert (ran["reason"], ran["exit_code"], ran["output"].split()) == ("completed", 7, ["one", "two"])
    assert answer.text.startswith("Exit code 7 after ")
    assert "printed by programs" in answer.text
    assert "PS1" not in answer.text
    answer, ran = await run(client, "true")
    assert (ran["exit_code"], ran["output"]) == (0, "")
    assert "Nothing was printed." in answer.text


async def test_wish02_one_call_without_any_preparation_and_the_shell_stays(client: Client, tmp_path: Path) -> None:
    (tmp_path / "sub dir's").mkdir()
    _, first = await run(client, "cd 'sub dir'\\''s'; X=kept")
    _, second = await run(client, "pwd; echo $X")
    assert first["session_id"] == second["session_id"]
    assert (first["new_session"], second["new_session"]) == (True, False)
    assert second["output"].split("\n")[:2] == [str(tmp_path / "sub dir's"), "kept"]
    _, third = await run(client, "pwd", cwd="..")
    assert third["output"].strip() == third["cwd"] == str(tmp_path)
    refusal = await client.refusal("pty_run", command="touch made", cwd="nowhere")
    assert isinstance(refusal, InvalidParams)
    assert "nowhere" in refusal.message
    assert not (tmp_path / "made").exists()


async def test_wish03_at_the_time_out_it_goes_on_and_the_text_says_how(client: Client) -> None:
    await run(client, "mkfifo fifo")
    answer, ran = await run(client, "echo begun; read line < fifo; echo ended $line", timeout_ms=BEGUN_MS)
    assert (ran["reason"], ran["exit_code"]) == ("timeout", None)
    session = ran["session_id"]
    for way in ("pty_wait_for", "pty_read_at", "pty_send_keys", "ctrl-c", session, str(ran["next_offset"])):
        assert way in answer.text
    # Its shell is busy, so another one, in the same directory, does this.
    other, second = await run(client, "echo now > fifo")
    assert second["session_id"] != session
    assert "read line" in other.text
    waited = await client.answer("pty_wait_for", session_id=session, command_done=True, timeout_ms=PATIENCE_MS)
    assert waited.structured is not None
    assert waited.structured["reason"] == "command_done"
    assert "ended now" in waited.structured["text"]
    past = await client.answer("pty_history", session_id=session, limit=1)
    assert past.structured is not None
    assert past.structured["commands"][0]["exit_code"] == 0


async def test_wish03_a_question_ends_the_call_and_shows_it(client: Client) -> None:
    answer, ran = await run(client, "read -p 'Overwrite? ' reply; echo got $reply")
    assert ran["reason"] == "needs_input"
    assert "Overwrite?" in answer.text
    assert "pty_write" in answer.text
    await client.text("pty_write", session_id=ran["session_id"], data="yes\n")
    waited = await client.answer("pty_wait_for", session_id=ran["session_id"], pattern="got yes")
    assert waited.structured is not None
    assert waited.structured["reason"] == "matched"


async def test_wish05_long_output_is_cut_in_the_middle_with_exact_counts(client: Client) -> None:
    answer, ran = await run(client, "seq 1 20000", max_output_bytes=2000)
    cut = ran["truncated"]
    whole = sum(len(str(number)) + 1 for number in range(1, 20001))
    assert cut["head_bytes"] + cut["tail_bytes"] <= 2000
    assert cut["head_bytes"] + cut["tail_bytes"] + cut["omitted_bytes"] == whole
    assert ran["output"].startswith("1\n2\n")
    assert ran["output"].rstrip().endswith("\n20000")
    assert str(cut["omitted_bytes"]) in answer.text


async def test_wish06_output_is_clean(client: Client) -> None:
    _, ran = await run(client, r"printf '\033[31mred\033[0m\n 10%%\r 50%%\r100%%\nzero\342\200\213width\n'")
    assert ran["output"].split("\n")[:3] == ["red", "100%", "zerowidth"]


async def test_wish06_of_a_full_screen_program_the_screen_is_shown(client: Client, need_tool: NeedTool) -> None:
    need_tool("vim")
    answer, ran = await run(client, "vim -u NONE -N note.txt")
    assert (ran["reason"], ran["output"]) == ("needs_input", "")
    assert ran["screen"]["alternate"] is True
    assert "pty_send_keys" in answer.text
    sent = await client.answer("pty_send_keys", session_id=ran["session_id"], keys=[":", "q", "enter"], screen=True)
    assert sent.structured is not None
    waited = await client.answer("pty_wait_for", session_id=ran["session_id"], command_done=True)
    assert waited.structured is not None
    assert (waited.structured["reason"], waited.structured["screen"]) == ("command_done", None)


async def test_wish10_who_holds_the_lease_is_not_typed_over(client: Client, human: LocalClient) -> None:
    _, ran = await run(client, "true")
    session = ran["session_id"]
    await human.call(lease.ACQUIRE, session_id=session, client_id="the human")
    refusals = [
        await client.refusal("pty_run", command="echo over", session_id=session),
        await client.refusal("pty_send_keys", session_id=session, keys=["enter"]),
    ]
    for one in refusals:
        assert isinstance(one, LeaseHeld)
        assert "the human" in one.message
    await client.text("pty_screen", session_id=session)
    answer, elsewhere = await run(client, "true")
    assert elsewhere["session_id"] != session
    assert f"{session} is held by 'the human'" in answer.text
    await human.call(
        lease.HANDOFF, session_id=session, client_id="the human", target_client_id="me", reason="go on with it"
    )
    _, again = await run(client, "echo mine", session_id=session, client_id="me")
    assert again["output"].strip() == "mine"


async def test_calls_at_the_same_time_do_not_wait_for_each_other(client: Client) -> None:
    found: list[dict[str, Any]] = []

    async def one(command: str) -> None:
        found.append((await run(client, command))[1])

    with trio.fail_after(PATIENCE_SECONDS):
        await run(client, "mkfifo meet")
        async with trio.open_nursery() as nursery:
            # Each needs the other to end.
            nursery.start_soon(one, "cat meet")
            nursery.start_soon(one, "echo hello > meet")
    assert {ran["exit_code"] for ran in found} == {0}
    assert len({ran["session_id"] for ran in found}) == 2


async def test_a_session_of_ones_own_choice_is_busy_or_waited_for(client: Client, human: LocalClient) -> None:
    _, ran = await run(client, "sleep 300", timeout_ms=BEGUN_MS)
    session = ran["session_id"]
    refusal = await client.refusal("pty_run", command="echo x", session_id=session)
    assert isinstance(refusal, Busy)
    # Before it has the terminal, it is bash that would be interrupted, or its child between fork and exec.
    await runs(human, session, "sleep")
    await client.text("pty_send_keys", session_id=session, keys=["C-c"])
    _, after = await run(client, "echo x", session_id=session, wait=True)
    assert (after["session_id"], after["output"].strip()) == (session, "x")


async def test_a_shell_without_marks_is_waited_for_otherwise(client: Client) -> None:
    session = await client.spawn("exec bash --norc")
    answer, ran = await run(client, "echo begun; sleep 300", session_id=session, owner="me", timeout_ms=3000, wait=True)
    assert ran["reason"] == "timeout"
    assert "idle_ms" in answer.text
    assert "command_done" not in answer.text
    assert '"owner": "me"' in answer.text


async def test_owners_and_limits_hold_as_for_pty_spawn(connect: Connect) -> None:
    one, other = connect(MAX_SESSIONS="1"), connect()
    _, ran = await run(one, "true")
    assert ran["owner"].startswith("agent-")
    await one.text("pty_status", session_id=ran["session_id"])
    assert isinstance(await other.refusal("pty_status", session_id=ran["session_id"]), Denied)
    assert isinstance(await other.refusal("pty_run", command="true", session_id=ran["session_id"]), Denied)
    await run(other, "true", session_id=ran["session_id"], owner=ran["owner"])
    await run(one, "sleep 300", timeout_ms=300)
    assert isinstance(await one.refusal("pty_run", command="true"), LimitReached)


async def test_exec_keeps_streams_apart_and_takes_input(client: Client) -> None:
    answer = await client.answer("pty_exec", command="cat; echo problem >&2; exit 3", input="given\n")
    done = answer.structured
    assert done is not None
    assert (done["exit_code"], done["stdout"], done["stderr"]) == (3, "given\n", "problem\n")
    assert answer.text.startswith("Exit code 3 after ")
    answer = await client.answer("pty_exec", command=["printf", "%s|", "a b", "$HOME"])
    assert answer.structured is not None
    assert answer.structured["stdout"] == "a b|$HOME|"
    answer = await client.answer("pty_exec", command="seq 1 5000", max_output_bytes=400)
    assert answer.structured is not None
    cut = answer.structured["truncated"]["stdout"]
    assert cut["head_bytes"] + cut["tail_bytes"] + cut["omitted_bytes"] == 23893
    assert f"{cut['omitted_bytes']} bytes left out" in answer.structured["stdout"]
    # No line is cut in two.
    lines = [line for line in answer.structured["stdout"].split("\n") if line.isdigit()]
    assert all(1 <= len(line) <= 2 or int(line) > 4000 for line in lines)


@pytest.mark.parametrize("on_timeout", ["keep", "kill"])
async def test_exec_at_the_time_out(client: Client, on_timeout: str) -> None:
    answer = await client.answer(
        "pty_exec", command="echo begun; exec sleep 300", timeout_ms=1000, on_timeout=on_timeout
    )
    done = answer.structured
    assert done is not None
    assert done["timed_out"] is True
    assert (done["session_id"] is None) == (on_timeout == "kill")
    if done["session_id"] is not None:
        assert "pty_wait_for" in answer.text
        await client.text("pty_close", session_id=done["session_id"])
