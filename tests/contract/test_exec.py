"""`exec.run` and `exec.stream`: a program of its own, run to its end."""

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from tests.contract.conftest import Connect
from tests.contract.endpoints import Client, Stream, StreamEnded
from tests.contract.programs import PATIENCE_MS, until

from ptybridge.api import attach, exec, session, terminal
from ptybridge.core import execution
from ptybridge.daemon import Daemon
from ptybridge.errors import InvalidParams, SpawnFailed
from ptybridge.service import exec as service

UpWhen = Callable[[Callable[[], bool]], AbstractAsyncContextManager[None]]


@pytest.fixture
def up_when(monkeypatch: pytest.MonkeyPatch) -> UpWhen:
    """`async with up_when(condition)`: time limits run out once it holds: nobody knows how soon a program has begun."""
    limits: list[trio.CancelScope] = []

    def move_on_after(seconds: float, *, shield: bool = False) -> trio.CancelScope:
        limits.append(trio.CancelScope(deadline=trio.current_time() + seconds, shield=shield))
        return limits[-1]

    here = SimpleNamespace(**vars(trio) | {"move_on_after": move_on_after})
    monkeypatch.setattr(execution, "trio", here)
    monkeypatch.setattr(service, "trio", here)

    async def run_out(condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)
        # Who collects the output has it as well.
        await trio.testing.wait_all_tasks_blocked(0.01)
        for one in limits:
            one.deadline = trio.current_time()

    @asynccontextmanager
    async def up_when(condition: Callable[[], bool]) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_out, condition)
            yield
            nursery.cancel_scope.cancel()

    return up_when


def printed(daemon: Daemon, text: str) -> Callable[[], bool]:
    """Return a condition: the only session has printed so much."""
    return lambda: any(one.log.end >= len(text) for one in daemon.sessions.all())


async def ids(client: Client) -> list[str]:
    return [one.session_id for one in (await client.call(session.LIST)).sessions]


def pid_in(file: Path) -> int:
    return int(file.read_text())


def lives(file: Path) -> bool:
    return Path(f"/proc/{pid_in(file)}/exe").exists()


async def appears(path: Path) -> None:
    with trio.fail_after(PATIENCE_MS / 1000):
        while True:
            if await trio.Path(path).exists():
                return
            await trio.sleep(0.01)


async def run(client: Client, script: str, **params: Any) -> exec.RunResult:
    return await client.call(exec.RUN, command=["sh", "-c", script], **params)


async def test_streams_stay_apart_and_the_status_is_the_programs(client: Client) -> None:
    ran = await run(client, "echo out; echo err >&2; exit 7")
    assert (ran.exit_code, ran.exit_signal, ran.stdout, ran.stderr) == (7, None, "out\n", "err\n")
    assert (ran.timed_out, ran.truncated, ran.signals, ran.session_id, ran.lossy) == (False, {}, [], None, False)
    assert await ids(client) == []


async def test_a_string_runs_in_a_shell_and_a_signal_is_told(client: Client) -> None:
    ran = await client.call(exec.RUN, command="kill -KILL $$", env={"SHELL": "/bin/sh"})
    assert (ran.exit_code, ran.exit_signal) == (None, "SIGKILL")


async def test_input_arrives_whole_and_ends(client: Client) -> None:
    text = "Zeile ä\n" * 100_000
    ran = await client.call(exec.RUN, command=["sha256sum"], input=text)
    assert ran.stdout.split()[0] == hashlib.sha256(text.encode()).hexdigest()
    ran = await client.call(exec.RUN, command=["cat"])
    assert (ran.exit_code, ran.stdout) == (0, "")
    ran = await client.call(exec.RUN, command=["cat"], input="AP8=", input_encoding="base64", encoding="base64")
    assert ran.stdout == "AP8="


async def test_a_program_need_not_read_its_input(client: Client) -> None:
    ran = await client.call(exec.RUN, command=["true"], input="x" * 1_000_000)
    assert ran.exit_code == 0


