"""Messages, who may speak, and notes."""

import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest
from tests.keeper.harness import Daemon, KeeperProcess, eventually

from ptybridge.keeper import protocol
from ptybridge.keeper.protocol import Channel, KeeperError, SessionInfo, connect
from ptybridge.testing.running import nothing_more_is_held, what_is_held


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channels = Channel(left), Channel(right)
    yield channels
    for channel in channels:
        channel.close()


def test_descriptors_arrive_in_order_and_close_on_exec(pair: tuple[Channel, Channel], tmp_path: object) -> None:
    pipes = [os.pipe() for _ in range(4)]
    pair[0].send({"op": "x"}, [fd for pipe in pipes for fd in pipe])
    message = pair[1].receive()
    assert message is not None
    assert message.body == {"op": "x"}
    for number, (theirs, _) in enumerate(pipes):
        os.write(message.fds[2 * number + 1], b"%d" % number)
        assert os.read(theirs, 9) == b"%d" % number
    assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in message.fds)
    message.close()
    protocol.close_all(fd for pipe in pipes for fd in pipe)


@pytest.mark.parametrize("size", [0, 65_000, 70_000, 5_000_000])
def test_bodies_of_any_size_travel_with_their_descriptors(pair: tuple[Channel, Channel], size: int) -> None:
    body = {"op": "x", "data": "ü" * (size // 6), "name": "\udcff"}
    before = what_is_held()
    pair[0].send(body, [0])
    message = pair[1].receive()
    assert message is not None
    assert message.body == body
    assert len(message.fds) == 1
    message.close()
    assert nothing_more_is_held(before)


@pytest.mark.parametrize("packet", [b"{", b"[]", b"1", b"\xff\xfe", b'{"large": true', b"[" * 60_000])
def test_packets_that_are_no_message_are_refused_and_leak_nothing(pair: tuple[Channel, Channel], packet: bytes) -> None:
    before = what_is_held()
    pair[0].send_packet(packet, [0, 1])
    with pytest.raises(KeeperError):
        pair[1].receive()
    assert nothing_more_is_held(before)


def test_end_of_connection_is_none(pair: tuple[Channel, Channel]) -> None:
    pair[0].close()
    assert pair[1].receive() is None


def test_session_info_skips_unknown_and_fills_in_missing_fields() -> None:
    info = SessionInfo.from_body({"sid": 1, "kind": "pty", "pid": 2, "of_a_newer_keeper": True})
    assert (info.overflow, info.status) == ("drain", None)
    with pytest.raises(KeeperError):
        SessionInfo.from_body({"sid": 1})


def test_daemon_refuses_a_keeper_of_another_user(keeper: KeeperProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    Daemon(keeper.path).close()  # from now on it listens
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(KeeperError, match="another user"):
        connect(keeper.path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_keeper_refuses_a_daemon_of_another_user(daemon: Daemon, keeper: KeeperProcess) -> None:
    for path in (*keeper.directory.parents, keeper.directory):
        path.chmod(path.stat().st_mode | 0o011)
    os.chmod(keeper.path, 0o666)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setuid(65534)
            channel = Channel(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            channel.socket.connect(keeper.path)
            try:
                channel.send({"op": "list", "id": 1})
                code = 0 if channel.receive() is None else 2
            except (BrokenPipeError, ConnectionResetError):
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert daemon.call("list").body["sessions"] == []


def test_nonsense_is_answered_and_the_keeper_lives(daemon: Daemon, keeper: KeeperProcess) -> None:
    requests: list[tuple[str, dict[str, object]]] = [
        ("fly", {}),
        ("hello", {"proto": 7}),
        ("spawn", {}),
        ("spawn", {"kind": "carrier pigeon", "argv": ["true"], "cwd": "/", "env": {}, "rows": 1, "cols": 1}),
        ("spawn", {"argv": "true", "cwd": 5, "env": [], "rows": 1, "cols": 1}),
        ("spawn", {"argv": ["true"], "cwd": "relative", "env": {}, "rows": 1, "cols": 1}),
        ("spawn", {"argv": ["tr\0ue"], "cwd": "/", "env": {}, "rows": 1, "cols": 1}),
        ("spawn", {"argv": ["true"], "cwd": "/", "env": {"a=b": ""}, "rows": 1, "cols": 1}),
        ("spawn", {"argv": ["true"], "cwd": "/", "env": {"a": 1}, "rows": 1, "cols": 1}),
        ("spawn", {"argv": ["true"], "cwd": "/", "env": {}, "rows": 1 << 16, "cols": 1}),
        ("spawn", {"argv": ["true"], "cwd": "/", "env": {}, "rows": "1", "cols": 1}),
        ("spawn", {"argv": ["true"], "cwd": "/", "env": {}, "rows": 1, "cols": 1, "capacity": -1}),
        ("attach", {"sid": 99}),
        ("attach", {"sid": []}),
        ("adopt", {"info": {}, "names": []}),
        ("adopt", {"info": {"sid": 5, "kind": "pty", "pid": 1}, "names": ["pty"]}),
        ("note", {"sid": 99, "data": 1}),
        ("upgrade", {"argv": "x"}),
        ("kill", {"sid": 1}),
    ]
    before = keeper.fds()
    for op, params in requests:
        with pytest.raises((KeeperError, OSError)):
            daemon.call(op, [0], **params)
    eventually(lambda: keeper.fds() == before)
    assert daemon.call("list", unknown="key").body["sessions"] == []


def test_broken_packet_ends_the_connection_but_not_the_keeper(
    keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]
) -> None:
    broken = connect_daemon(keeper)
    broken.channel.send_packet(b"\xff", [0])
    assert broken.channel.receive() is None
    assert connect_daemon(keeper).call("list").body["sessions"] == []


def test_daemon_without_a_common_protocol_is_refused(daemon: Daemon) -> None:
    with pytest.raises(KeeperError) as caught:
        daemon.call("hello", proto=[2, 9])
    assert caught.value.kind == "protocol"
    assert daemon.call("hello", proto=[0, 9]).body["proto"] == 1


def test_only_the_latest_daemon_is_active(keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]) -> None:
    first = connect_daemon(keeper)
    first.spawn(["sleep", "1000"])
    observer = connect_daemon(keeper, epoch=0)
    assert observer.fds == []
    with pytest.raises(KeeperError, match="active"):
        observer.call("attach", sid=1)
    second = connect_daemon(keeper)
    assert second.hello["epoch"] == first.hello["epoch"] + 1
    assert first.event("superseded")["epoch"] == second.hello["epoch"]
    assert first.channel.receive() is None
    assert second.attach(1).pid == first.kept[1].pid
    assert [session["sid"] for session in observer.call("list").body["sessions"]] == [1]


def test_what_a_daemon_has_said_before_the_next_one_came_counts(
    keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]
) -> None:
    """It may have been killed since, and what it sent was a lease, say, that somebody was told of."""
    first = connect_daemon(keeper)
    os.kill(keeper.pid, signal.SIGSTOP)
    try:
        for number in range(50):
            first.channel.send({"op": "note", "sid": 0, "key": "node", "data": {"number": number}})
        first.channel.close()
        channel = connect(keeper.path)
        channel.send({"op": "hello", "id": 1, "proto": [1, 1], "epoch": None})
    finally:
        os.kill(keeper.pid, signal.SIGCONT)
    answer = channel.receive()
    assert answer is not None
    assert answer.body["epoch"] == first.hello["epoch"] + 1
    answer.close()
    channel.close()
    assert connect_daemon(keeper).call("notes").body["notes"] == [[0, "node", {"number": 49}]]


def test_daemon_of_an_older_epoch_cannot_come_back(
    keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]
) -> None:
    first, second = connect_daemon(keeper), connect_daemon(keeper)
    with pytest.raises(KeeperError) as caught:
        connect_daemon(keeper, epoch=first.hello["epoch"])
    assert caught.value.kind == "stale"
    assert second.call("list").body["sessions"] == []
    again = connect_daemon(keeper, epoch=second.hello["epoch"])
    assert again.hello["epoch"] == second.hello["epoch"]
    # A new keeper does not know the epochs of the one before.
    later = connect_daemon(keeper, epoch=40)
    assert later.hello["epoch"] == 40
    assert connect_daemon(keeper).hello["epoch"] == 41


def test_notes_survive_the_daemon_and_go_with_their_session(
    keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]
) -> None:
    first = connect_daemon(keeper)
    kept = first.spawn(["true"])
    large = {"tags": ["x" * 1000] * 300}
    first.call("note", sid=0, key="node", data={"name": "here"})
    first.call("note", sid=kept.sid, data=large)
    first.call("note", sid=kept.sid, key="other", data=1)
    first.call("note", sid=kept.sid, key="other", data=None)
    first.wait_exit(kept.sid)
    first.close()
    second = connect_daemon(keeper)
    assert second.call("notes").body["notes"] == [[0, "node", {"name": "here"}], [kept.sid, "", large]]
    second.call("forget", sid=kept.sid)
    assert second.call("notes").body["notes"] == [[0, "node", {"name": "here"}]]


def test_daemon_that_does_not_read_gets_everything_later(
    keeper: KeeperProcess, connect_daemon: Callable[..., Daemon]
) -> None:
    daemon = connect_daemon(keeper)
    count = 3000
    sent = 0
    daemon.channel.socket.setblocking(False)
    while sent < count:
        try:
            daemon.channel.send({"op": "list", "id": sent})
            sent += 1
        except BlockingIOError:
            break  # the keeper's answers wait, and now our requests do
    daemon.channel.socket.settimeout(60)
    for number in range(sent):
        message = daemon.channel.receive()
        assert message is not None
        assert message.body["id"] == number
