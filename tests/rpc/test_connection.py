"""A connection's life: half-closed, stalled, limited, cut in the middle; and the scripts that use it."""

import json
import os
import signal
import socket
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.conftest import NeedTool
from tests.contract.endpoints import PATIENCE_SECONDS
from tests.rpc.conftest import Dial, Peer, notification, request

from ptybridge import config
from ptybridge.daemon import Daemon

WAIT = {"until": [{"pattern": "never"}]}
MAX_LINE = 1 << 20


@pytest.fixture
def settings() -> config.Daemon:
    return config.Daemon(stop_timeout_ms=2000, max_line_bytes=MAX_LINE, max_requests_in_flight=5, max_connections=4)


async def cat(peer: Peer, **params: object) -> str:
    result = await peer.result("session.create", {"command": ["cat"], "echo": False} | params)
    return str(result["session_id"])


async def until_in_flight(daemon: Daemon, count: int) -> None:
    """Wait until so many waits are running: each of them is a reader waiting on its session's log."""
    with trio.fail_after(PATIENCE_SECONDS):
        while sum(len(one.log._waiting) - 1 for one in daemon.sessions.all()) != count:  # noqa: ASYNC110
            await trio.sleep(0.002)


# -- going away ----------------------------------------------------------------------------------------------


async def test_what_runs_for_a_client_that_is_gone_is_cancelled(dial: Dial, daemon: Daemon) -> None:
    one, two = await dial(), await dial()
    session_id = await cat(two)
    for n in range(3):
        await one.send(request(n, "session.wait", {"session_id": session_id} | WAIT))
    await until_in_flight(daemon, 3)
    await one.stream.aclose()
    await until_in_flight(daemon, 0)
    await two.lives()


async def test_a_half_closed_connection_gets_its_answers(dial: Dial) -> None:
    """`echo … | socat - UNIX:…`: the end of input says nothing about who still listens."""
    one, two = await dial(), await dial()
    session_id = await cat(two)
    await one.send(
        request("wait", "session.wait", {"session_id": session_id, "until": [{"pattern": "go"}]}),
        request("list", "session.list"),
    )
    await one.stream.send_eof()
    assert (await one.next())["id"] == "list"
    await two.result("session.write", {"session_id": session_id, "data": "go\n"})
    answer = await one.next()
    assert (answer["id"], answer["result"]["reason"]) == ("wait", "matched")
    assert await one.line() == b""


async def test_a_half_closed_client_that_goes_is_noticed_too(dial: Dial, daemon: Daemon) -> None:
    one, two = await dial(), await dial()
    session_id = await cat(two)
    await one.send(request(1, "session.wait", {"session_id": session_id} | WAIT))
    await one.stream.send_eof()
    await until_in_flight(daemon, 1)
    await one.stream.aclose()
    await until_in_flight(daemon, 0)


async def test_the_last_line_may_lack_its_newline(peer: Peer) -> None:
    await peer.send(request(1, "session.list"), json.dumps(request(2, "session.list")).encode())
    await peer.stream.send_eof()
    assert [(await peer.next())["id"] for _ in range(2)] == [1, 2]
    assert await peer.line() == b""


async def test_half_a_line_at_the_end_does_nothing(dial: Dial) -> None:
    one, two = await dial(), await dial()
    line = json.dumps(request(1, "session.create", {"command": ["cat"]})).encode()
    await one.send(line[:-1])
    await one.stream.send_eof()
    assert (await one.next())["error"]["code"] == -32700
    assert (await two.result("session.list"))["sessions"] == []


async def test_r29_a_cancelled_stream_tears_no_line(dial: Dial) -> None:
    """Cancelled while its reader is stalled in the middle of a line, a stream costs nobody an answer."""
    peer = await dial()
    flood = (await peer.result("session.create", {"command": ["yes", "x" * 200], "max_output_bytes": 65536}))[
        "session_id"
    ]
    for turn in range(5):
        await peer.send(request(f"s{turn}", "session.follow", {"session_id": flood}))
        # Its lines fill the socket; the answers to these stand somewhere among them.
        await peer.send(*(request(f"{turn}.{n}", "session.list", {"owner": "nobody"}) for n in range(5)))
        await peer.send(request(f"c{turn}", "rpc.cancel", {"id": f"s{turn}"}))
        missing = {f"s{turn}", f"c{turn}", "end", *(f"{turn}.{n}" for n in range(5))}
        while missing:
            message = await peer.next()  # raises for what is no whole line
            if "id" in message:
                missing.remove(message["id"])
            elif message["method"] == "stream.end":
                missing.remove("end")
                assert message["params"]["reason"] == "cancelled"
    await peer.result("session.close", {"session_id": flood, "grace_ms": 0})


