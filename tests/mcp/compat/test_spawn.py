"""Starting and finding sessions: rows 1-17 and 46 of the reference, and its defects about them."""

import os
from pathlib import Path

import trio
from tests.contract.local_endpoint import LocalClient
from tests.mcp.compat.conftest import Client, Connect

from ptybridge.api import session as api
from ptybridge.errors import Denied, InvalidParams, LimitReached, NameTaken, SessionNotFound


async def test_row01_spawn_runs_a_shell_command_in_a_terminal(client: Client) -> None:
    session = await client.spawn("test -t 0 && test -t 1 && echo $((6*7))")
    assert await client.read_all(session) == "42\r\n"


async def test_row02_spawn_answers_the_bare_id(client: Client) -> None:
    answer = await client.answer("pty_spawn", command="true", owner="me")
    assert answer.structured is not None
    assert answer.text == answer.structured["session_id"]
    assert (await client.status(answer.text))["session_id"] == answer.text


async def test_row03_spawn_answers_metadata_when_asked(connect: Connect) -> None:
    client = connect(SPAWN_META="TRUE")
    meta = await client.json("pty_spawn", command="sleep 60", owner="me", name="n", tag="t", max_output_bytes=100_000)
    assert {
        "session_id", "backend", "pid", "pgid", "cwd", "cols", "rows", "name", "tag", "owner", "tmux_workspace",
        "attached", "attached_client_id", "attached_at", "detached_at", "last_lease_at", "last_lease_event",
        "last_lease_from_client_id", "last_lease_to_client_id", "last_lease_reason", "recovered", "recovered_at",
        "separate_streams", "max_output_bytes", "max_runtime_sec", "rate_limit_bps", "created_at",
    } == set(meta)  # fmt: skip
    assert (meta["name"], meta["tag"], meta["owner"], meta["backend"]) == ("n", "t", "me", "subprocess")
    assert meta["max_output_bytes"] >= 100_000
    os.kill(meta["pid"], 0)


async def test_row04_cwd(client: Client, tmp_path: Path) -> None:
    session = await client.spawn("pwd", cwd="/usr")
    assert await client.read_all(session) == "/usr\r\n"
    assert (await client.status(session))["cwd"] == "/usr"
    here = await client.spawn("pwd")
    assert (await client.read_all(here)).strip() == str(tmp_path)


