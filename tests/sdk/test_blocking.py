"""The blocking endpoint: answers, errors, streams, ends, and who it refuses to speak with."""

import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_daemon import FakeDaemon, daemon, session

from ptybridge.api.attach import ATTACH, FOLLOW, Attach, Follow, GapEvent
from ptybridge.api.node import INFO, GetInfo
from ptybridge.api.session import GET, LIST, Get, List
from ptybridge.errors import (
    ConnectionLost,
    DaemonUnreachable,
    Denied,
    PtybridgeError,
    SessionNotFound,
    UnsafePath,
    VersionMismatch,
)
from ptybridge.sdk.blocking import connect

__all__ = ["daemon"]


def test_a_call_returns_the_struct(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session()], "added_later": 1})
    with connect(str(daemon.path)) as connection:
        assert connection.call(LIST, List()).sessions[0].name == "build"
        assert connection.call_raw("session.list", {})["added_later"] == 1


def test_errors_come_back_as_their_classes(daemon: FakeDaemon) -> None:
    daemon.error("session.get", "session_not_found", "gone", hint="look", extra=1)
    with connect(str(daemon.path)) as connection:
        with pytest.raises(SessionNotFound, match="gone") as caught:
            connection.call(GET, Get(session_id="x"))
        assert (caught.value.hint, caught.value.data) == ("look", {"extra": 1})
        daemon.error("session.get", "of_the_future", "new")
        with pytest.raises(PtybridgeError, match="new"):
            connection.call(GET, Get(session_id="x"))


def test_an_error_without_an_id_is_about_the_connection(daemon: FakeDaemon) -> None:
    error = {"code": -32001, "message": "not you", "data": {"code": "denied"}}
    daemon.raw("session.list", lambda request: [{"jsonrpc": "2.0", "id": None, "error": error}])
    with connect(str(daemon.path)) as connection, pytest.raises(Denied, match="not you"):
        connection.call(LIST, List())


def test_answers_to_other_requests_are_passed_over(daemon: FakeDaemon) -> None:
    def late(request: dict[str, Any]) -> list[dict[str, Any]]:
        old = {"jsonrpc": "2.0", "id": 99, "result": {}}
        note = {"jsonrpc": "2.0", "method": "x", "params": {}}
        return [old, note, {"jsonrpc": "2.0", "id": request["id"], "result": {"sessions": []}}]

    daemon.raw("session.list", late)
    with connect(str(daemon.path)) as connection:
        assert connection.call(LIST, List()).sessions == []


def test_an_answer_that_does_not_fit_is_a_version_mismatch(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [{"session_id": 1}]})
    with (
        connect(str(daemon.path)) as connection,
        pytest.raises(VersionMismatch, match=r"does not fit: sessions\[0\].session_id must be text"),
    ):
        connection.call(LIST, List())


def test_a_long_answer_arrives_whole(daemon: FakeDaemon) -> None:
    daemon.result("session.list", {"sessions": [session(title="x" * 5_000_000)]})
    with connect(str(daemon.path)) as connection:
        assert len(connection.call(LIST, List()).sessions[0].title) == 5_000_000


def test_a_call_that_takes_too_long_ends_the_connection(daemon: FakeDaemon) -> None:
    daemon.raw("node.info", lambda request: [])
    with connect(str(daemon.path)) as connection:
        with pytest.raises(DaemonUnreachable, match=r"did not answer node\.info within 0\.1 s"):
            connection.call(INFO, GetInfo(), timeout=0.1)
        assert connection.fileno() == -1


def test_a_stream_gives_events_it_knows_then_why_it_ended(daemon: FakeDaemon) -> None:
    gap = {"type": "gap", "from_offset": 1, "to_offset": 2}
    events: list[dict[str, Any]] = [gap, {"type": "of_the_future"}, gap]
    daemon.stream("session.follow", {"offset": 1, "rows": 2, "cols": 3}, events, {"reason": "exited"})
    with connect(str(daemon.path)) as connection:
        stream = connection.stream(FOLLOW, Follow(session_id="s1"))
        assert stream.opened.offset == 1
        assert list(stream) == [GapEvent(from_offset=1, to_offset=2)] * 2
        assert stream.reason == "exited"
        assert list(stream) == []


def test_take_gives_what_came_with_the_opening(daemon: FakeDaemon) -> None:
    gap = {"type": "gap", "from_offset": 1, "to_offset": 2}
    daemon.stream("session.follow", {"offset": 1, "rows": 2, "cols": 3}, [gap], {"reason": "exited"})
    with connect(str(daemon.path)) as connection:
        stream = connection.stream(FOLLOW, Follow(session_id="s1"))
        events = []
        while not stream.reason:
            events += stream.take()
        assert events == [GapEvent(from_offset=1, to_offset=2)]