async def test_directory_and_environment(client: Client, tmp_path: Path) -> None:
    ran = await run(client, "pwd; echo $COLOUR", cwd=str(tmp_path), env={"COLOUR": "blue"})
    assert ran.stdout == f"{tmp_path}\nblue\n"


async def test_what_cannot_be_started_says_why_and_leaves_nothing(client: Client) -> None:
    with pytest.raises(SpawnFailed, match="nonesuch"):
        await client.call(exec.RUN, command=["/nonesuch"])
    with pytest.raises(InvalidParams, match="base64"):
        await client.call(exec.RUN, command=["cat"], input="?", input_encoding="base64")
    assert await ids(client) == []


async def test_long_output_keeps_its_beginning_and_its_end_with_exact_counts(client: Client) -> None:
    ran = await client.call(exec.RUN, command=["seq", "1", "500000"], max_output_bytes=1001)
    everything = "".join(f"{number}\n" for number in range(1, 500_001))
    cut = ran.truncated["stdout"]
    assert (cut.head_bytes, cut.tail_bytes) == (501, 500)
    assert cut.omitted_bytes == len(everything) - 1001
    assert ran.stdout == everything[:501] + everything[-500:]
    assert (ran.stderr, ran.unattributed_bytes) == ("", 0)


async def test_text_is_cut_between_characters(client: Client) -> None:
    ran = await run(client, "printf '€%.0s' $(seq 100)", max_output_bytes=100)
    cut = ran.truncated["stdout"]
    assert not ran.lossy
    assert set(ran.stdout) == {"€"}
    assert cut.head_bytes + cut.tail_bytes + cut.omitted_bytes == 300
    assert len(ran.stdout.encode()) == cut.head_bytes + cut.tail_bytes


async def test_both_streams_flood_and_every_byte_is_counted(client: Client) -> None:
    ran = await run(client, "head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait", max_output_bytes=0)
    assert ran.truncated["stdout"].omitted_bytes + ran.truncated["stderr"].omitted_bytes == 5_000_000
    assert ran.truncated["stderr"].omitted_bytes == 2_000_000


async def test_time_is_up_and_everything_it_started_is_ended(client: Client, tmp_path: Path, up_when: UpWhen) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/pid; echo begun; trap '' HUP; : > {tmp_path}/up; wait; sleep 1000"
    async with up_when((tmp_path / "up").exists):
        ran = await run(client, script, timeout_ms=PATIENCE_MS)
    assert (ran.timed_out, ran.exit_code, ran.exit_signal, ran.stdout) == (True, None, "SIGTERM", "begun\n")
    assert ran.signals == ["SIGHUP", "SIGTERM"]
    assert not lives(tmp_path / "pid")
    assert await ids(client) == []


async def test_time_is_up_and_it_goes_on_as_a_session(client: Client, daemon: Daemon, up_when: UpWhen) -> None:
    script = "echo one; read line; echo got $line; exit 3"
    async with up_when(printed(daemon, "one\r\n")):
        ran = await run(client, script, pty=True, timeout_ms=PATIENCE_MS, on_timeout="keep")
    assert (ran.timed_out, ran.exit_code, ran.stdout) == (True, None, "one\r\n")
    assert ran.session_id is not None
    await client.call(terminal.WRITE, session_id=ran.session_id, data="two\n")
    await until(client, ran.session_id, "got two", offset=ran.next_offset)


async def test_a_terminal_if_asked_for(client: Client) -> None:
    ran = await run(client, "tty -s && stty size", pty=True, rows=33, cols=99)
    assert (ran.exit_code, ran.stdout) == (0, "33 99\r\n")


