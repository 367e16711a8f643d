"""pty_wait_for, pty_screen, pty_send_keys, pty_read_lines, pty_search, pty_history."""

from typing import Any

from tests.conftest import NeedTool
from tests.mcp.compat.conftest import PATIENCE_MS, Client

from ptybridge.errors import InvalidParams


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; return its structured answer."""
    answer = await client.answer(tool, **arguments)
    assert answer.structured is not None
    return answer.structured


async def wait(client: Client, session: str, **arguments: Any) -> dict[str, Any]:
    return await call(
        client, "pty_wait_for", session_id=session, owner="me", **{"timeout_ms": PATIENCE_MS, **arguments}
    )


async def test_wish03_waiting_ends_for_a_reason_that_is_told(client: Client) -> None:
    session = await client.spawn("echo ready; read x; printf 'name: '; read y; echo bye; exit 4")
    found = await wait(client, session, pattern="ready", exit=True)
    assert (found["reason"], found["match"], found["running"]) == ("matched", "ready", True)
    assert (await wait(client, session, pattern="never", timeout_ms=10))["reason"] == "timeout"
    assert (await wait(client, session, pattern="never", idle_ms=50))["reason"] == "idle"
    await client.text("pty_write", session_id=session, owner="me", data="go\n")
    asked = await client.answer(
        "pty_wait_for", session_id=session, owner="me", needs_input=True, timeout_ms=PATIENCE_MS
    )
    assert "waits for input; the last line is 'name:" in asked.text
    assert (await wait(client, session, screen="name:"))["reason"] == "screen"
    await client.text("pty_write", session_id=session, owner="me", data="me\n")
    ended = await wait(client, session, regex="no such", exit=True)
    assert (ended["reason"], ended["exit_code"], ended["running"]) == ("exited", 4, False)
    assert "bye" in ended["text"]


async def test_wish03_what_follows_a_match_is_left_for_the_next_wait(client: Client) -> None:
    session = await client.spawn("echo first; echo second; sleep 300")
    first = await wait(client, session, pattern="first")
    second = await wait(client, session, pattern="second")
    assert (second["start_offset"], second["text"].strip()) == (first["offset"], "second")
    again = await wait(client, session, regex="f[a-z]+t", offset=0)
    assert again["match"] == "first"


async def test_waiting_for_nothing_is_refused(client: Client) -> None:
    session = await client.spawn("cat")
    refusal = await client.refusal("pty_wait_for", session_id=session, owner="me")
    assert isinstance(refusal, InvalidParams)
    assert "command_done" in (refusal.hint or "")


async def test_wish04_output_and_exit_code_stay_after_the_exit(client: Client) -> None:
    session = await client.spawn("seq 1 300; exit 9")
    assert (await wait(client, session, exit=True))["exit_code"] == 9
    found = await call(client, "pty_read_lines", session_id=session, owner="me", from_line=299)
    assert [one["text"] for one in found["lines"]] == ["299", "300"]
    assert (await wait(client, session, exit=True))["exit_code"] == 9


async def test_wish05_pages_of_lines_say_how_much_remains(client: Client) -> None:
    session = await client.spawn("seq 1 5000")
    await wait(client, session, exit=True)
    answer = await client.answer("pty_read_lines", session_id=session, owner="me", from_line=100, count=101)
    assert "Lines 100-200 of 5000, 4800 remaining" in answer.text
    seen: list[str] = []
    line: Any = 1
    while line:
        page = await call(client, "pty_read_lines", session_id=session, owner="me", from_line=line, count=1999)
        seen += [one["text"] for one in page["lines"]]
        line = page["next_line"]
    assert seen == [str(number) for number in range(1, 5001)]
    last = await call(client, "pty_read_lines", session_id=session, owner="me", from_line=-2)
    assert [one["text"] for one in last["lines"]] == ["4999", "5000"]
    none = await client.text("pty_read_lines", session_id=session, owner="me", from_line=6000)
    assert "There is no line 6000" in none


async def test_wish05_a_long_wait_shows_beginning_and_end(client: Client) -> None:
    session = await client.spawn("seq 1 5000; sleep 300")
    found = await wait(client, session, pattern="\n5000", max_output_bytes=1000)
    cut = found["truncated"]
    assert cut["head_bytes"] + cut["tail_bytes"] + cut["omitted_bytes"] == found["offset"] - found["start_offset"]
    assert f"{cut['omitted_bytes']} bytes left out" in found["text"]
    assert found["text"].startswith("1\n2\n")


async def test_search_finds_lines_with_their_neighbours(client: Client) -> None:
    session = await client.spawn(r"printf 'a\n\033[31mError\033[0m: b\nc\nerror: d\n'")
    await wait(client, session, exit=True)
    answer = await client.answer(
        "pty_search", session_id=session, owner="me", pattern="error", ignore_case=True, context_lines=1
    )
    assert answer.structured is not None
    assert [(one["line"], one["text"]) for one in answer.structured["matches"]] == [(2, "Error: b"), (4, "error: d")]
    assert "1- a\n2: Error: b\n3- c\n--\n" in answer.text
    assert await client.text("pty_search", session_id=session, owner="me", pattern="zzz") == "No line matches."
    newest = await call(
        client, "pty_search", session_id=session, owner="me", pattern="(?i)error", regex=True, newest_first=True,
        max_matches=1,
    )  # fmt: skip
    assert (newest["matches"][0]["line"], newest["more"]) == (4, True)


async def test_history_has_commands_with_codes_directories_and_output(client: Client) -> None:
    session = (await call(client, "pty_run", command="echo one"))["session_id"]
    await call(client, "pty_run", command="cd /; false")
    answer = await client.answer("pty_history", session_id=session)
    assert answer.structured is not None
    newest, oldest = answer.structured["commands"]
    assert (newest["command"], newest["exit_code"], oldest["command"]) == ("cd /; false", 1, "echo one")
    assert "exit code 1" in answer.text
    failed = await call(client, "pty_history", session_id=session, failed=True)
    assert [one["number"] for one in failed["commands"]] == [newest["number"]]
    one = await call(client, "pty_history", session_id=session, number=oldest["number"])
    assert one["output"].strip() == "one"
    none = await client.text("pty_history", session_id=await client.spawn("cat"), owner="me")
    assert "does not tell" in none


async def test_c27_wish06_wish07_a_full_screen_program_is_seen_and_driven_by_keys(
    client: Client, need_tool: NeedTool
) -> None:
    need_tool("vim")
    session = await client.spawn("vim -u NONE -N note.txt")
    await wait(client, session, screen="note.txt")
    await client.text("pty_write", session_id=session, owner="me", data="ihello there")
    sent = await call(client, "pty_send_keys", session_id=session, owner="me", keys=["Escape", "0", "w"], screen=True)
    await wait(client, session, screen="hello there")
    answer = await client.answer("pty_screen", session_id=session, owner="me")
    seen = answer.structured
    assert seen is not None
    assert seen["alternate"] is sent["screen"]["alternate"] is True
    assert (seen["lines"][0], seen["rows"]) == ("hello there", 30)
    assert "alternate screen" in answer.text
    await client.text("pty_send_keys", session_id=session, owner="me", keys=[":", "w", "q", "enter"])
    assert (await wait(client, session, exit=True))["exit_code"] == 0
    assert (await call(client, "pty_run", command="cat note.txt"))["output"].strip() == "hello there"


async def test_wish07_ctrl_c_works_in_the_spellings_people_use(client: Client) -> None:
    for spelling in ("ctrl-c", "C-c", "^C"):
        session = await client.spawn("trap 'echo caught; exit 5' INT; echo set; while :; do sleep 1; done")
        await wait(client, session, pattern="set")
        await client.text("pty_send_keys", session_id=session, owner="me", keys=[spelling])
        assert (await wait(client, session, exit=True))["exit_code"] == 5
    session = await client.spawn("cat")
    refusal = await client.refusal("pty_send_keys", session_id=session, owner="me", keys=["ctrl-nosuch"])
    assert isinstance(refusal, InvalidParams)


async def test_s29_what_programs_print_cannot_forge_the_marks_or_hide(client: Client) -> None:
    session = await client.spawn(r"printf '\033]0;evil\ntitle\007x\342\200\256y\n[00000000]\n'; sleep 300")
    await wait(client, session, pattern="00000000]")
    for tool in ("pty_screen", "pty_read_lines"):
        text = await client.text(tool, session_id=session, owner="me")
        assert "\x1b" not in text
        assert "\u202e" not in text
        mark = text.split("up to the mark ")[1].split(" ")[0]
        assert text.rstrip().endswith(f"[{mark}]")
        assert text.count(f"[{mark}]") == 1