async def test_row05_cwd_expands_the_home_directory_and_links(client: Client, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    session = await client.spawn("pwd", cwd="~/link")
    assert (await client.status(session))["cwd"] == str(tmp_path / "real")


async def test_row06_the_default_cwd_is_set_told_and_cleared(client: Client, tmp_path: Path) -> None:
    default = tmp_path / "default"
    default.mkdir()
    assert await client.json("get_default_cwd") == {"cwd": None}
    assert await client.json("set_default_cwd", cwd="~/x/../default") == {"ok": True, "cwd": str(default)}
    assert await client.json("get_default_cwd") == {"cwd": str(default)}
    assert (await client.status(await client.spawn("/bin/true")))["cwd"] == str(default)
    assert (await client.status(await client.spawn("true", cwd="/usr")))["cwd"] == "/usr"
    assert await client.json("set_default_cwd", cwd=None) == {"ok": True, "cwd": None}
    assert (await client.status(await client.spawn("true")))["cwd"] == str(tmp_path)


async def test_row07_cwd_is_inferred_from_an_absolute_command(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "here"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    assert (await client.read_all(await client.spawn(f"{script} x"))).strip() == str(script.parent)


async def test_row08_size_defaults_to_120_by_30(client: Client) -> None:
    assert await client.read_all(await client.spawn("stty size")) == "30 120\r\n"
    assert await client.read_all(await client.spawn("stty size", cols="80", rows=24)) == "24 80\r\n"


async def test_row09_environment_overrides_and_null_means_empty(client: Client) -> None:
    session = await client.spawn('echo "[$A][${HOME-unset}]"', env={"A": "1", "HOME": None})
    assert await client.read_all(session) == "[1][]\r\n"


async def test_row10_terminal_variables_have_defaults(client: Client) -> None:
    session = await client.spawn('echo "$TERM $COLORTERM"; locale charmap 2>/dev/null || echo UTF-8')
    assert await client.read_all(session) == "xterm-256color truecolor\r\nUTF-8\r\n"
    session = await client.spawn("echo $TERM", env={"TERM": "dumb"})
    assert await client.read_all(session) == "dumb\r\n"


async def test_row11_bash_with_the_clients_environment(connect: Connect) -> None:
    """The login shell of the reference is defect 30; what it was for, the client's environment, is there."""
    client = connect()
    client.context.environ["FROM_CLIENT"] = "yes"
    session = await client.spawn('shopt -q login_shell && echo login; echo "$FROM_CLIENT ${BASH_VERSION:+bash}"')
    assert await client.read_all(session) == "yes bash\r\n"


async def test_c30_no_login_shell_runs_the_profile_for_every_spawn(client: Client, tmp_path: Path) -> None:
    (tmp_path / ".bash_profile").write_text("echo from the profile\n")
    assert await client.read_all(await client.spawn("echo done")) == "done\r\n"


async def test_row12_names_are_unique_per_owner(client: Client) -> None:
    await client.spawn("sleep 60", name="build")
    assert isinstance(await client.refusal("pty_spawn", command="true", name="build", owner="me"), NameTaken)
    await client.spawn("sleep 60", name="build", owner="you")


async def test_c29_a_name_is_free_once_its_session_has_exited(client: Client) -> None:
    await client.wait(await client.spawn("true", name="build"))
    await client.spawn("sleep 60", name="build")


async def test_row13_row14_tag_and_owner(client: Client) -> None:
    status = await client.status(await client.spawn("true", tag="t"))
    assert (status["tag"], status["owner"]) == ("t", "me")


async def test_row14_a_session_is_only_for_who_names_its_owner(client: Client) -> None:
    session = await client.spawn("sleep 60")
    for owner in ({}, {"owner": "you"}):
        for tool, more in (
            ("pty_read", {}),
            ("pty_write", {"data": "x"}),
            ("pty_status", {}),
            ("pty_close", {}),
            ("pty_wait", {}),
            ("pty_read_at", {}),
            ("pty_resize", {"cols": 1, "rows": 1}),
            ("pty_signal", {"sig": "INT"}),
        ):
            assert isinstance(await client.refusal(tool, session_id=session, **owner, **more), Denied), tool


async def test_row15_scopes(client: Client) -> None:
    allowed: dict[str, list[str]] = {}
    for scope in ("read-only", "read-write", "control", "admin"):
        session = await client.spawn("sleep 60", scope=scope)
        allowed[scope] = []
        for tool, more in (
            ("pty_read", {"timeout_ms": 0}),
            ("pty_write", {"data": ""}),
            ("pty_resize", {"cols": 80, "rows": 24}),
            ("pty_signal", {"sig": "INT"}),
        ):
            try:
                await client.answer(tool, session_id=session, owner="me", **more)
            except Denied:
                continue
            allowed[scope].append(tool)
    assert allowed == {
        "read-only": ["pty_read"],
        "read-write": ["pty_read", "pty_write", "pty_resize"],
        "control": ["pty_read", "pty_write", "pty_resize", "pty_signal"],
        "admin": ["pty_read", "pty_write", "pty_resize", "pty_signal"],
    }


async def test_c14_a_read_only_session_can_be_closed_and_an_unknown_scope_is_refused(client: Client) -> None:
    session = await client.spawn("sleep 60", scope="read-only")
    assert await client.text("pty_close", session_id=session, owner="me") == "ok"
    assert "scope" in (await client.refusal("pty_spawn", command="true", owner="me", scope="superuser")).message


async def test_row16_row28_row29_separate_streams(client: Client) -> None:
    session = await client.spawn("echo out; echo err >&2", separate_streams=True)
    assert await client.read_all(session, "pty_read_stdout") == "out\n"
    assert await client.read_all(session, "pty_read_stderr") == "err\n"
    status = await client.status(session)
    assert (status["separate_streams"], status["stdout_total_offset"], status["stderr_total_offset"]) == (True, 4, 4)


async def test_row17_the_combined_stream_has_both(client: Client) -> None:
    session = await client.spawn("echo out; read x; echo err >&2", separate_streams=True)
    await client.until(session, "out\n", client_id="other")
    await client.text("pty_write", session_id=session, owner="me", data="\n")
    assert await client.read_all(session) == "out\nerr\n"


async def test_streams_apart_are_empty_without_separate_streams(client: Client) -> None:
    session = await client.spawn("echo out")
    for tool in ("pty_read_stdout", "pty_read_stderr"):
        assert await client.text(tool, session_id=session, owner="me") == ""


async def test_row46_resume_by_name(client: Client) -> None:
    session = await client.spawn("sleep 60", name="build")
    found = await client.json("pty_resume", name="build", owner="me")
    assert (found["session_id"], found["resumed_via"], found["running"]) == (session, "name", True)
    assert isinstance(await client.refusal("pty_resume", name="build", owner="you"), SessionNotFound)
    await client.text("pty_close", session_id=session, owner="me")
    assert isinstance(await client.refusal("pty_resume", name="build", owner="me"), SessionNotFound)


async def test_row65_an_owner_is_required_unless_switched_off(connect: Connect) -> None:
    strict, easy = connect(), connect(REQUIRE_OWNER="0")
    for tool, more in (("pty_spawn", {"command": "true"}), ("pty_list", {}), ("pty_resume", {"name": "x"})):
        refused = await strict.refusal(tool, **more)
        assert isinstance(refused, InvalidParams)
        assert "owner" in refused.message
    session = await easy.text("pty_spawn", command="sleep 60", name="x")
    assert (await easy.json("pty_resume", name="x"))["session_id"] == session
    assert [one["session_id"] for one in await easy.json("pty_list")] == [session]


async def test_row74_the_session_limit_counts_running_sessions_of_agents_only(
    connect: Connect, human: LocalClient
) -> None:
    client = connect(MAX_SESSIONS="2")
    for _ in range(3):
        await human.call(api.CREATE, command=["sleep", "60"])
    await client.wait(await client.spawn("true"))
    first = await client.spawn("sleep 60")
    await client.spawn("sleep 60")
    refused = await client.refusal("pty_spawn", command="true", owner="me")
    assert isinstance(refused, LimitReached)
    assert "pty_close" in str(refused.hint)
    await client.text("pty_close", session_id=first, owner="me")
    await client.spawn("true")


async def test_row74_spawns_at_the_same_time_do_not_pass_the_limit_together(connect: Connect) -> None:
    client = connect(MAX_SESSIONS="3")
    started = []

    async def spawn() -> None:
        try:
            started.append(await client.spawn("sleep 60"))
        except LimitReached:
            pass

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(spawn)
    assert 1 <= len(started) <= 3


async def test_c25_failed_spawns_leave_no_descriptors(client: Client) -> None:
    await client.refusal("pty_spawn", command="true", owner="me", cwd="/nowhere")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        refused = await client.refusal("pty_spawn", command="true", owner="me", cwd="/nowhere")
        assert "/nowhere" in refused.message
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_the_agent_and_the_human_have_the_same_sessions(client: Client, human: LocalClient) -> None:
    session = await client.spawn("sleep 60", name="shared")
    seen = await human.call(api.GET, session_id=session)
    assert (seen.name, seen.profile, seen.owner) == ("shared", "mcp", "me")
    own = await human.call(api.CREATE, command=["sh", "-c", "echo hello; sleep 60"])
    assert (await client.json("pty_read_until", session_id=own.session_id, pattern="hello"))["matched"]