async def test_r06_a_peer_that_never_reads_is_held_and_the_others_are_not(dial: Dial) -> None:
    stalled, other = await dial(), await dial()
    flood = (await other.result("session.create", {"command": ["yes"], "max_output_bytes": 65536}))["session_id"]
    await stalled.send(request("s", "session.follow", {"session_id": flood}))
    with trio.move_on_after(0.5):  # until the kernel's buffers are full both ways
        while True:
            await stalled.send(*[request(1, "rpc.discover")] * 20)
    for _ in range(20):
        await other.lives()
    await other.result("session.close", {"session_id": flood, "grace_ms": 0})


# -- limits --------------------------------------------------------------------------------------------------


async def test_s16_a_line_over_the_limit_is_refused_without_keeping_it(peer: Peer) -> None:
    line = json.dumps(request(1, "session.write", {"session_id": "x", "data": "y" * MAX_LINE})).encode()
    await peer.send(request(0, "session.list"), line + b"\n", request(2, "session.list"))
    answers = [await peer.next() for _ in range(3)]
    assert sorted(str(one["id"]) for one in answers) == ["0", "2", "None"]
    (refused,) = [one["error"] for one in answers if "error" in one]
    assert (refused["code"], refused["data"]["code"]) == (-32014, "request_too_large")
    await peer.lives()


async def test_s16_requests_in_flight_are_limited(peer: Peer) -> None:
    session_id = await cat(peer)
    await peer.send(*(request(n, "session.wait", {"session_id": session_id} | WAIT) for n in range(6)))
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"], answer["error"]["data"]["retryable"]) == (5, -32015, True)
    # What answers at once is not in flight.
    await peer.lives()
    await peer.send(*(notification("rpc.cancel", {"id": n}) for n in range(5)))
    assert sorted([(await peer.next())["id"] for _ in range(5)]) == [0, 1, 2, 3, 4]
    await peer.send(request(6, "session.wait", {"session_id": session_id, "until": [{"idle_ms": 1}]}))
    assert (await peer.next())["result"]["reason"] == "idle"


async def test_s16_notifications_count_as_requests_in_flight(peer: Peer, daemon: Daemon) -> None:
    session_id = await cat(peer)
    await peer.send(*[notification("session.wait", {"session_id": session_id} | WAIT)] * 50)
    await peer.lives()
    await until_in_flight(daemon, 5)
    answer = await peer.ask("session.wait", {"session_id": session_id} | WAIT)
    assert answer["error"]["code"] == -32015


async def test_connections_are_limited_and_those_over_are_told(dial: Dial) -> None:
    peers = [await dial() for _ in range(4)]
    for one in peers:
        await one.lives()
    extra = await dial()
    answer = await extra.next()
    assert (answer["id"], answer["error"]["data"]["code"]) == (None, "too_many_requests")
    assert await extra.line() == b""
    await peers[0].stream.aclose()
    with trio.fail_after(PATIENCE_SECONDS):
        while True:  # until the daemon has noticed that one has gone
            another = await dial()
            await another.send(request(1, "session.list"))
            if "result" in await another.next():
                return


# -- attach --------------------------------------------------------------------------------------------------


async def test_attach_must_be_the_only_request_in_flight(peer: Peer) -> None:
    session_id = await cat(peer)
    attach = request("a", "session.attach", {"session_id": session_id, "rows": 5, "cols": 5})
    await peer.send(request("w", "session.wait", {"session_id": session_id} | WAIT), attach)
    answer = await peer.next()
    assert (answer["id"], answer["error"]["code"]) == ("a", -32600)
    await peer.send(notification("rpc.cancel", {"id": "w"}))
    assert (await peer.next())["id"] == "w"
    await peer.send(attach, request("x", "session.list"))
    answers = {(one := await peer.next())["id"]: one for _ in range(2)}
    assert answers["a"]["error"]["code"] == -32600
    assert "result" in answers["x"]


