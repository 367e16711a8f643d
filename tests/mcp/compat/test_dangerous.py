"""pty-mcp's rows on dangerous commands, and its defect 15. Nothing here would harm if it ran: the targets do not exist.

Deleting a directory of the root directory is judged dangerous whether it is there or not.
"""

import logging
import os
import re
import signal
from typing import Any

import pytest
from tests.contract.local_endpoint import LocalClient
from tests.contract.shells import runs
from tests.mcp.compat.conftest import Client, Connect

from ptybridge.api import session as session_api
from ptybridge.api import terminal
from ptybridge.core import procinfo
from ptybridge.errors import ConfigInvalid, ConfirmationRejected, ConfirmationRequired, Denied, PtybridgeError
from ptybridge.mcp.connection import Connection

# There is none, and a shell that gets this prints an error.
NOWHERE = "/ptybridge_test_no_such_directory"
DANGEROUS = f"rm -rf {NOWHERE}"


async def confirm(client: Client, command: str = DANGEROUS, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await client.json(
        "confirm_dangerous_command", command=command, justification="a test", **more
    )
    return answer


async def token(client: Client, command: str = DANGEROUS, **more: Any) -> str:
    return str((await confirm(client, command, **more))["confirm_token"])


async def refused(client: Client, tool: str, **arguments: Any) -> PtybridgeError:
    """Call what must be asked about."""
    error = await client.refusal(tool, **{"owner": "me", **arguments})
    assert isinstance(error, ConfirmationRequired), error
    assert error.data["matches"]
    return error


async def sessions(client: Client) -> list[Any]:
    return (await client.context.call(session_api.LIST)).sessions


# -- row 60 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [DANGEROUS, f"rm -rf {NOWHERE}/", f"cd /tmp && sudo -n rm -r -f -- {NOWHERE}", f"bash -c 'rm -rf {NOWHERE}'"],
)
async def test_row60_dangerous_commands_are_detected(client: Client, command: str) -> None:
    error = await refused(client, "pty_spawn", command=command)
    assert "confirm_dangerous_command" in (error.hint or "")
    assert await sessions(client) == []


@pytest.mark.parametrize("command", [f"echo rm -rf {NOWHERE}", "true", "echo reboot", "grep -c shutdown /etc/passwd"])
async def test_row60_harmless_ones_just_run(client: Client, command: str) -> None:
    assert (await client.wait(await client.spawn(command)))["exit_code"] in {0, 1}


async def test_row60_people_are_not_asked(human: LocalClient, client: Client) -> None:
    made = await human.call_raw("session.create", {"command": DANGEROUS})
    assert made["session_id"]
    run = await human.call_raw("exec.run", {"command": ["sh", "-c", f"{DANGEROUS}; echo done"]})
    assert run["stdout"] == "done\n"


async def test_row60_run_and_exec_ask_as_well(client: Client) -> None:
    await refused(client, "pty_exec", command=DANGEROUS)
    await refused(client, "pty_exec", command=["rm", "-rf", NOWHERE])
    await refused(client, "pty_exec", command=["sh"], input=f"{DANGEROUS}\n")
    error = await refused(client, "pty_run", command=DANGEROUS)
    assert error.data["command"] == DANGEROUS
    ended = await client.answer("pty_run", owner="me", command=DANGEROUS, confirm_token=await token(client))
    assert ended.structured is not None
    assert ended.structured["exit_code"] == 0
    ended = await client.answer("pty_exec", owner="me", command=DANGEROUS, confirm_token=await token(client))
    assert ended.structured is not None
    assert ended.structured["exit_code"] == 0


# -- row 61 --------------------------------------------------------------------------------------------------


async def test_row61_a_token_is_good_once(client: Client) -> None:
    answer = await confirm(client)
    assert set(answer) == {"ok", "dangerous", "matches", "confirm_token", "expires_at"}
    assert answer["ok"] is answer["dangerous"] is True
    assert re.fullmatch("dc_[0-9a-f]{32}", answer["confirm_token"])
    given = {"command": DANGEROUS, "dangerous_confirm_token": answer["confirm_token"]}
    await client.wait(await client.spawn(**given))
    error = await client.refusal("pty_spawn", owner="me", **given)
    assert isinstance(error, ConfirmationRejected)
    assert error.data["reason"] == "unknown"


