"""Signals, `session.close`, `close_all`, time limits: how sessions end and what is told of it."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.contract.endpoints import Client
from tests.contract.programs import PATIENCE_MS, exited, output, script, shell, start, until

from ptybridge.api import event, session, terminal
from ptybridge.core import closing, procinfo, strays
from ptybridge.errors import InvalidParams, SessionNotFound

STUBBORN = "trap 'echo ignored' HUP TERM INT; echo up; while :; do sleep 0.02; done"


async def test_a_signal_goes_to_the_foreground_by_any_of_its_names(client: Client) -> None:
    for name in ["SIGUSR1", "usr1", str(int(signal.SIGUSR1))]:
        session_id = await script(client, "trap 'echo caught; exit 3' USR1; echo up; while :; do sleep 0.02; done")
        await until(client, session_id, "up")
        await client.call(session.SIGNAL, session_id=session_id, signal=name)
        assert (await exited(client, session_id)).exit_code == 3
    with pytest.raises(InvalidParams, match="SIGNONSENSE"):
        await client.call(session.SIGNAL, session_id=await start(client, "cat"), signal="SIGNONSENSE")


async def test_a_signal_spares_the_shell_but_the_whole_session_can_be_meant(client: Client) -> None:
    session_id = await shell(client)
    await client.call(terminal.WRITE, session_id=session_id, data="sh -c 'echo went; exec sleep 1000'\r")
    await until(client, session_id, "went\r\n")
    await client.call(session.SIGNAL, session_id=session_id, signal="INT")
    await until(client, session_id, "ready> ")
    await client.call(session.SIGNAL, session_id=session_id, signal="KILL", target="session")
    done = await exited(client, session_id)
    assert (done.exit_signal, done.exit_reason) == ("SIGKILL", "killed")


async def test_closing_forgets_the_session_and_reports_what_it_took(client: Client) -> None:
    session_id = await start(client, "cat")
    closed = await client.call(session.CLOSE, session_id=session_id)
    assert (closed.session_id, closed.signals, closed.survivors) == (session_id, ["SIGHUP"], [])
    assert (closed.exit_code, closed.exit_signal) == (None, "SIGHUP")
    with pytest.raises(SessionNotFound):
        await client.call(session.GET, session_id=session_id)
    assert (await client.call(session.LIST)).sessions == []


async def test_what_runs_in_the_background_can_be_left(client: Client) -> None:
    session_id = await script(client, "trap '' HUP; sleep 1000 </dev/null >/dev/null 2>&1 & echo $!")
    pid = int(await output(client, session_id))
    closed = await client.call(session.CLOSE, session_id=session_id, background="leave")
    assert (closed.signals, closed.survivors, closed.exit_code) == ([], [pid], 0)
    os.kill(pid, signal.SIGKILL)  # it was there to be killed
    running = await start(client, "cat")
    assert (await client.call(session.CLOSE, session_id=running, background="leave")).signals == ["SIGHUP"]


async def test_r12_the_ladder_goes_as_far_as_it_must(client: Client) -> None:
    session_id = await script(client, STUBBORN)
    await until(client, session_id, "up")
    closed = await client.call(session.CLOSE, session_id=session_id, grace_ms=100)
    assert closed.signals == ["SIGHUP", "SIGTERM", "SIGKILL"]
    assert (closed.exit_signal, closed.survivors) == ("SIGKILL", [])


async def test_r12_a_program_may_clean_up_on_each_step(client: Client) -> None:
    session_id = await script(
        client, "trap '' HUP; trap 'echo cleaned; exit 2' TERM; echo up; while :; do sleep 0.02; done"
    )
    await until(client, session_id, "up")
    closed = await client.call(session.CLOSE, session_id=session_id, grace_ms=2500)
    assert (closed.signals, closed.exit_code) == (["SIGHUP", "SIGTERM"], 2)


async def test_r12_jobs_in_groups_of_their_own_and_stopped_ones_end_too(client: Client) -> None:
    session_id = await shell(client)
    line = "trap '' HUP; sleep 1001 & trap - HUP; sleep 1002 & kill -STOP $!; echo pids $(jobs -p) .\r"
    await client.call(terminal.WRITE, session_id=session_id, data=line)
    await until(client, session_id, "echo pids")
    found = await client.call(
        terminal.READ_UNTIL, session_id=session_id, pattern=r"pids (\d+) (\d+) \.", regex=True, timeout_ms=PATIENCE_MS
    )
    assert found.match is not None
    watched = [os.pidfd_open(int(word)) for word in found.match.split()[1:3]]
    closed = await client.call(session.CLOSE, session_id=session_id, grace_ms=500)
    assert closed.survivors == []
    assert "SIGTERM" in closed.signals  # one of them ignores the hang-up
    with trio.fail_after(PATIENCE_MS / 1000):
        for pidfd in watched:
            await trio.lowlevel.wait_readable(pidfd)
            os.close(pidfd)


async def test_closing_what_has_exited_takes_nothing(client: Client) -> None:
    session_id = await script(client, "exit 5")
    await exited(client, session_id)
    closed = await client.call(session.CLOSE, session_id=session_id)
    assert (closed.signals, closed.exit_code, closed.end_offset) == ([], 5, 0)


async def test_closing_all_that_match(client: Client) -> None:
    mine = [await start(client, "cat", owner="me") for _ in range(3)]
    tagged = await start(client, "cat", tags=["t"])
    done = await script(client, "exit 0", owner="me")
    await exited(client, done)
    closed = await client.call(session.CLOSE_ALL, owner="me", exited_only=True)
    assert [one.session_id for one in closed.closed] == [done]
    closed = await client.call(session.CLOSE_ALL, tag="t")
    assert [one.session_id for one in closed.closed] == [tagged]
    closed = await client.call(session.CLOSE_ALL, owner="nobody")
    assert closed.closed == []
    closed = await client.call(session.CLOSE_ALL)
    assert sorted(one.session_id for one in closed.closed) == sorted(mine)
    assert (await client.call(session.LIST)).sessions == []


async def test_a_runtime_limit_ends_the_session(client: Client) -> None:
    session_id = await start(client, "sleep", "1000", max_runtime_ms=100)
    done = await exited(client, session_id)
    assert done.exit_reason == "timeout"
    assert done.exit_signal == "SIGHUP"


async def test_an_idle_limit_ends_the_session(client: Client) -> None:
    session_id = await start(client, "cat", idle_timeout_ms=100)
    done = await exited(client, session_id)
    assert done.exit_reason == "idle"


# -- the end of output ---------------------------------------------------------------------------------------

# A grandchild that survives the hang-up and holds the terminal until it is told to go.
HOLDING = "trap '' HUP; (while ! [ -e go ]; do sleep 0.01; done; echo late) & exit 4"


@pytest.mark.parametrize("size", [1, 4095, 4097, 65536, 1 << 20])
@pytest.mark.parametrize("backend", ["pty", "pipes"])
async def test_r01_nothing_is_lost_at_the_exit(client: Client, size: int, backend: str) -> None:
    program = (
        f"import os; d = b'0123456789' * {size // 10 + 1}; v = memoryview(d)[:{size}]\nwhile v: v = v[os.write(1, v):]"
    )
    session_id = await start(client, "python3", "-c", program, backend=backend, max_output_bytes=2 << 20)
    done = await exited(client, session_id)
    assert done.end_offset == size
    assert done.output_closed
    text = await output(client, session_id)
    assert text == ("0123456789" * (size // 10 + 1))[:size]


async def test_r01_fast_programs_lose_nothing_many_times(client: Client) -> None:
    for turn in range(60):
        text = "x" * (turn * 150 % 8000 + 1)
        session_id = await start(client, "printf", "%s.", text)
        assert await output(client, session_id) == text + "."
        await client.call(session.CLOSE, session_id=session_id)


async def test_r02_a_grandchild_keeps_the_terminal_open(client: Client, tmp_path: Path) -> None:
    """The exit is told after the linger time with `output_closed: false`; the end of output is told later."""
    async with client.stream(event.FOLLOW, types=["exited", "output_closed"]) as events:
        session_id = await script(client, HOLDING, cwd=str(tmp_path), linger_ms=50)
        exit_event = await events.next()
        assert (exit_event.exit_code, exit_event.output_closed) == (4, False)
        done = await client.call(session.GET, session_id=session_id)
        assert (done.state, done.output_closed) == ("exited", False)
        read = await client.call(terminal.READ, session_id=session_id)
        assert not read.eof
        (tmp_path / "go").touch()
        closed_event = await events.next()
        assert closed_event.session_id == session_id
        assert closed_event.end_offset == len("late\r\n")
    read = await client.call(terminal.READ, session_id=session_id, timeout_ms=PATIENCE_MS)
    assert (read.data, read.eof) == ("late\r\n", True)


async def test_r02_within_the_linger_time_there_is_only_one_end(client: Client, tmp_path: Path) -> None:
    session_id = await script(client, HOLDING, cwd=str(tmp_path), linger_ms=60_000)
    with trio.fail_after(PATIENCE_MS / 1000):
        while (await client.call(session.GET, session_id=session_id)).foreground is not None:  # noqa: ASYNC110
            await trio.sleep(0.002)
    (tmp_path / "go").touch()
    done = await exited(client, session_id)
    assert (done.output_closed, done.exit_code) == (True, 4)
    assert await output(client, session_id) == "late\r\n"


async def test_r02_closing_ends_grandchildren_too(client: Client, tmp_path: Path) -> None:
    session_id = await script(client, HOLDING, cwd=str(tmp_path), linger_ms=0)
    done = await exited(client, session_id)
    assert not done.output_closed
    closed = await client.call(session.CLOSE, session_id=session_id, grace_ms=200)
    assert closed.signals[0] == "SIGHUP"
    assert closed.survivors == []
    assert closed.exit_code == 4


# How programs leave a session; each prints the pid of what has left it and runs.
LEAVING = {
    "setsid": "setsid sh -c 'echo pid $$.; exec sleep 1000' </dev/null",
    "double_fork": "(setsid sh -c 'echo pid $$.; exec sleep 1000' </dev/null &)",
    "hup_ignored": "setsid sh -c 'trap \"\" HUP; echo pid $$.; exec sleep 1000' </dev/null",
}


async def leave(client: Client, way: str, **params: Any) -> tuple[str, int]:
    """Start a session of which something has left; return its id, and a pidfd of that."""
    session_id = await script(client, f"{LEAVING[way]} & exec sleep 1000", **params)
    return session_id, await left_by(client, session_id)


async def left_by(client: Client, session_id: str) -> int:
    found = await client.call(
        terminal.READ_UNTIL, session_id=session_id, pattern=r"pid (\d+)\.", regex=True, timeout_ms=PATIENCE_MS
    )
    assert found.match is not None
    return int(found.match[4:-1])


@pytest.mark.parametrize("way", LEAVING)
async def test_r12_what_left_the_session_survives_the_close_and_is_told(client: Client, way: str) -> None:
    """`setsid` is how a program asks to be left alone; the ladder is for the session."""
    session_id, pid = await leave(client, way)
    closed = await client.call(session.CLOSE, session_id=session_id)
    assert (closed.survivors, closed.escaped) == ([], [pid])
    os.kill(pid, signal.SIGKILL)  # raises if it is gone


async def test_c13_what_just_becomes_another_program_is_told_as_well(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of execve(2) a process has no environment, by which alone it is known here."""
    session_id, pid = await leave(client, "double_fork")
    seen, command = strays._environment, procinfo.process_command
    looks = 0

    def environment(one: int) -> bytes | None:
        nonlocal looks
        looks += one == pid
        return b"" if one == pid and looks <= 5 else seen(one)

    monkeypatch.setattr(strays, "_environment", environment)
    monkeypatch.setattr(procinfo, "process_command", lambda one: [] if one == pid and looks <= 5 else command(one))
    monkeypatch.setattr(closing, "BEGIN_SECONDS", PATIENCE_MS / 1000)
    closed = await client.call(session.CLOSE, session_id=session_id, background="leave")
    assert (closed.survivors, closed.escaped) == ([], [pid])
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("way", LEAVING)
async def test_c13_what_left_the_session_can_be_ended_with_it(client: Client, way: str) -> None:
    session_id, pid = await leave(client, way)
    pidfd = os.pidfd_open(pid)
    closed = await client.call(session.CLOSE, session_id=session_id, background="all", grace_ms=PATIENCE_MS)
    assert (closed.survivors, closed.escaped) == ([], [])
    assert closed.signals == ["SIGHUP", "SIGTERM"]
    with trio.fail_after(PATIENCE_MS / 1000):
        await trio.lowlevel.wait_readable(pidfd)
    os.close(pidfd)


async def test_c13_what_left_a_session_that_has_exited_is_told_and_can_be_ended(client: Client) -> None:
    mine = []
    for background in ("leave", "end", "all"):
        session_id = await script(client, f"{LEAVING['double_fork']}; sleep 0.1", linger_ms=0)
        pid = await left_by(client, session_id)
        await exited(client, session_id)
        closed = await client.call(session.CLOSE, session_id=session_id, background=background)
        mine.append(closed.escaped == [pid])
        if closed.escaped:
            os.kill(pid, signal.SIGKILL)
    assert mine == [True, True, False]


async def test_c13_all_can_be_closed_with_what_left_them(client: Client) -> None:
    left = [(await leave(client, way, tags=["t"]))[1] for way in LEAVING]
    closed = await client.call(session.CLOSE_ALL, tag="t", background="all")
    assert [one.escaped for one in closed.closed] == [[], [], []]
    assert not any(stat is not None and stat.alive for stat in map(procinfo.process_stat, left))