async def test_an_attach_that_is_refused_leaves_the_connection_as_it_was(peer: Peer) -> None:
    answer = await peer.ask("session.attach", {"session_id": "nowhere", "rows": 5, "cols": 5})
    assert answer["error"]["data"]["code"] == "session_not_found"
    answer = await peer.ask("session.attach", {"rows": 5})
    assert answer["error"]["data"]["code"] == "invalid_params"
    await peer.lives()
    session_id = await cat(peer)
    answer = await peer.ask("session.attach", {"session_id": session_id, "rows": 5, "cols": 5})
    assert answer["result"]["session_id"] == session_id


async def test_r06_a_suspended_client_harms_nobody(dial: Dial, daemon: Daemon) -> None:
    """SIGSTOP a client during a flood: memory stays flat, others are served; on SIGCONT it gets the present."""
    peer = await dial()
    flood = (await peer.result("session.create", {"command": ["yes"], "max_output_bytes": 65536}))["session_id"]
    text = (
        "import socket, sys, json\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'session.attach', 'params':\n"
        "    {'session_id': sys.argv[2], 'rows': 30, 'cols': 120, 'mode': 'viewer'}}).encode() + b'\\n')\n"
        "while True:\n"
        "    if not s.recv(65536): break\n"
    )
    async with trio.open_nursery() as nursery:
        command = ["python3", "-c", text, daemon.config.paths.socket, flood]
        process: trio.Process = await nursery.start(partial(trio.run_process, command, check=False))

        async def state() -> tuple[int, int]:
            info = await peer.result("session.get", {"session_id": flood})
            return info["end_offset"], info["clients"][0]["lag_bytes"] if info["clients"] else -1

        with trio.fail_after(PATIENCE_SECONDS):
            while (await state())[1] < 0:  # noqa: ASYNC110
                await trio.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        start, _ = await state()
        before = _resident_bytes()
        with trio.fail_after(PATIENCE_SECONDS):
            while (await state())[0] < start + (8 << 20):  # noqa: ASYNC110
                await trio.sleep(0.01)
        end, lag = await state()
        assert lag > 1 << 20
        assert _resident_bytes() - before < 64 << 20
        process.send_signal(signal.SIGCONT)
        with trio.fail_after(PATIENCE_SECONDS):
            while (await state())[1] > 1 << 20:  # noqa: ASYNC110
                await trio.sleep(0.005)
        process.kill()
    await peer.result("session.close", {"session_id": flood, "grace_ms": 0})
    assert end > start


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


# -- scripts -------------------------------------------------------------------------------------------------

SCRIPT = r"""
set -eu
rpc() {
    jq -cn --arg m "$1" --argjson p "$2" '{jsonrpc: "2.0", id: 1, method: $m, params: $p}' |
        socat -t 30 - UNIX-CONNECT:"$SOCK" | jq .result
}
id=$(rpc session.create '{"command": ["sh", "-c", "read x; echo got $x; exit 3"]}' | jq -r .session_id)
rpc session.write "{\"session_id\": \"$id\", \"data\": \"hello\\n\"}" >&2
rpc session.wait "{\"session_id\": \"$id\", \"until\": [{\"exit\": true}]}" | jq -r '"\(.reason) \(.exit_code)"'
rpc session.read "{\"session_id\": \"$id\", \"offset\": 0}" | jq -r .data
"""


async def test_a_script_with_socat_and_jq(daemon: Daemon, need_tool: NeedTool) -> None:
    need_tool("socat")
    need_tool("jq")
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            ["sh", "-c", SCRIPT], env=os.environ | {"SOCK": daemon.config.paths.socket}, capture_stdout=True
        )
    lines = done.stdout.decode().split()
    assert lines == ["exited", "3", "hello", "got", "hello"]


async def test_a_plain_blocking_socket_is_enough(daemon: Daemon) -> None:
    def talk() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(daemon.config.paths.socket)
            sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"node.info"}\n')
            return sock.makefile("rb").readline()

    answer = json.loads(await trio.to_thread.run_sync(talk))
    assert answer["result"]["pid"] == os.getpid()
