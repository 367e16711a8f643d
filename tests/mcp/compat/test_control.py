"""Writing, ending, looking: rows 20, 22, 38-45, 66, 67, 71-76 and 86 of the reference, and its defects about that."""

import signal
import threading
from pathlib import Path

import pytest
import trio
from tests.contract.local_endpoint import LocalClient
from tests.mcp.compat.conftest import Client, Connect

from ptybridge.api import session as api
from ptybridge.daemon import Daemon
from ptybridge.errors import Denied, NotFound, RateLimited, SessionExited, SessionNotFound


def lives(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def ready(client: Client, session: str, program: str) -> None:
    """Wait until the shell has become this program."""
    pid = (await client.status(session))["pid"]
    with trio.fail_after(60):
        while True:
            if program in command_line(pid):
                return
            await trio.sleep(0.01)


def command_line(pid: int) -> str:
    """Return the first word of a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()


async def gone(client: Client, session: str) -> None:
    """Wait until a session is forgotten."""
    with trio.fail_after(60):
        while True:
            try:
                await client.status(session)
            except NotFound:
                return
            await trio.sleep(0.02)


async def test_row38_write(client: Client) -> None:
    session = await client.spawn("read x; echo got $x")
    answer = await client.answer("pty_write", session_id=session, owner="me", data="it\n")
    assert (answer.text, answer.structured) == ("ok", {"ok": True, "accepted_bytes": 3})
    assert (await client.until(session, "got it"))["matched"]


async def test_row39_resize(client: Client) -> None:
    session = await client.spawn("read x; stty size")
    assert await client.text("pty_resize", session_id=session, owner="me", cols=100, rows=40) == "ok"
    await client.text("pty_write", session_id=session, owner="me", data="\n")
    assert (await client.until(session, "40 100"))["matched"]
    status = await client.status(session)
    assert (status["cols"], status["rows"]) == (100, 40)


async def test_row40_close_ends_the_whole_group_however_stubborn(client: Client, tmp_path: Path) -> None:
    session = await client.spawn("trap '' HUP TERM; (trap '' HUP TERM; sleep 60) & echo $!; sleep 60")
    child = int((await client.until(session, "\n"))["text"])
    assert await client.text("pty_close", session_id=session, owner="me") == "ok"
    assert not lives(child)
    assert isinstance(await client.refusal("pty_status", session_id=session, owner="me"), SessionNotFound)


LEAVERS = {
    "setsid": "setsid sh -c 'echo pid $$.; exec sleep 60' </dev/null & exec sleep 60",
    "double_fork": "(setsid sh -c 'echo pid $$.; exec sleep 60' </dev/null &); exec sleep 60",
    "nohup": "nohup sleep 60 >/dev/null 2>&1 & echo pid $!.; exec sleep 60",
    "of_an_exited_shell": "setsid sh -c 'trap \"\" HUP; echo pid $$.; exec sleep 60' </dev/null & sleep 0.1",
}


@pytest.mark.parametrize("way", LEAVERS)
async def test_c13_close_ends_what_has_left_the_session(client: Client, way: str) -> None:
    session = await client.spawn(LEAVERS[way])
    left = int((await client.until(session, r"pid \d+\.", regex=True))["text"].split()[-1].rstrip("."))
    assert lives(left)
    answer = await client.answer("pty_close", session_id=session, owner="me")
    assert (answer.text, answer.structured) == ("ok", {"ok": True, "survivors": []})
    assert not lives(left)


async def test_c13_close_all_and_the_end_of_the_daemon_end_it_too(client: Client, daemon: Daemon) -> None:
    first, second = [await client.spawn(LEAVERS[way]) for way in ("double_fork", "of_an_exited_shell")]
    left = [
        int((await client.until(one, r"pid \d+\.", regex=True))["text"].split()[-1].rstrip("."))
        for one in (first, second)
    ]
    await client.text("pty_close", session_id=first, owner="me")
    await client.wait(second)
    assert [lives(pid) for pid in left] == [False, True]
    await daemon.sessions.stop(60)
    assert not lives(left[1])


async def test_row41_close_all_touches_only_what_agents_have_made(client: Client, human: LocalClient) -> None:
    own = await human.call(api.CREATE, command=["sleep", "60"])
    mine, exited = await client.spawn("sleep 60"), await client.spawn("true")
    await client.wait(exited)
    answer = await client.answer("pty_close_all")
    assert answer.text == "ok"
    assert answer.structured is not None
    assert set(answer.structured["closed"]) == {mine, exited}
    left = await human.call(api.LIST)
    assert [one.session_id for one in left.sessions] == [own.session_id]


async def test_row42_status_has_the_fields_of_the_reference(client: Client) -> None:
    status = await client.status(await client.spawn("sleep 60"))
    assert {
        "session_id", "backend", "pid", "pgid", "running", "exit_code", "command", "cwd", "name", "cols", "rows", "tag",
        "owner", "tmux_workspace", "attached", "attached_client_id", "attached_at", "detached_at", "last_lease_at",
        "last_lease_event", "last_lease_from_client_id", "last_lease_to_client_id", "last_lease_reason", "recovered",
        "recovered_at", "workspace_attached", "workspace_attached_client_id", "workspace_attached_session_count",
        "separate_streams", "created_at", "last_active", "exit_reason", "buffer_bytes", "stdout_buffer_bytes",
        "stderr_buffer_bytes", "buf_start_offset", "buf_total_offset", "stdout_start_offset", "stdout_total_offset",
        "stderr_start_offset", "stderr_total_offset", "max_output_bytes", "max_runtime_sec", "rate_limit_bps",
        "rate_dropped", "input_rate_bps", "input_dropped", "truncated", "bytes_read", "bytes_written",
    } <= set(status)  # fmt: skip
    assert (status["command"], status["running"], status["exit_code"]) == ("sleep 60", True, None)


async def test_row43_row86_wait_tells_how_a_program_ended(client: Client) -> None:
    ended = await client.wait(await client.spawn("exit 5"))
    assert ended == {"running": False, "exit_code": 5, "exit_reason": "exited"}
    killed = await client.wait(await client.spawn("kill -9 $$"))
    assert killed == {"running": False, "exit_code": -9, "exit_reason": "killed"}
    running = await client.spawn("sleep 60")
    waited = await client.json("pty_wait", session_id=running, owner="me", timeout_ms=1)
    assert waited == {"running": True, "exit_code": None, "exit_reason": None}


@pytest.mark.parametrize("sig", ["SIGINT", "term", "Kill", "SIGHUP", "QUIT"])
async def test_row44_signals_end_the_program(client: Client, sig: str) -> None:
    session = await client.spawn("exec sleep 60", scope="control")
    await ready(client, session, "sleep")
    assert await client.json("pty_signal", session_id=session, owner="me", sig=sig) == {"ok": True}
    ended = await client.wait(session)
    number = signal.Signals["SIG" + sig.upper().removeprefix("SIG")].value
    assert (ended["exit_reason"], ended["exit_code"]) == ("signaled", -number)
    again = await client.json("pty_signal", session_id=session, owner="me", sig=sig)
    assert again == {"ok": True, "note": "already exited", "exit_code": -number}


async def test_row44_signals_reach_the_whole_group(client: Client) -> None:
    session = await client.spawn("sleep 60 & echo $!; wait", scope="control")
    child = int((await client.until(session, "\n"))["text"])
    await client.json("pty_signal", session_id=session, owner="me", sig="TERM")
    await client.wait(session)
    with trio.fail_after(60):
        while True:
            if not lives(child):
                break
            await trio.sleep(0.02)


async def test_row44_other_signals_are_refused(client: Client) -> None:
    session = await client.spawn("sleep 60", scope="control")
    answer = await client.json("pty_signal", session_id=session, owner="me", sig="SIGSTOP")
    assert (answer["ok"], answer.keys()) == (False, {"ok", "error"})
    assert "SIGTERM" in answer["error"]


async def test_row45_list_filters_and_orders(client: Client) -> None:
    first = await client.spawn("read x; sleep 60", tag="a")
    second = await client.spawn("sleep 60", tag="b")
    await client.spawn("sleep 60", owner="you")
    await trio.sleep(0.01)
    await client.text("pty_write", session_id=first, owner="me", data="\n")
    listed = await client.json("pty_list", owner="me")
    assert [one["session_id"] for one in listed] == [second, first]
    assert [one["session_id"] for one in await client.json("pty_list", owner="me", tag="a")] == [first]
    assert len(set(listed[0])) >= 33
    assert "buf_start_offset" not in listed[0]


async def test_row66_row67_gates(connect: Connect) -> None:
    client = connect()
    names = {tool.name for tool in client.tools}
    gated = {
        "pty_signal", "pty_close_all", "set_default_cwd", "get_default_cwd", "set_limits", "get_limits", "pty_metrics",
        "pty_health",
    }  # fmt: skip
    assert not names & gated
    for name in gated:
        refused = await client.refusal(name)
        assert isinstance(refused, Denied)
        assert "PTY_MCP_ENABLE_" in str(refused.hint)
    everything = connect(ENABLE_ADMIN_TOOLS="yes", ENABLE_CONTROL_TOOLS="True")
    assert gated <= {tool.name for tool in everything.tools}


async def test_row20_c07_a_runtime_limit_ends_the_program_without_any_call(client: Client, human: LocalClient) -> None:
    session = await client.spawn("trap '' TERM HUP; echo before; sleep 60; sleep 60", spawn_timeout_sec=0.2)
    ended = await client.wait(session)
    assert ended["exit_reason"] == "timeout"
    # A shell on a busy machine may not come to print it.
    assert await client.read_all(session) in ("before\r\n", "")


async def test_row20_the_runtime_limit_can_be_set_for_all_and_live(connect: Connect) -> None:
    client = connect(SPAWN_TIMEOUT_SEC="500", ENABLE_ADMIN_TOOLS="1")
    session = await client.spawn("sleep 60")
    assert (await client.status(session))["max_runtime_sec"] == 500
    await client.json("set_limits", spawn_timeout_sec=0.1)
    assert (await client.wait(session))["exit_reason"] == "timeout"


async def test_row22_input_over_its_rate_is_refused_and_counted(client: Client) -> None:
    session = await client.spawn("stty -echo; read x; cat", input_rate_bps=10)
    # So much more than a second's worth that no pause of a busy machine makes room for the next.
    await client.text("pty_write", session_id=session, owner="me", data="1" * 999 + "\n")
    refused = await client.refusal("pty_write", session_id=session, owner="me", data="123456789\n")
    assert isinstance(refused, RateLimited)
    assert refused.data["retry_after_ms"]
    status = await client.status(session)
    assert (status["input_dropped"], status["bytes_written"], status["input_rate_bps"]) == (10, 1000, 10)
    assert (await client.json("pty_metrics"))["input_dropped_total"] == 10


async def test_c08_large_input_arrives_whole(client: Client) -> None:
    session = await client.spawn("stty raw -echo; echo ready; head -c 200000 | cksum; sleep 60")
    await client.until(session, "ready")
    data = "0123456789abcdef" * 12_500
    answer = await client.answer("pty_write", session_id=session, owner="me", data=data)
    assert answer.structured == {"ok": True, "accepted_bytes": 200_000}
    assert (await client.until(session, " 200000"))["matched"]


async def test_c04_ctrl_c_interrupts(client: Client) -> None:
    session = await client.spawn("echo ready; exec sleep 60")
    await client.until(session, "ready")
    await ready(client, session, "sleep")
    await client.text("pty_write", session_id=session, owner="me", data="\x03")
    assert (await client.wait(session))["exit_code"] == -signal.SIGINT


async def test_c04_return_is_enter_and_ctrl_d_ends_the_input(client: Client) -> None:
    session = await client.spawn("read y; echo y=$y; cat; echo end")
    await client.text("pty_write", session_id=session, owner="me", data="line\r")
    assert "line\r\n" in (await client.until(session, "y=line"))["text"]  # its echo
    await client.text("pty_write", session_id=session, owner="me", data="\x04")
    await client.until(session, "end\r\n")


async def test_c08_writing_to_an_exited_session_is_refused(client: Client) -> None:
    session = await client.spawn("true")
    await client.wait(session)
    assert isinstance(await client.refusal("pty_write", session_id=session, owner="me", data="x"), SessionExited)


async def test_row71_row72_c21_figures_include_what_was_closed(client: Client, human: LocalClient) -> None:
    await human.call(api.CREATE, command=["echo", "not counted"])
    session = await client.spawn("printf 12345")
    await client.wait(session)
    before = await client.json("pty_metrics")
    assert (before["session_count"], before["running_count"], before["bytes_read_total"]) == (1, 0, 5)
    await client.text("pty_close", session_id=session, owner="me")
    after = await client.json("pty_metrics")
    assert (after["session_count"], after["bytes_read_total"], after["max_sessions"]) == (0, 5, 20)
    assert set(after) == {
        "uptime_sec", "session_count", "running_count", "max_sessions", "bytes_read_total", "bytes_written_total",
        "rate_dropped_total", "input_dropped_total", "truncated_sessions",
    }  # fmt: skip
    health = await client.json("pty_health")
    assert (health["ok"], health["session_count"], health["max_sessions"]) == (True, 0, 20)


async def test_row73_limits_are_told_and_set_live(client: Client, human: LocalClient) -> None:
    session = await client.spawn("sleep 60")
    own = await human.call(api.CREATE, command=["sleep", "60"])
    limits = await client.json("get_limits")
    assert limits == {
        "max_output_bytes": 1 << 20, "spawn_timeout_sec": 0.0, "idle_timeout_sec": 900.0, "read_timeout_ms": 300,
        "rate_limit_bps": 0, "input_rate_bps": 0, "not_applied": [],
    }  # fmt: skip
    changed = await client.json(
        "set_limits", max_output_bytes=1 << 21, rate_limit_bps=1000, input_rate_bps="2000", idle_timeout_sec=60,
        read_timeout_ms=1,
    )  # fmt: skip
    assert (changed["max_output_bytes"], changed["not_applied"]) == (1 << 21, [session])
    status = await client.status(session)
    assert (status["rate_limit_bps"], status["input_rate_bps"]) == (1000, 2000)
    live = await human.call(api.GET, session_id=session)
    assert live.idle_timeout_ms == 60_000
    assert (await human.call(api.GET, session_id=own.session_id)).output_bytes_per_second is None
    assert await client.text("pty_read", session_id=session, owner="me") == ""


async def test_row73_what_set_limits_cannot_change_is_named_and_nothing_else(client: Client) -> None:
    await client.json("set_limits", max_output_bytes=100_000)
    session = await client.spawn("sleep 60")
    kept = (await client.status(session))["max_output_bytes"]
    assert 100_000 <= kept < 100_000 + (64 << 10)  # whole pages
    for size, not_applied in ((100_000, []), (kept, []), (1, [session]), (kept + 1, [session])):
        assert (await client.json("set_limits", max_output_bytes=size))["not_applied"] == not_applied
    assert (await client.status(session))["max_output_bytes"] == kept


async def test_row75_c07_idle_sessions_are_ended_without_any_call(connect: Connect, human: LocalClient) -> None:
    client = connect(IDLE_TIMEOUT_SEC="0.2")
    own = await human.call(api.CREATE, command=["sleep", "60"])
    session = await client.spawn("sleep 60")
    ended = await client.wait(session)
    assert ended["exit_reason"] == "timeout"
    assert (await human.call(api.GET, session_id=own.session_id)).state == "running"


async def test_row75_the_grace_counts_on_top_of_the_idle_time(connect: Connect, human: LocalClient) -> None:
    client = connect(IDLE_TIMEOUT_SEC="100", IDLE_GRACE_SEC="50")
    info = await human.call(api.GET, session_id=await client.spawn("sleep 60"))
    assert (info.idle_timeout_ms, info.keep_ms) == (150_000, 50_000)


async def test_row76_exited_sessions_go_when_their_grace_is_over(connect: Connect, human: LocalClient) -> None:
    client = connect(IDLE_GRACE_SEC="0")
    session = await client.spawn("true")
    await gone(client, session)
    kept = await connect().spawn("true")
    assert (await human.call(api.GET, session_id=kept)).keep_ms == 24 * 3600 * 1000


async def test_c05_closing_split_sessions_touches_no_other_session(client: Client) -> None:
    other = await client.spawn("cat")
    for _ in range(5):
        session = await client.spawn("true", separate_streams=True)
        await client.wait(session)
        await client.text("pty_close", session_id=session, owner="me")
        fresh = await client.spawn("echo still here", separate_streams=True)
        assert await client.read_all(fresh) == "still here\n"
    await client.text("pty_write", session_id=other, owner="me", data="alive\n")
    assert (await client.until(other, "alive"))["matched"]


async def test_c24_failures_say_what_to_do_and_show_no_insides(client: Client) -> None:
    refused = await client.refusal("pty_read", session_id="nothing", owner="me")
    assert isinstance(refused, SessionNotFound)
    assert "Traceback" not in str(refused.describe()) + refused.message
    assert refused.hint


async def test_c31_sessions_outlive_the_connection_that_made_them(client: Client, connect: Connect) -> None:
    session = await client.spawn("echo here; sleep 60", name="lasting")
    found = await connect().json("pty_resume", name="lasting", owner="me")
    assert found["session_id"] == session
    assert (await connect().json("pty_read_until", session_id=session, owner="me", pattern="here"))["matched"]


async def test_c28_sessions_cost_no_threads(client: Client) -> None:
    before = threading.active_count()
    for _ in range(10):
        await client.spawn("sleep 60")
    assert threading.active_count() <= before + 2  # the few that parse screens are shared


async def test_c12_a_restart_of_the_client_loses_nothing(client: Client, connect: Connect) -> None:
    session = await client.spawn("echo kept; sleep 60", name="kept")
    await client.until(session, "kept")
    again = connect()
    assert (await again.json("pty_resume", name="kept", owner="me"))["session_id"] == session
    assert (await again.until(session, "kept"))["matched"]
