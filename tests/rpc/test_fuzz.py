"""S16: whatever a peer sends, it gets errors, the daemon lives, and the others notice nothing."""

import json
import socket
from typing import Any

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.endpoints import PATIENCE_SECONDS
from tests.rpc.conftest import Peer

from ptybridge import config
from ptybridge.api.endpoint import Channel, EventSink
from ptybridge.api.registry import contract
from ptybridge.daemon import Daemon
from ptybridge.errors import PtybridgeError
from ptybridge.model import Caller
from ptybridge.rpc.connection import Connection

NAMES = [one.name for one in contract()]
FIELDS = sorted({field for one in contract() for field in one.params.__struct_fields__})
# Restarting or stopping the test's daemon is not what is tested; nor is starting thousands of programs.
HARMLESS = [name for name in NAMES if name not in {"node.shutdown", "node.restart", "session.create"}]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
params = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=9), values, max_size=5)
methods = st.sampled_from(HARMLESS) | st.text(max_size=20)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | values, "method": methods | values, "id": values}, optional={"params": params | values}
)
lines = st.one_of(
    requests.map(lambda one: json.dumps(one).encode()),
    st.lists(requests | values, max_size=4).map(lambda one: json.dumps(one).encode()),
    values.map(lambda one: json.dumps(one).encode()),
    st.binary(max_size=60).map(lambda one: one.replace(b"\n", b" ")),
    # Torn and doubled texts of real requests.
    st.tuples(requests, st.integers(0, 80), st.integers(0, 80)).map(
        lambda three: json.dumps(three[0]).encode()[three[1] :] + json.dumps(three[0]).encode()[: three[2]]
    ),
)


class Duplex:
    """A daemon that is not running, made anew for each example: no descriptors, no programs."""

    def __init__(self) -> None:
        there = "/nowhere"
        paths = config.Paths(socket=f"{there}/daemon.sock", state_dir=there, runtime_dir=there, tmux_dir=there)
        self.endpoint = Daemon(config.Config(paths=paths)).server.endpoint
        self.caller = Caller(principal="uid:0", connection_id="fuzz")


@settings(max_examples=300)
@given(method=st.sampled_from(HARMLESS), given_params=params)
async def test_s16_every_operation_refuses_nonsense_as_its_callers_mistake(
    method: str, given_params: dict[str, Any]
) -> None:
    """Never an internal error, whatever the parameters."""
    duplex = Duplex()
    raw = msgspec.Raw(json.dumps(given_params).encode())
    failure: PtybridgeError | None = None
    with trio.move_on_after(0.2):
        try:
            answer = duplex.endpoint.call_nowait(duplex.caller, method, raw)
            if answer is not None:
                return
            kind = duplex.endpoint.kind(method)
            if kind == "call":
                await duplex.endpoint.call(duplex.caller, method, raw)
            elif kind == "stream":
                await duplex.endpoint.stream(duplex.caller, method, raw, _Nowhere())
            else:
                await duplex.endpoint.open(duplex.caller, method, raw, _Nowhere())
        except PtybridgeError as exc:
            failure = exc
    if failure is not None:
        assert failure.code != "internal_error"
        json.dumps(failure.describe())


class _Nowhere:
    async def opened(self, answer: object) -> None:
        await trio.lowlevel.checkpoint()

    async def send(self, head: object, payload: bytes = b"") -> None:
        await trio.sleep_forever()

    def offer_nowait(self, head: bytes, payload: bytes = b"") -> bool:
        return False

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return b""


_: EventSink = _Nowhere()
__: Channel = _Nowhere()


@settings(max_examples=60)
@given(sent=st.lists(lines, min_size=1, max_size=12), cuts=st.lists(st.integers(1, 50), max_size=30))
async def test_s16_a_connection_survives_any_lines_cut_anywhere(sent: list[bytes], cuts: list[int]) -> None:
    ours, theirs = socket.socketpair()
    duplex = Duplex()
    data = b"".join(line + b"\n" for line in sent)
    async with trio.open_nursery() as nursery:
        server = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        client = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        connection = Connection(server, duplex.endpoint, duplex.caller, max_line=1 << 20, max_in_flight=100)

        async def serve() -> None:
            async with server:
                await connection.run()

        nursery.start_soon(serve)
        async with client:

            async def write() -> None:
                at = 0
                for cut in cuts:
                    await client.send_all(data[at : at + cut])
                    at += cut
                await client.send_all(data[at:] + b'{"jsonrpc":"2.0","id":"the last","method":"node.info"}\n')

            nursery.start_soon(write)
            got = b""
            with trio.fail_after(PATIENCE_SECONDS):
                # To the end of a line: a large answer before it comes in pieces that end anywhere.
                while b'"the last"' not in got or not got.endswith(b"\n"):
                    some = bytes(await client.receive_some())
                    assert some, (sent, got)
                    got += some
        nursery.cancel_scope.cancel()
    for line in got.splitlines():
        message = json.loads(line)
        for one in message if isinstance(message, list) else [message]:
            assert one["jsonrpc"] == "2.0"
            if "error" in one:
                assert one["error"]["data"]["code"] != "internal_error"


async def test_s16_names_of_attributes_are_no_methods(peer: Peer) -> None:
    for name in [
        "__class__",
        "session.__init__",
        "_prepare",
        "call",
        "session.create.__doc__",
        "supervisor.x",
        "..",
        "/",
    ]:
        answer = await peer.ask(name)
        assert answer["error"]["data"]["code"] == "method_not_found"