async def test_what_is_left_in_the_background_is_left_alone(client: Client, tmp_path: Path) -> None:
    quiet = f"(sleep 0.5; touch {tmp_path}/done) </dev/null >/dev/null 2>&1 & echo $!"
    assert (await run(client, quiet)).exit_code == 0
    assert await ids(client) == []
    await appears(tmp_path / "done")
    gate = tmp_path / "gate"
    holding = await run(client, f"(until [ -e {gate} ]; do sleep 0.05; done; echo later) & echo now")
    assert (holding.exit_code, holding.stdout) == (0, "now\n")
    assert holding.session_id is not None, "it still prints, and somebody may want to know what"
    gate.touch()
    await until(client, holding.session_id, "later", offset=holding.next_offset)


async def test_a_caller_who_goes_takes_the_program_with_it(connect: Connect, tmp_path: Path, kind: str) -> None:
    client, other = await connect(), await connect()
    script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; sleep 1000"
    with trio.fail_after(PATIENCE_MS / 1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, client, script)
            await appears(tmp_path / "pid")
            pidfd = os.pidfd_open(pid_in(tmp_path / "pid"))
            if kind == "blocking":
                # A blocking client cannot be cancelled from another task; closing its connection is what it has.
                [session_id] = await ids(other)
                await other.call(session.CLOSE, session_id=session_id)
            else:
                nursery.cancel_scope.cancel()
        if kind == "socket":
            await client.aclose()
        await trio.lowlevel.wait_readable(pidfd)
        os.close(pidfd)
        while True:
            if not await ids(other):
                break
            await trio.sleep(0.01)


async def collect(client: Client, **params: Any) -> tuple[Any, list[Any], str]:
    events: list[Any] = []
    async with client.stream(exec.STREAM, **params) as stream:
        reason = await read_all(stream, events)
    return stream.opened, events, reason


async def read_all(stream: Stream, events: list[Any]) -> str:
    """Read to the end; return why it ended."""
    with trio.fail_after(PATIENCE_MS / 1000):
        while True:
            try:
                events.append(await stream.next())
            except StreamEnded as ended:
                return ended.reason


def text_of(events: list[Any], stream: str) -> str:
    return "".join(one.data for one in events if isinstance(one, attach.OutputEvent) and one.stream == stream)


async def test_a_stream_gives_everything_in_order_and_the_end_last(client: Client) -> None:
    opened, events, reason = await collect(client, command=["sh", "-c", "seq 1 300000; echo err >&2; exit 5"])
    assert text_of(events, "stdout") == "".join(f"{number}\n" for number in range(1, 300_001))
    assert text_of(events, "stderr") == "err\n"
    last = events[-1]
    assert isinstance(last, exec.FinishedEvent)
    assert (last.exit_code, last.timed_out, last.session_id, reason) == (5, False, None, "exited")
    assert opened.session_id not in await ids(client)


async def test_a_streamed_program_takes_input_while_it_runs(client: Client, connect: Connect) -> None:
    other = await connect()
    events: list[Any] = []
    script = "echo up; read line; echo $line"
    async with client.stream(exec.STREAM, command=["sh", "-c", script], pty=True) as stream:
        seen = ""
        while "up\r\n" not in seen:
            seen += (await stream.next()).data
        await other.call(terminal.WRITE, session_id=stream.opened.session_id, data="hello\n")
        await read_all(stream, events)
    assert "hello\r\nhello\r\n" in "".join(one.data for one in events if isinstance(one, attach.OutputEvent))


async def test_a_streams_time_limit(client: Client, daemon: Daemon, up_when: UpWhen) -> None:
    script = ["sh", "-c", "echo a; exec sleep 1000"]
    async with up_when(printed(daemon, "a\n")):
        _, events, reason = await collect(client, command=script, timeout_ms=PATIENCE_MS)
    assert (events[-1].timed_out, events[-1].exit_signal, events[-1].signals) == (True, "SIGHUP", ["SIGHUP"])
    assert (text_of(events, "stdout"), reason) == ("a\n", "timeout")
    opened, events, _ = await collect(client, command=["sleep", "1000"], timeout_ms=100, on_timeout="keep")
    assert events[-1].session_id == opened.session_id
    assert await ids(client) == [opened.session_id]