@pytest.mark.parametrize(
    ("bound", "used", "reason"),
    [
        ({}, {"command": f"{DANGEROUS} x"}, "command"),
        ({"owner": "me"}, {"owner": "you"}, "owner"),
        ({"scope": "control"}, {"scope": "admin"}, "access"),
    ],
)
async def test_row61_a_token_is_bound(client: Client, bound: dict[str, Any], used: dict[str, Any], reason: str) -> None:
    key = await token(client, **bound)
    error = await client.refusal(
        "pty_spawn", **{"owner": "me", "command": DANGEROUS, "dangerous_confirm_token": key, **used}
    )
    assert isinstance(error, ConfirmationRejected)
    assert error.data["reason"] == reason
    assert await sessions(client) == []
    await client.wait(await client.spawn(f" {DANGEROUS}\n", dangerous_confirm_token=key, **bound))


async def test_row61_a_token_expires(connect: Connect) -> None:
    client = connect(DANGEROUS_CONFIRM_TTL_SEC="0")
    error = await client.refusal(
        "pty_spawn", owner="me", command=DANGEROUS, dangerous_confirm_token=await token(client)
    )
    assert isinstance(error, ConfirmationRejected)
    assert error.data["reason"] == "expired"


# -- row 62 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [{}, {"justification": None}, {"justification": " \n"}])
async def test_row62_a_justification_is_required(client: Client, reason: dict[str, Any]) -> None:
    answer = await client.json("confirm_dangerous_command", command=DANGEROUS, **reason)
    assert set(answer) == {"ok", "dangerous", "matches", "error"}
    assert (answer["ok"], answer["dangerous"], answer["error"]) == (False, True, "justification required")
    assert answer["matches"]


async def test_row62_what_is_harmless_needs_none(client: Client) -> None:
    answer = await client.json("confirm_dangerous_command", command="echo reboot")
    assert answer == {"ok": True, "dangerous": False, "matches": []}


# -- row 63 --------------------------------------------------------------------------------------------------


async def test_row63_custom_patterns_replace_the_judgement(connect: Connect) -> None:
    client = connect(DANGEROUS_PATTERNS=r"deploy\s+--prod;echo a\;b;")
    await refused(client, "pty_spawn", command="echo deploy  --prod")
    await refused(client, "pty_spawn", command="echo a;b")
    assert (await client.wait(await client.spawn("echo a")))["exit_code"] == 0
    await client.wait(await client.spawn(DANGEROUS))
    await client.wait(await client.spawn("echo a;b", dangerous_confirm_token=await token(client, "echo a;b")))


@pytest.mark.parametrize("patterns", ["(", "ok;[z-a]", r"(?<=a)b", ";", " ; "])
def test_row63_a_mistaken_pattern_is_refused(patterns: str) -> None:
    with pytest.raises(ConfigInvalid, match="PTY_MCP_DANGEROUS_PATTERNS"):
        Connection.of_client({"PTY_MCP_DANGEROUS_PATTERNS": patterns})


async def test_row63_an_empty_list_means_the_usual_judgement(connect: Connect) -> None:
    await refused(connect(DANGEROUS_PATTERNS=""), "pty_spawn", command=DANGEROUS)


# -- row 64 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"dangerous_confirmed": True}, {"dangerous_justification": "a test"}])
async def test_row64_legacy_mode_takes_any_word_for_it(connect: Connect, given: dict[str, Any]) -> None:
    legacy = connect(DANGEROUS_LEGACY_MODE="1")
    await refused(legacy, "pty_spawn", command=DANGEROUS)
    await refused(legacy, "pty_spawn", command=DANGEROUS, dangerous_justification=" ")
    await legacy.wait(await legacy.spawn(DANGEROUS, **given))
    await refused(connect(), "pty_spawn", command=DANGEROUS, **given)


# -- row 70 --------------------------------------------------------------------------------------------------