def test_a_stream_that_ends_with_an_error_raises_it(daemon: FakeDaemon) -> None:
    ending = {"reason": "error", "error": {"message": "closed", "data": {"code": "session_not_found"}}}
    daemon.stream("session.follow", {"offset": 1, "rows": 2, "cols": 3}, [], ending)
    with connect(str(daemon.path)) as connection, pytest.raises(SessionNotFound, match="closed"):
        list(connection.stream(FOLLOW, Follow(session_id="s1")))


def test_a_channel_hands_over_the_socket_and_what_follows_the_answer(runtime_dir: Path) -> None:
    path = private(runtime_dir) / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        connection = connect(str(path))
        served, _ = listener.accept()
        answer = (
            b'{"jsonrpc":"2.0","id":1,"result":{"attachment_id":"a","session_id":"s","name":null,"mode":"writer",'
            b'"rows":1,"cols":2,"window_size_policy":"latest","offset":3}}\n'
        )
        served.sendall(answer + b"\x01\n\x02")
        opened, sock, rest = connection.open(ATTACH, Attach(session_id="s", rows=1, cols=2))
        assert (opened.offset, rest) == (3, b"\x01\n\x02")
        with served, sock:
            sock.sendall(b"more")
            assert served.recv(4096).endswith(b"\nmore")


def test_a_daemon_that_goes_away_is_a_lost_connection(daemon: FakeDaemon, runtime_dir: Path) -> None:
    path = private(runtime_dir) / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        connection = connect(str(path))
        served, _ = listener.accept()
        served.close()
        with pytest.raises(ConnectionLost):
            connection.call(LIST, List())
        assert connection.fileno() == -1


# -- who answers --------------------------------------------------------------------------------------------


def private(directory: Path) -> Path:
    directory.chmod(0o700)
    return directory


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_nothing_there_is_unreachable(runtime_dir: Path) -> None:
    for path in (runtime_dir / "none", runtime_dir / "no/dir"):
        with pytest.raises(DaemonUnreachable, match="no daemon listens"):
            connect(str(path))


def test_a_socket_that_was_left_behind_is_unreachable(runtime_dir: Path) -> None:
    path = private(runtime_dir) / "s"
    listening(path).close()
    with pytest.raises(DaemonUnreachable, match="no daemon listens"):
        connect(str(path))


@pytest.mark.parametrize("kind", ["file", "fifo", "link", "directory"])
def test_s14_what_is_no_socket_is_refused(runtime_dir: Path, kind: str) -> None:
    path = private(runtime_dir) / "s"
    with listening(runtime_dir / "real"):
        match kind:
            case "file":
                path.touch()
            case "fifo":
                os.mkfifo(path)
            case "link":
                path.symlink_to(runtime_dir / "real")
            case "directory":
                path.mkdir()
        with pytest.raises(UnsafePath, match="no socket of yours"):
            connect(str(path))


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_s14_a_directory_others_can_enter_is_refused(runtime_dir: Path, mode: int) -> None:
    with listening(runtime_dir / "s"):
        runtime_dir.chmod(mode)
        with pytest.raises(UnsafePath, match="only you can enter"):
            connect(str(runtime_dir / "s"))


def test_s14_a_directory_that_is_a_link_is_refused(runtime_dir: Path) -> None:
    (runtime_dir / "real").mkdir(mode=0o700)
    (runtime_dir / "link").symlink_to(runtime_dir / "real")
    with listening(runtime_dir / "real/s"), pytest.raises(UnsafePath):
        connect(str(runtime_dir / "link/s"))


def test_s14_a_server_of_another_user_is_refused(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(runtime_dir) / "s"

    class Foreign(socket.socket):
        def getsockopt(self, *args: Any) -> Any:
            return struct.pack("3i", 1, os.geteuid() + 1, 0)

    monkeypatch.setattr(socket, "socket", Foreign)
    with listening(path), pytest.raises(UnsafePath, match="another user"):
        connect(str(path))


def test_a_daemon_that_accepts_nothing_is_given_up(runtime_dir: Path) -> None:
    path = private(runtime_dir) / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        waiting = [connect(str(path), 0.2)]
        with pytest.raises(DaemonUnreachable, match=r"accepts no connections|does not answer"):
            waiting.extend(connect(str(path), 0.2) for _ in range(5))
        for one in waiting:
            one.close()
