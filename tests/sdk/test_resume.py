"""Clients wait while the daemon is away and go on where they were; what may have been done is never done twice."""

import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon, session

from ptybridge import __version__
from ptybridge.api.attach import FOLLOW, ExitedEvent, Follow, OutputClosedEvent, OutputEvent, ResizedEvent
from ptybridge.api.node import INFO, GetInfo
from ptybridge.api.session import GET, LIST, UPDATE, Get, List, Update
from ptybridge.api.terminal import READ, WAIT, Condition, Read, Wait
from ptybridge.api.watch import WATCH, WatchFiles
from ptybridge.config import Config, load
from ptybridge.errors import ConnectionLost, InvalidParams, MethodNotFound, SessionNotFound, VersionMismatch
from ptybridge.sdk.blocking import Connection
from ptybridge.sdk.places import OutputPlace
from ptybridge.sdk.resume import Client, come_back

__all__ = ["daemon"]


class Script:
    """Connections whose daemon does what the test says: an answer, or None to go away without one."""

    def __init__(self, *answers: dict[str, object] | None) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, object]] = []
        self.opened: list[Connection] = []

    def connect(self) -> Connection:
        ours, theirs = socket.socketpair()

        def serve() -> None:
            with theirs, theirs.makefile("rb") as lines:
                for line in lines:
                    request = json.loads(line)
                    self.asked.append(request.get("params", {}))
                    answer = self.answers.pop(0)
                    if answer is None:
                        return
                    more = answer.pop("more", [])
                    assert isinstance(more, list)
                    lines_out = [{"id": request["id"], **answer}, *more]
                    theirs.sendall(
                        b"".join(json.dumps({"jsonrpc": "2.0", **one}).encode() + b"\n" for one in lines_out)
                    )
                    if more == []:
                        continue
                    if more[-1]["method"] == "stream.event":
                        return

        threading.Thread(target=serve, daemon=True).start()
        self.opened.append(Connection(ours))
        return self.opened[-1]

    def client(self) -> Client:
        return Client(self.connect(), self.connect)


Scripts = Callable[..., Script]


@pytest.fixture
def play() -> Iterator[Scripts]:
    """Make a script whose connections are closed at the end."""
    made: list[Script] = []

    def play(*answers: dict[str, object] | None) -> Script:
        made.append(Script(*answers))
        return made[-1]

    yield play
    for script in made:
        for connection in script.opened:
            connection.close()


def result(**fields: object) -> dict[str, object]:
    return {"result": fields}


OUTPUT = result(data="x", encoding="text", offset=3, next_offset=4, missed_bytes=0, eof=False, lossy=False)
WAITED = result(reason="matched", condition=None, offset=9, match=None, exit_code=0, exit_signal=None)


def test_what_only_reads_is_asked_again(play: Scripts) -> None:
    script = play(None, None, result(sessions=[]))
    assert script.client().call(LIST, List()).sessions == []
    assert len(script.asked) == 3


def test_what_changes_something_is_not_and_says_why(play: Scripts) -> None:
    script = play(None, result())
    with pytest.raises(ConnectionLost, match=r"during session\.update: it is not known whether it was done"):
        script.client().call(UPDATE, Update(session_id="s", name="n"))
    assert len(script.asked) == 1


def test_a_connection_that_has_ended_before_the_call_is_replaced_for_every_call(play: Scripts) -> None:
    script = play(result(sessions=[]), result(**session(name="n")))
    client = script.client()
    client.call(LIST, List())
    client.connection.close()
    assert client.call(UPDATE, Update(session_id="s", name="n")).name == "n"


def test_a_wait_goes_on_with_the_time_that_is_left(play: Scripts) -> None:
    script = play(None, WAITED)
    client = script.client()
    client.call(WAIT, Wait(session_id="s", until=[Condition(exit=True)], offset=7, timeout_ms=60_000))
    first, second = script.asked
    assert (first["offset"], second["offset"]) == (7, 7)
    assert first["timeout_ms"] == 60_000
    assert isinstance(second["timeout_ms"], int)
    assert 50_000 < second["timeout_ms"] < 60_000


def test_a_read_without_an_offset_goes_on_where_the_one_before_ended(play: Scripts) -> None:
    script = play(OUTPUT, None, OUTPUT)
    client = script.client()
    client.call(READ, Read(session_id="s"))
    client.call(READ, Read(session_id="s"))
    assert [one.get("offset") for one in script.asked] == [None, None, 4]