async def test_row70_decisions_are_audited_without_the_command(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ptybridge.audit")
    client, legacy = connect(), connect(DANGEROUS_LEGACY_MODE="1")
    await refused(client, "pty_spawn", command=DANGEROUS)
    key = await token(client)
    await client.wait(await client.spawn(DANGEROUS, dangerous_confirm_token=key))
    await legacy.wait(await legacy.spawn(DANGEROUS, dangerous_justification="a secret reason"))
    lines = [one.getMessage() for one in caplog.records if one.getMessage().startswith("policy: ")]
    assert [re.findall("confirmed (none|token|legacy)", line) for line in lines] == [["none"], ["token"], ["legacy"]]
    for line in lines:
        assert "ask by rule dangerous-by-agent: session.create by uid:0" in line
        assert "because of rm" in line
    assert not any(word in caplog.text for word in (NOWHERE, "a test", "secret reason", key))


# -- defect 15 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "rm -fr /",
        "rm -r -f /",
        "rm -rf /*",
        "rm -rf --no-preserve-root /",
        "rm -Rf /",
        "rm -rf ~",
        "rm -rf $HOME",
        "dd of=/dev/sda if=/dev/zero",
        "/bin/rm --recursive --force /",
        ":(){ :|:& };:",
    ],
)
async def test_c15_none_of_the_ten_bypasses_is_left(client: Client, command: str) -> None:
    # Only asked about, never started: this is not a call that could run anything.
    answer = await client.json("confirm_dangerous_command", command=command)
    assert (answer["ok"], answer["dangerous"]) == (False, True)


async def bash(client: Client) -> str:
    session = await client.spawn("PS1='ready> ' HISTFILE=/dev/null exec bash --norc --noprofile -i")
    await client.until(session, "ready> ")
    return session


SPLIT = len(DANGEROUS) // 2


@pytest.mark.parametrize(
    "writes",
    [
        [f"{DANGEROUS}\n"],
        [f"{DANGEROUS}\r"],
        [DANGEROUS, "\n"],
        [DANGEROUS[:SPLIT], DANGEROUS[SPLIT:], "\n"],
        ["rm -rf \\\n", f"{NOWHERE}\n"],
        [f"rx\x7fm -rf {NOWHERE}\n"],
        [f" -rf {NOWHERE}\x01rm\n"],
        [f"echo hidden\n{DANGEROUS}\n"],
        ["if true\n", f"then {DANGEROUS}\n"],
        [f"\x1b[200~{DANGEROUS}\x1b[201~", "\n"],
        [f"bash -c '{DANGEROUS}'\n"],
    ],
)
async def test_c15_what_is_typed_at_a_shell_is_judged(client: Client, writes: list[str]) -> None:
    session = await bash(client)
    for data in writes[:-1]:
        await client.text("pty_write", session_id=session, owner="me", data=data)
    before = (await client.status(session))["bytes_written"]
    await refused(client, "pty_write", session_id=session, data=writes[-1])
    assert (await client.status(session))["bytes_written"] == before, "something of it was sent"


async def test_c15_prompts_and_keys_are_judged_as_well(client: Client, human: LocalClient) -> None:
    session = await bash(client)
    await refused(client, "pty_prompt", session_id=session, data=f"{DANGEROUS}\n", patterns=["x"])
    await client.text("pty_write", session_id=session, owner="me", data=DANGEROUS)
    await refused(client, "pty_send_keys", session_id=session, keys=["enter"])
    # What a person does there is a person's business.
    await human.call(terminal.WRITE, session_id=session, data="\x15echo $((6*7))ok\r")
    await client.until(session, "42ok")


async def test_c15_a_confirmed_line_goes_through_once(client: Client) -> None:
    session = await bash(client)
    await client.text("pty_write", session_id=session, owner="me", data=DANGEROUS[:SPLIT])
    error = await refused(client, "pty_write", session_id=session, data=f"{DANGEROUS[SPLIT:]}\n")
    assert error.data["command"] == DANGEROUS
    key = await token(client, owner="me")
    again = {"session_id": session, "owner": "me", "data": f"{DANGEROUS[SPLIT:]}; echo $((6*7))ok\n"}
    assert isinstance(await client.refusal("pty_write", **again, confirm_token=key), ConfirmationRejected)
    await client.text("pty_write", session_id=session, owner="me", data=f"{DANGEROUS[SPLIT:]}\n", confirm_token=key)
    await refused(client, "pty_write", session_id=session, data=f"{DANGEROUS}\n")
    await client.text("pty_write", session_id=session, owner="me", data="echo $((6*7))ok\n")
    await client.until(session, "42ok")


