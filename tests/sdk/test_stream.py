"""`server.terminal.stream()`: callbacks beside the caller's own work, whose failures are told."""

import os
import shlex
import signal
import sys
import threading
from typing import Any

import anyio
import pytest
from tests.sdk.conftest import PATIENCE_SECONDS, Node, Run, run_with

from ptybridge.errors import ClientClosed, Conflict
from ptybridge.sdk.shapes import StreamState

# Writes to one stream only when what it wrote to the other has been taken.
IN_TURN = """
import fcntl, os, struct, termios, time
def taken(fd):
    while struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]:
        time.sleep(0.01)
for number in range(6):
    fd = 1 + number % 2
    os.write(fd, b"%d" % number)
    taken(fd)
"""


def real(value: Any) -> Any:
    """Return the blocking client's own object, on which calls are made at once."""
    return getattr(value, "inner", value)


class Seen:
    """Collects what callbacks get."""

    def __init__(self) -> None:
        self.output = b""
        self.told: list[tuple[str, Any]] = []

    def add_to(self, stream: Any) -> Any:
        made = real(stream).on_output(self.take)
        for name in ("status", "command_complete", "history", "error", "disconnect"):
            made = getattr(made, f"on_{name}")(lambda value, name=name: self.told.append((name, value)))
        return stream

    def take(self, data: bytes) -> None:
        self.output += data

    def of(self, name: str) -> list[Any]:
        return [value for kind, value in self.told if kind == name]

    async def until(self, text: bytes) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while True:
                if text in self.output:
                    return
                await anyio.sleep(0.01)


def test_a_shell_is_talked_with_by_callbacks(run: Run) -> None:
    async def body(client: Any) -> None:
        seen = Seen()
        async with seen.add_to(client.terminal.stream(shell="/bin/bash", cols=90)) as stream:
            session_id = stream.session_id
            assert stream.is_connected
            await stream.send_input("echo ma''de; false\n")
            await seen.until(b"made")
            with anyio.fail_after(PATIENCE_SECONDS):
                while True:
                    if seen.of("command_complete"):
                        break
                    await anyio.sleep(0.01)
            [ended] = seen.of("command_complete")
            assert (ended.command, ended.exit_code) == ("echo ma''de; false", 1)
            await stream.send_resize(70, 20)
            assert (await client.sessions.get(session_id)).cols == 70
            history = await stream.request_history()
            assert b"made" in history.data
            assert [one.data for one in seen.of("history")] == [history.data]
            assert real(stream).metrics.bytes_sent == len("echo ma''de; false\n")
            assert real(stream).metrics.bytes_received >= len(seen.output) > 0
        assert seen.of("status") == ["connecting", "connected", "closing", "closed"]
        assert seen.of("disconnect") == ["closed"]
        assert session_id not in [one.session_id for one in (await client.terminal.list_sessions(limit=1000)).sessions]

    run(body)


def test_a_session_is_left_as_it_is_and_taken_up_again(run: Run) -> None:
    async def body(client: Any) -> None:
        async with await client.sessions.create("printf early; read a; echo got:$a; read b; exit 3") as session:
            await session.expect("early")
            seen = Seen()
            stream = seen.add_to(client.terminal.attach_stream(session.session_id))
            assert await stream.connect() == session.session_id
            with pytest.raises(Conflict):
                await stream.attach(session.session_id)
            await stream.send_input("x\n")
            await seen.until(b"got:x")
            assert b"early" not in seen.output
            assert await stream.detach() == session.session_id
            assert (await session.get()).state == "running"
            again = Seen()
            stream = again.add_to(client.terminal.attach_stream(session.session_id))
            async with stream:
                await stream.send_input("\n")
                assert (await stream.wait()).exit_code == 3
            assert again.of("disconnect") == ["exited"]
            assert real(stream).state == StreamState.CLOSED

    run(body)


def test_what_a_callback_raises_is_raised_and_not_swallowed(run: Run) -> None:
    async def body(client: Any) -> None:
        class Mine(Exception):
            pass

        def fail(data: bytes) -> None:
            raise Mine

        seen = Seen()
        stream = client.terminal.stream(shell="/bin/sh")
        real(stream).on_output(fail)
        seen.add_to(stream)
        await stream.connect()
        with pytest.raises(Mine):
            await stream.wait()
        assert [type(one) for one in seen.of("error")] == [Mine]
        assert seen.of("status")[-1] == StreamState.ERROR
        await stream.close()
        assert not [one for one in threading.enumerate() if one.name == "ptybridge stream"]
        with pytest.raises(ClientClosed):
            await client.terminal.stream().send_input("x")

    run(body)


def test_a_callback_may_end_the_stream(run: Run) -> None:
    async def body(client: Any) -> None:
        stream = client.terminal.stream(shell="/bin/bash")
        inner = real(stream)
        blocking = inner is not stream
        heard: list[str] = []
        inner.on_disconnect(heard.append)

        async def leave(data: bytes) -> None:
            await inner.close()

        inner.on_output((lambda data: inner.close()) if blocking else leave)
        async with stream:
            await stream.wait()
        assert heard == ["closed"]
        assert inner.state == StreamState.CLOSED

    run(body)


def test_a_stream_goes_on_after_the_daemon_was_killed(
    own_node: Node, flavour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(client: Any) -> None:
        seen = Seen()
        stream = seen.add_to(client.terminal.stream(shell="/bin/cat"))
        async with stream:
            await stream.send_input("before\n")
            await seen.until(b"before\r\nbefore")
            pid = own_node.pid()
            os.kill(pid, signal.SIGKILL)
            while True:
                if (await client.connect()).pid != pid:
                    break
            await stream.send_input("after\n")
            await seen.until(b"after\r\nafter")
            assert seen.output.count(b"before") == 2
            assert real(stream).metrics.reconnect_count == 1

    # The daemon whose sessions the keeper has is started by whoever misses it.
    for name, value in own_node.env.items():
        monkeypatch.setenv(name, value)
    run_with(flavour, body, reconnect_timeout=60.0)


def test_execute_keeps_the_order_of_both_streams(run: Run) -> None:
    async def body(client: Any) -> None:
        result = await client.terminal.execute(f"{shlex.quote(sys.executable)} -c {shlex.quote(IN_TURN)}", timeout=None)
        assert (result.output, result.exit_code) == (b"012345", 0)

    run(body)


def test_of_very_much_output_the_middle_is_left_out_and_told(run: Run) -> None:
    async def body(client: Any) -> None:
        command = "printf begin; head -c 40000000 /dev/zero; printf end"
        result = await client.terminal.execute(command, timeout=None)
        assert result.output[:5] == b"begin"
        assert result.output[-3:] == b"end"
        assert result.omitted_bytes == 40_000_008 - 16 * (1 << 20)
        assert b"[... %d bytes left out ...]" % result.omitted_bytes in result.output

    run(body)