def test_a_read_from_a_named_position_is_not_repeated(play: Scripts) -> None:
    with pytest.raises(ConnectionLost, match="the position of 'me' may have moved on"):
        play(None).client().call(READ, Read(session_id="s", client_id="me"))


def test_without_a_way_back_a_lost_connection_stays_lost(play: Scripts) -> None:
    script = play(None)
    with pytest.raises(ConnectionLost):
        Client(script.connect()).call(INFO, GetInfo())


def test_a_daemon_that_does_not_come_back_is_given_up(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_SOCKET", str(runtime_dir / "daemon.sock"))
    with pytest.raises(ConnectionLost, match=r"none has come back within 0\.2 s"):
        come_back(load(os.environ).config, lambda line: None, patience=0.2)


def failure(code: str) -> dict[str, object]:
    return {"error": {"code": -32000, "message": "there is no session 's'", "data": {"code": code, "retryable": False}}}


def test_a_session_that_has_gone_with_the_daemon_is_told_from_one_that_never_was(play: Scripts) -> None:
    with pytest.raises(SessionNotFound):
        play(failure("session_not_found")).client().call(GET, Get(session_id="s"))
    with pytest.raises(ConnectionLost, match="the daemon went away, and the next one does not have the session"):
        play(None, failure("session_not_found")).client().call(GET, Get(session_id="s"))
    script = play(opened(0, printed("abc", 0)), failure("session_not_found"))
    stream = script.client().stream(FOLLOW, Follow(session_id="s", offset=0))
    with pytest.raises(ConnectionLost, match="the daemon went away, and the next one does not have the session"):
        list(stream)


def test_a_raw_call_is_asked_again_with_what_was_given_only(play: Scripts) -> None:
    script = play(None, result(sessions=[], newer=1))
    assert script.client().call_raw(LIST, List(), []) == {"sessions": [], "newer": 1}
    assert script.asked == [{}, {}]
    with pytest.raises(ConnectionLost, match=r"during session\.update: it is not known whether it was done"):
        play(None, result()).client().call_raw(UPDATE, Update(session_id="s", name="n"), ["session_id", "name"])


# -- streams ------------------------------------------------------------------------------------------------


def opened(offset: int, *notes: tuple[str, dict[str, Any]]) -> dict[str, object]:
    more = [{"method": name, "params": {"stream_id": "x", **params}} for name, params in notes]
    return {"result": {"stream_id": "x", "offset": offset, "rows": 1, "cols": 2}, "more": more}


def printed(data: str, offset: int) -> tuple[str, dict[str, Any]]:
    event = {"type": "output", "data": data, "encoding": "text", "offset": offset, "next_offset": offset + len(data)}
    return "stream.event", {"event": {**event, "lossy": False, "stream": None}}


def test_a_stream_goes_on_behind_what_it_gave(play: Scripts) -> None:
    # Everything comes together with an opening, and then the daemon goes: twice.
    end = ("stream.end", {"reason": "exited"})
    script = play(opened(0, printed("abc", 0)), opened(3, printed("de", 3)), opened(5, printed("f", 5), end))
    stream = Client(script.connect(), script.connect).stream(FOLLOW, Follow(session_id="s", offset=0))
    assert "".join(event.data for event in stream) == "abcdef"
    assert (stream.reason, stream.resumed) == ("exited", 2)
    assert [one["offset"] for one in script.asked] == [0, 3, 5]


def test_taking_after_a_resumption_needs_no_more_data(play: Scripts) -> None:
    end = ("stream.end", {"reason": "exited"})
    script = play(opened(0, printed("abc", 0)), opened(0, printed("abcd", 0), end))
    stream = Client(script.connect(), script.connect).stream(FOLLOW, Follow(session_id="s", offset=0))
    # The first daemon has to be gone before anything of its is taken.
    hung_up = select.poll()
    hung_up.register(stream.fileno(), select.POLLRDHUP)
    assert hung_up.poll(10_000)
    given = ""
    while given != "abcd":
        # As a loop with `select` does: only what is there without asking, or makes the descriptor readable, counts.
        given += "".join(event.data for event in stream.take())
        assert given or select.select([stream.fileno()], [], [], 10)[0]
    assert [one["offset"] for one in script.asked] == [0, 0]


def test_a_watch_goes_on_behind_the_last_number_so_that_it_begins_with_a_gap(play: Scripts) -> None:
    def told(kind: str, number: int, **more: object) -> tuple[str, dict[str, Any]]:
        return "stream.event", {"event": {"type": kind, "number": number, **more}}

    def watching(number: int, *notes: tuple[str, dict[str, Any]]) -> dict[str, object]:
        more = [{"method": name, "params": {"stream_id": "x", **params}} for name, params in notes]
        return {"result": {"stream_id": "x", "path": "/d", "number": number}, "more": more}

    change = told("change", 8, change="created", path="/d/f", directory=False)
    end = ("stream.end", {"reason": "gone"})
    script = play(watching(7, change), watching(8, told("gap", 9), end))
    stream = script.client().stream(WATCH, WatchFiles(path="/d"))
    assert [event.number for event in stream] == [8, 9]
    assert [one.get("after") for one in script.asked] == [None, 8]


def test_an_exit_and_a_size_are_told_once() -> None:
    place = OutputPlace(Follow(session_id="s"))
    exited = ExitedEvent(exit_code=0, exit_signal=None, exit_reason="exited", end_offset=4, output_closed=False)
    resized = ResizedEvent(rows=1, cols=2, offset=3)
    given = [one for event in (resized, exited, resized, exited) for one in place.pass_on(event)]
    assert given == [resized, exited]
    closed = ExitedEvent(exit_code=0, exit_signal=None, exit_reason="exited", end_offset=5, output_closed=True)
    assert list(place.pass_on(closed)) == [OutputClosedEvent(end_offset=5)]


def test_a_place_follows_the_output() -> None:
    place = OutputPlace(Follow(session_id="s", encoding="base64"))
    list(place.pass_on(OutputEvent(data="", encoding="base64", offset=3, next_offset=8, lossy=False, stream=None)))
    assert (place.params.offset, place.params.encoding) == (8, "base64")


# -- versions -----------------------------------------------------------------------------------------------


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    from ptybridge.sdk.blocking import connect

    client = Client(connect(str(daemon.path)))
    yield client
    client.close()


def test_an_unknown_operation_of_an_older_daemon_says_so(daemon: FakeDaemon, client: Client) -> None:
    daemon.error("session.get", "method_not_found", "there is no operation session.get")
    daemon.result("node.info", {"version": "0.0.9", "protocol": 1, "protocol_min": 1})
    with pytest.raises(MethodNotFound) as caught:
        client.call(GET, Get(session_id="s"))
    assert caught.value.hint == (
        f"the daemon is version 0.0.9 and this program {__version__}: "
        "`ptybridge upgrade` brings the daemon to the installed one"
    )


@pytest.mark.parametrize(("low", "high", "advice"), [(0, 0, "ptybridge upgrade"), (7, 9, "bring this program")])
def test_without_a_protocol_in_common_it_is_a_version_mismatch(
    daemon: FakeDaemon, client: Client, low: int, high: int, advice: str
) -> None:
    daemon.error("session.get", "invalid_params", "what?")
    daemon.result("node.info", {"version": "9", "protocol": high, "protocol_min": low})
    with pytest.raises(VersionMismatch, match=r"\(version 9\) speaks protocol") as caught:
        client.call(GET, Get(session_id="s"))
    assert caught.value.hint
    assert advice in caught.value.hint


def test_the_same_version_explains_nothing_and_other_errors_ask_nothing(daemon: FakeDaemon, client: Client) -> None:
    daemon.error("session.get", "invalid_params", "what?")
    daemon.result("node.info", {"version": __version__, "protocol": 1, "protocol_min": 1})
    with pytest.raises(InvalidParams) as caught:
        client.call(GET, Get(session_id="s"))
    assert caught.value.hint is None
    assert caught.value.__cause__ is None
    daemon.error("session.get", "session_not_found", "gone")
    with pytest.raises(SessionNotFound) as not_found:
        client.call(GET, Get(session_id="s"))
    assert not_found.value.__cause__ is None
    assert [method for method, _ in daemon.requests] == ["session.get", "node.info", "session.get"]


def test_configuration_can_forbid_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYBRIDGE_DAEMON_AUTOSTART", "0")
    config: Config = load(os.environ).config
    with pytest.raises(ConnectionLost):
        come_back(config, lambda line: None, patience=0)