async def test_c15_what_another_program_gets_is_not_judged(client: Client, human: LocalClient) -> None:
    session = await client.spawn("cat")
    await client.text("pty_write", session_id=session, owner="me", data=f"{DANGEROUS}\n")
    await client.until(session, f"{DANGEROUS}\r\n{DANGEROUS}")
    shell = await bash(client)
    await client.text("pty_write", session_id=shell, owner="me", data="cat\n")
    await runs(human, shell, "cat")
    await client.text("pty_write", session_id=shell, owner="me", data=f"{DANGEROUS}\n")
    await client.until(shell, f"{DANGEROUS}\r\n{DANGEROUS}")


async def test_c15_what_is_typed_ahead_for_the_shell_is_judged(client: Client) -> None:
    session = await bash(client)
    # The program itself says that it runs: bash's child is deaf to Ctrl-C between fork and exec.
    await client.text("pty_write", session_id=session, owner="me", data="sh -c 'echo go; exec sleep 100'\n")
    await client.until(session, "go\r\n")
    await refused(client, "pty_write", session_id=session, data=f"{DANGEROUS}\n")
    await client.text("pty_write", session_id=session, owner="me", data="\x03")
    await client.until(session, "ready> ")


async def test_c15_what_is_typed_before_the_shell_has_the_terminal_back_is_judged(client: Client) -> None:
    """Its program has ended, and the shell has not noticed yet."""
    session = await bash(client)
    await client.text("pty_write", session_id=session, owner="me", data="sh -c 'echo go; exec sleep 100'\n")
    await client.until(session, "go\r\n")
    pid = (await client.status(session))["pid"]
    foreground = int((procinfo.PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[5])
    os.kill(pid, signal.SIGSTOP)
    try:
        os.kill(foreground, signal.SIGKILL)
        while procinfo.foreground(foreground) is not None:
            pass
        await refused(client, "pty_write", session_id=session, data=f"{DANGEROUS}\n")
    finally:
        os.kill(pid, signal.SIGCONT)
    await client.until(session, "ready> ")


async def test_c15_a_here_document_in_one_write_is_text(client: Client) -> None:
    session = await bash(client)
    await client.text("pty_write", session_id=session, owner="me", data=f"tr a-z A-Z <<'EOF'\n{DANGEROUS}\nEOF\n")
    await client.until(session, DANGEROUS.upper())


async def test_c15_input_over_a_pipe_is_judged(client: Client) -> None:
    session = await client.spawn("exec sh", separate_streams=True)
    await client.text("pty_write", session_id=session, owner="me", data="echo $((6*6))up\n")
    await client.until(session, "36up")
    await refused(client, "pty_write", session_id=session, data=f"{DANGEROUS}\n")
    await client.text("pty_write", session_id=session, owner="me", data="echo $((6*7))ok\n")
    await client.until(session, "42ok")


async def test_c15_the_shells_directory_counts(client: Client) -> None:
    session = await bash(client)
    await client.text("pty_write", session_id=session, owner="me", data="cd /; echo $((6*7))ok\n")
    await client.until(session, "42ok")
    line = f"rm -rf {NOWHERE[1:]}\n"
    await refused(client, "pty_write", session_id=session, data=line)
    key = await token(client, line)
    await client.text("pty_write", session_id=session, owner="me", data=line, confirm_token=key)


async def test_c15_agents_cannot_go_round_by_attaching(client: Client, human: LocalClient) -> None:
    session = await bash(client)
    human.caller = client.context.caller
    for mode in ("writer", "viewer"):
        with pytest.raises(Denied, match="not for AI agents"):
            async with human.attach(session_id=session, rows=24, cols=80, mode=mode):
                pass
